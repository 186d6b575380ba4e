"""A classifier's answer to a batch, the same for an image whatever company it comes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from suite.errors import UserError
from suite.smoothing.noise import Piece

T = TypeVar("T")
Precision = Literal["fp32", "bf16"]

NOT_FINITE = "the model gives logits that are not finite"

# of the largest logit: results differ between batch sizes by less than a hundredth of this in fp32, a third in bf16
TIE: dict[Precision, float] = {"fp32": 1e-5, "bf16": 3e-2}


def near_ties(scores: Tensor, k: int, tie: float) -> Tensor:
    """The rows of scores (B, K) where two of the k + 1 leading ones are as near as `tie`, of the row's largest: (b,).

    Raises UserError where a score is not finite, or for k classes of no more than k.
    """
    if scores.ndim != 2 or scores.shape[1] <= k:
        raise UserError(f"the top-{k} rule needs logits of shape (B, K) with K > {k}, not {tuple(scores.shape)}")
    if not bool(torch.isfinite(scores).all()):
        raise UserError(NOT_FINITE)
    values = scores.topk(k + 1).values
    gaps = (values[:, :-1] - values[:, 1:]).amin(dim=1)
    return (gaps <= tie * scores.abs().amax(dim=1)).nonzero().flatten()


def settled(scores: Tensor, k: int, again: Callable[[Tensor], Tensor], tie: float = TIE["fp32"]) -> Tensor:
    """Scores (B, K) of a batch such that which k classes lead an image does not depend on the images beside it.

    The last bits of a score may depend on the batch it was computed in. Near ties are therefore replaced by
    `again(rows)`, (len(rows), K): computed in a way that does not depend on the batch. Raises UserError as `near_ties`.
    """
    close = near_ties(scores, k, tie)
    return scores.index_copy(0, close, again(close)) if len(close) else scores


def exactly() -> AbstractContextManager[object]:
    """On a GPU: convolutions in fp32 are not computed in TF32, and the same twice."""
    return torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False)


def batch_logits(model: nn.Module, x: Tensor, precision: Precision) -> Tensor:
    """Logits (B, K) in fp32 for x (B, C, H, W), computed in `precision`; their last bits may depend on the batch."""
    with exactly(), torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bf16"):
        logits: Tensor = model(x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x)
    return logits.float()


@torch.inference_mode()
def settled_logits(model: nn.Module, x: Tensor, k: int = 1, precision: Precision = "fp32") -> Tensor:
    """Logits (B, K) in fp32 for x (B, C, H, W), model in eval mode; the order of the k largest is the image's own.

    Near ties are settled by a pass in fp32, and in fp32 by a pass of the image on its own. Raises UserError as
    `near_ties` does.
    """
    logits = batch_logits(model, x, precision)
    if precision == "bf16":
        return settled(logits, k, lambda rows: settled_logits(model, x[rows], k), TIE["bf16"])
    if len(x) == 1:
        return settled(logits, k, lambda rows: logits)
    return settled(logits, k, lambda rows: torch.cat([batch_logits(model, x[[row]], "fp32") for row in rows.tolist()]))


def top_classes(model: nn.Module, x: Tensor, k: int = 1, precision: Precision = "fp32") -> Tensor:
    """The k classes with the largest settled logits, in descending order; ties go to the lower class: (B, k) int64."""
    return leading(settled_logits(model, x, k, precision), k)


def leading(logits: Tensor, k: int) -> Tensor:
    return logits.sort(dim=1, descending=True, stable=True).indices[:, :k]


# Asks about noisy images, given in blocks (b, C, H, W) that are made as they are needed; is sent an answer to each of
# them; returns its result.
Asking = Generator[Iterable[Tensor], list[Any], T]
Voter = Generator[
    Piece, Counter[int], T
]  # asks for draws of an image under noise, and is sent how many have each class
