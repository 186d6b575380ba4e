"""Many images' questions to one network, in batches that they share."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from suite.errors import first_line
from suite.smoothing.noise import Noise
from suite.smoothing.voting import TIE, Asking, Precision, Voter, batch_logits, leading, near_ties, top_classes

logger = logging.getLogger("suite")
T = TypeVar("T")


class _Waiting:
    """A voter that waits for answers: those it has so far, how many are `due`, and the block not yet in a batch."""

    def __init__(self, voter: Asking[Any]):
        self.voter, self.seconds = voter, 0.0
        self.ask(next(voter))

    def ask(self, blocks: Iterable[Tensor]) -> None:
        self.answers: list[Any] = []
        self.due, self.blocks = 0, iter(blocks)
        self.block = next(self.blocks, None)

    def put_into(self, batch: _Batch, room: int) -> None:
        """Put the next noisy images into a batch, as far as the block and the room go."""
        assert self.block is not None
        taken, rest = self.block[:room], self.block[room:]
        self.block = rest if len(rest) else next(self.blocks, None)
        places = range(len(self.answers), len(self.answers) + len(taken))
        batch.add(taken, [(self, place) for place in places])
        self.answers += [None] * len(taken)
        self.due += len(taken)


class _Batch:
    """Noisy images that are asked about at once; of each, whose it is and the place of the answer."""

    def __init__(self) -> None:
        self.parts, self.homes = list[Tensor](), list[tuple[_Waiting, int]]()

    def add(self, noisy: Tensor, homes: list[tuple[_Waiting, int]]) -> None:
        self.parts.append(noisy)
        self.homes += homes

    def pop(self, most: int) -> tuple[Tensor, list[tuple[_Waiting, int]]]:
        """The first of them, at most this many."""
        noisy, homes = torch.cat(self.parts), self.homes
        self.parts, self.homes = [noisy[most:]], homes[most:]
        return noisy[:most], homes[:most]

    def __len__(self) -> int:
        return len(self.homes)


def together(
    voters: Iterable[Voter[T]],
    model: nn.Module,
    *,
    batch_size: int,
    precision: Precision = "fp32",
    noise: Noise = "gaussian",
) -> Iterator[tuple[T, float]]:
    """Let voters share batches of a model; each one's result and its share of the time in s, as soon as it has it.

    That is in no fixed order. In bf16 the near ties of many batches are settled together, by passes in fp32. On a CUDA
    device all of it happens there (`suite.smoothing.on_device`), but for discrete noise.
    """
    device = next(model.parameters(), torch.empty(0)).device
    if device.type == "cuda" and noise == "gaussian" and kernels_run(device):
        from suite.smoothing.on_device import vote_on_device

        return vote_on_device(voters, model, batch_size=batch_size, precision=precision)

    def settle(noisy: Tensor) -> list[int]:
        classes: list[int] = top_classes(model, noisy)[:, 0].tolist()
        return classes

    @torch.inference_mode()
    def in_bf16(noisy: Tensor) -> list[int | None]:
        logits = batch_logits(model, noisy, "bf16")
        classes: list[int | None] = leading(logits, 1)[:, 0].tolist()
        for row in near_ties(logits, 1, TIE["bf16"]).tolist():
            classes[row] = None
        return classes

    counted = map(count_classes, voters)
    if precision == "bf16":
        return share_batches(counted, in_bf16, settle, batch_size=batch_size)
    return share_batches(counted, settle, batch_size=batch_size)


@cache
def kernels_run(device: torch.device) -> bool:
    """Whether the kernels of `on_device` can be compiled and run here; says so where they cannot."""
    try:
        from suite.smoothing.kernels import try_out

        try_out(device)
    except Exception as error:  # no Triton, no compiler, or a device that Triton does not know
        logger.info(f"votes are counted by the host, which is slower: Triton does not run here ({first_line(error)})")
        return False
    return True


def count_classes(voter: Voter[T]) -> Asking[T]:
    """A voter that takes the classes one by one."""
    piece = next(voter)
    while True:
        classes = yield piece
        try:
            piece = voter.send(Counter(classes))
        except StopIteration as done:
            result: T = done.value
            return result


def share_batches(
    voters: Iterable[Asking[T]],
    answer: Callable[[Tensor], Iterable[Any]],
    again: Callable[[Tensor], Iterable[Any]] | None = None,
    *,
    batch_size: int,
) -> Iterator[tuple[T, float]]:
    """The same for any `answer` to a batch (b, C, H, W), one for each of its b noisy images, in place of their classes.

    Where an answer is None it is `again`'s, which is asked about a full batch of such images, or about fewer when the
    voters need them to go on. Every batch has `batch_size` noisy images until the voters run out, whatever number each
    asks for at a time. Voters that ask for the same numbers finish in their order where no answer is None.
    """
    fresh, waiting = iter(voters), list[_Waiting]()
    batch, doubts = _Batch(), _Batch()
    clock = time.perf_counter()

    def begin(voter: Asking[T]) -> _Waiting:
        waiting.append(_Waiting(voter))
        return waiting[-1]

    while True:
        for each in list(waiting):
            if each.block is None and not each.due:
                try:
                    each.ask(each.voter.send(each.answers))
                except StopIteration as done:
                    waiting.remove(each)
                    yield done.value, each.seconds
        for each in chain(list(waiting), map(begin, fresh)):
            while each.block is not None and len(batch) < batch_size:
                each.put_into(batch, batch_size - len(batch))
            if len(batch) == batch_size:
                break
        if not waiting:
            return
        hold = again and doubts and (len(batch) < batch_size or len(doubts) >= batch_size)
        noisy, homes = (doubts if hold else batch).pop(batch_size)
        answers = list((again if again and hold else answer)(noisy))
        cost = (time.perf_counter() - clock) / len(homes)
        clock = time.perf_counter()
        for (each, place), given in zip(homes, answers, strict=True):
            each.seconds += cost
            if given is not None:
                each.answers[place] = given
                each.due -= 1
        if open_rows := [row for row, given in enumerate(answers) if given is None]:
            doubts.add(noisy[open_rows], [homes[row] for row in open_rows])
