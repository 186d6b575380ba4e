"""Votes of many images on a CUDA device that does not wait: batches are replayed graphs, and only counts come back."""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suite.errors import UserError
from suite.smoothing import kernels
from suite.smoothing.noise import Piece
from suite.smoothing.voting import NOT_FINITE, TIE, Precision, Voter, top_classes

logger = logging.getLogger("suite")
T = TypeVar("T")
Table = NDArray[np.int64]  # a row for each noisy image, as `kernels` has it

POOL = 512  # images that are voted on at once
ROUND = 8  # batches between one look at the counts and the next
IN_FLIGHT = 2  # rounds that the device has before it while the host decides


@dataclass
class Open:
    """A voter that waits for answers: the piece it asked for, its draws not yet queued, and those not yet answered."""

    voter: Voter[Any]
    row: int  # its image's in the pool, and its own in the counts
    votes: NDArray[np.int64]
    piece: Piece
    queued: int = 0
    seconds: float = 0.0

    def go_on(self) -> None:
        """Send it its answers as long as it has them; raises StopIteration with its result."""
        while self.votes.sum() == self.piece.count:
            answers = Counter({c: int(self.votes[c]) for c in np.flatnonzero(self.votes).tolist()})
            piece = self.voter.send(answers)
            self.piece, self.queued = piece, 0
            self.votes[:] = 0

    def rows(self, most: int) -> Table:
        """The table of its next draws, at most so many."""
        count, first = min(most, self.piece.count - self.queued), self.piece.first + self.queued
        table = np.empty((count, kernels.COLUMNS), np.int64)
        table[:] = (self.row, self.piece.of.key, 0, self.row, np.float32(self.piece.of.sigma).view(np.int32))
        table[:, 2] = np.arange(first, first + count)
        self.queued += count
        return table


class Lane:
    """A network in one arithmetic, whose batches from the noise to the counts are a captured graph where there is CUDA.

    A network that does not run in `dtype` runs under autocast; one that cannot be captured is run step by step.
    """

    def __init__(self, network: nn.Module, pool: Tensor, *, classes: int, batch: int, dtype: torch.dtype, tie: float):
        self.pool, self.tie, self.device = pool, tie, pool.device
        self.network, self.autocast = copy.deepcopy(network).to(dtype).to(memory_format=torch.channels_last), False
        self.table = torch.zeros((batch, kernels.COLUMNS), dtype=torch.int64, device=self.device)
        self.table[:, 3] = -1
        self.x = torch.empty((batch, *pool.shape[1:]), dtype=dtype, device=self.device)
        self.counts = torch.zeros((len(pool), classes), dtype=torch.int32, device=self.device)
        self.close = torch.zeros(batch, dtype=torch.int8, device=self.device)
        self.broken = torch.zeros(1, dtype=torch.int32, device=self.device)
        try:
            self._pass()
        except RuntimeError:
            self.network, self.autocast, self.x = network, dtype != torch.float32, self.x.float()
        self.step = self._captured() if self.device.type == "cuda" else self._batch

    def _pass(self) -> Tensor:
        exact = torch.backends.cudnn.flags(enabled=torch.backends.cudnn.enabled, deterministic=True, allow_tf32=False)
        with exact, torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast, cache_enabled=False):
            logits: Tensor = self.network(self.x.permute(0, 3, 1, 2))
        return logits

    def _batch(self) -> None:
        kernels.noisy_images(self.x, self.pool, self.table)
        kernels.answers(self._pass().contiguous(), self.table, self.counts, self.close, self.broken, self.tie)

    def _captured(self) -> Callable[[], None]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(self.device)
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._batch()
        torch.cuda.current_stream(self.device).wait_stream(stream)
        try:
            with torch.cuda.graph(graph):
                self._batch()
        except RuntimeError as error:
            logger.debug(f"the network's passes are not captured as a graph: {error}")
            return self._batch
        return graph.replay

    def begin(self, table: Table) -> Round:
        """Queue a table's batches, the last one filled up with rows that nobody owns."""
        batch, cuda = len(self.table), self.device.type == "cuda"
        batches = -(-len(table) // batch)
        whole = torch.zeros((batches * batch, kernels.COLUMNS), dtype=torch.int64, pin_memory=cuda)
        whole[len(table) :, 3] = -1
        whole[: len(table)] = torch.from_numpy(table)
        close = torch.empty((batches, batch), dtype=torch.int8, device=self.device)
        for place, part in zip(close, whole.to(self.device, non_blocking=True).split(batch), strict=True):
            self.table.copy_(part)
            self.step()
            place.copy_(self.close)
        counts, doubts, broken = (
            torch.empty_like(each, device="cpu", pin_memory=cuda).copy_(each, non_blocking=True)
            for each in (self.counts, close.flatten(), self.broken)
        )
        self.counts.zero_()
        done = torch.cuda.Event() if cuda else None
        if done:
            done.record()
        return Round(table, counts, doubts, broken, done)


@dataclass
class Round:
    """Batches that the device was given: their table, and where its answers arrive."""

    table: Table
    counts: Tensor
    close: Tensor
    broken: Tensor
    done: torch.cuda.Event | None

    def result(self) -> tuple[NDArray[np.int32], Table]:
        """Counts (P, K), and the rows of the table that are near ties. Raises UserError where logits are not finite."""
        if self.done:
            self.done.synchronize()
        if self.broken.item():
            raise UserError(NOT_FINITE)
        return self.counts.numpy(), self.table[self.close.numpy()[: len(self.table)] != 0]


class Votes:
    """Voters of one network: their images lie in a pool on the device, and rounds of all their draws follow another."""

    def __init__(self, model: nn.Module, image: Tensor, *, batch_size: int, precision: Precision):
        self.model, self.batch = model, batch_size
        self.pool = torch.zeros((POOL, *image.permute(1, 2, 0).shape), device=image.device)
        self.classes = model(image[None]).shape[1]
        self.exact = self._lane(torch.float32, TIE["fp32"])
        self.lane = self._lane(torch.bfloat16, TIE["bf16"]) if precision == "bf16" else self.exact
        self.open, self.free = dict[int, Open](), list(range(POOL))
        self.doubts: list[Table] = []
        self.flights = deque[tuple[Lane, Round]]()
        self.clock = time.perf_counter()

    def _lane(self, dtype: torch.dtype, tie: float) -> Lane:
        return Lane(self.model, self.pool, classes=self.classes, batch=self.batch, dtype=dtype, tie=tie)

    def run(self, voters: Iterator[Voter[T]]) -> Iterator[tuple[T, float]]:
        while True:
            while len(self.flights) < IN_FLIGHT and self._take_off(voters):
                pass
            if not self.flights:
                return
            yield from self._land()

    def _take_off(self, voters: Iterator[Voter[Any]]) -> bool:
        """Queue a round of what is asked for; near ties once there are enough, or nothing else is left to do."""
        room = ROUND * self.batch
        waiting = sum(map(len, self.doubts))
        if waiting < room:
            if table := self._draws(voters, room):
                self.flights.append((self.lane, self.lane.begin(np.concatenate(table))))
                return True
            if not waiting or self.flights:
                return False
        doubts = np.concatenate(self.doubts)
        self.doubts = [doubts[room:]] if len(doubts) > room else []
        self.flights.append((self.exact, self.exact.begin(doubts[:room])))
        return True

    def _draws(self, voters: Iterator[Voter[Any]], room: int) -> list[Table]:
        tables = list[Table]()
        for each in chain(list(self.open.values()), self._fresh(voters)):
            if each.queued < each.piece.count:
                tables.append(each.rows(room))
                room -= len(tables[-1])
            if not room:
                break
        return tables

    def _fresh(self, voters: Iterator[Voter[Any]]) -> Iterator[Open]:
        while self.free and (voter := next(voters, None)):
            yield self.admit(voter, next(voter))

    def admit(self, voter: Voter[Any], piece: Piece) -> Open:
        """Put a voter's image into the pool; `piece` is what it asks for first."""
        row = self.free.pop()
        self.pool[row].copy_(piece.of.image.permute(1, 2, 0))
        self.open[row] = Open(voter, row, np.zeros(self.classes, np.int64), piece)
        return self.open[row]

    def _land(self) -> Iterator[tuple[Any, float]]:
        """Take the first round's answers; the results of voters that have all of theirs."""
        lane, landed = self.flights.popleft()
        counts, close = landed.result()
        if lane is self.exact:
            counts = counts + self._one_by_one(close)
        elif len(close):
            self.doubts.append(close)
        took, self.clock = time.perf_counter() - self.clock, time.perf_counter()
        shares = np.bincount(landed.table[:, 3], minlength=POOL) * (took / len(landed.table))
        for row in np.unique(landed.table[:, 3]).tolist():
            each = self.open[row]
            each.votes += counts[row]
            each.seconds += float(shares[row])
            try:
                each.go_on()
            except StopIteration as done:
                del self.open[row]
                self.free.append(row)
                yield done.value, each.seconds

    def _one_by_one(self, rows: Table) -> NDArray[np.int32]:
        """Counts of near ties in fp32, by passes of an image alone."""
        counts = np.zeros((POOL, self.classes), np.int32)
        for row in rows:
            x = torch.empty((1, *self.pool.shape[1:]), device=self.pool.device)
            kernels.noisy_images(x, self.pool, torch.from_numpy(row[None]).to(x.device))
            counts[row[3], int(top_classes(self.model, x.permute(0, 3, 1, 2))[0, 0])] += 1
        return counts


def vote_on_device(
    voters: Iterable[Voter[T]], model: nn.Module, *, batch_size: int, precision: Precision
) -> Iterator[tuple[T, float]]:
    """`voting.together`, but for Gaussian noise alone, and of a stream of its own: that of `kernels`."""
    fresh = iter(voters)
    if first := next(fresh, None):
        piece = next(first)
        with torch.no_grad():
            votes = Votes(model, piece.of.image, batch_size=batch_size, precision=precision)
        votes.admit(first, piece)
        yield from votes.run(fresh)
