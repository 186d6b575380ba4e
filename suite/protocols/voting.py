"""A classifier's answer to a batch, the same for an image whatever company it comes in; and votes of many images."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from suite.errors import UserError

T = TypeVar("T")
Precision = Literal["fp32", "bf16"]

# of the largest logit: results differ between batch sizes by less than a hundredth of this in fp32, a third in bf16
TIE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 3e-2}


def settled(scores: Tensor, k: int, again: Callable[[Tensor], Tensor], tie: float = TIE["fp32"]) -> Tensor:
    """Scores (B, K) of a batch such that which k classes lead an image does not depend on the images beside it.

    The last bits of a score may depend on the batch it was computed in. Where two of the k + 1 leading ones are as near
    as `tie`, they are replaced by `again(rows)`, (len(rows), K): computed in a way that does not depend on the batch.
    Raises UserError where a score is not finite, or for k classes of no more than k.
    """
    if scores.ndim != 2 or scores.shape[1] <= k:
        raise UserError(f"the top-{k} rule needs logits of shape (B, K) with K > {k}, not {tuple(scores.shape)}")
    if not bool(torch.isfinite(scores).all()):
        raise UserError("the model gives logits that are not finite")
    values = scores.topk(k + 1).values
    gaps = (values[:, :-1] - values[:, 1:]).amin(dim=1)
    close = (gaps <= tie * scores.abs().amax(dim=1)).nonzero().flatten()
    return scores.index_copy(0, close, again(close)) if len(close) else scores


@torch.inference_mode()
def settled_logits(model: nn.Module, x: Tensor, k: int = 1, precision: Precision = "fp32") -> Tensor:
    """Logits (B, K) in fp32 for x (B, C, H, W), model in eval mode; the order of the k largest is the image's own.

    Near ties are settled by a pass in fp32, and in fp32 by a pass of the image on its own. Raises UserError as
    `settled` does.
    """
    x = x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits = model(x).float()
    if precision == "bf16":
        return settled(logits, k, lambda rows: settled_logits(model, x[rows], k), TIE["bf16"])
    if len(x) == 1:
        return settled(logits, k, lambda rows: logits)
    return settled(logits, k, lambda rows: torch.cat([model(x[row : row + 1]).float() for row in rows.tolist()]))


def top_classes(model: nn.Module, x: Tensor, k: int = 1, precision: Precision = "fp32") -> Tensor:
    """The k classes with the largest settled logits, largest first and of equals the lower class: (B, k) int64."""
    return settled_logits(model, x, k, precision).sort(dim=1, descending=True, stable=True).indices[:, :k]


Voter = Generator[Tensor, list[int], T]  # yields noisy images (b, C, H, W), is sent their classes, returns its result


@dataclass
class _Waiting:
    """A voter, the noisy images it waits for, the answers to them so far, and the time they took."""

    voter: Generator[Tensor, list[Any], Any]
    noisy: Tensor
    answers: list[Any] = field(default_factory=list)
    seconds: float = 0.0


def together(
    voters: Iterable[Voter[T]], model: nn.Module, *, batch_size: int, precision: Precision = "fp32"
) -> Iterator[tuple[T, float]]:
    """Let voters share batches of a model; each one's result and its share of the time in s, as soon as it has it."""
    return share_batches(
        voters, lambda noisy: top_classes(model, noisy, precision=precision)[:, 0].tolist(), batch_size=batch_size
    )


def share_batches(
    voters: Iterable[Generator[Tensor, list[Any], T]], answer: Callable[[Tensor], Iterable[Any]], *, batch_size: int
) -> Iterator[tuple[T, float]]:
    """The same for any `answer` to a batch (b, C, H, W), one for each of its b noisy images, in place of their classes.

    Every batch has `batch_size` noisy images until the voters run out, whatever number each asks for at a time. Voters
    that ask for the same numbers finish in their order.
    """
    fresh, waiting = iter(voters), deque[_Waiting]()
    clock = time.perf_counter()
    while True:
        while sum(len(each.noisy) - len(each.answers) for each in waiting) < batch_size:
            if (voter := next(fresh, None)) is None:
                break
            waiting.append(_Waiting(voter, next(voter)))
        if not waiting:
            return
        shares: list[Tensor] = []
        room = batch_size
        for each in waiting:
            shares.append(each.noisy[len(each.answers) :][:room])
            room -= len(shares[-1])
        answers = iter(answer(torch.cat(shares)))
        cost = (time.perf_counter() - clock) / (batch_size - room)
        clock = time.perf_counter()
        for each, share in zip(list(waiting), shares, strict=True):
            each.answers += islice(answers, len(share))
            each.seconds += cost * len(share)
            if len(each.answers) == len(each.noisy):
                try:
                    each.noisy, each.answers = each.voter.send(each.answers), []
                except StopIteration as done:
                    waiting.remove(each)
                    yield done.value, each.seconds
