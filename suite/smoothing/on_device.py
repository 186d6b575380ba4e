"""Votes of many images on a CUDA device that does not wait: batches are replayed graphs, and only counts come back."""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from suite.errors import UserError, first_line
from suite.networks.device import upload
from suite.smoothing import kernels
from suite.smoothing.noise import Piece
from suite.smoothing.voting import NOT_FINITE, TIE, Precision, Voter, batch_logits, exactly, top_classes

logger = logging.getLogger("suite")
T = TypeVar("T")
Table = NDArray[np.int64]  # a row for each noisy image, as `kernels` has it

POOL = 512  # images that are voted on at once
ROUND = 8  # batches between one look at the counts and the next
IN_FLIGHT = 2  # rounds that the device has before it while the host decides


@dataclass
class OpenVote:
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
            self.piece, self.queued = self.voter.send(answers), 0
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

    In bf16 the weights are cast once, or else it runs under autocast. A network that cannot be captured is run step by
    step.
    """

    def __init__(self, network: nn.Module, pool: Tensor, *, classes: int, batch: int, precision: Precision):
        self.pool, self.tie, self.device = pool, TIE[precision], pool.device
        self.table = torch.zeros((batch, kernels.COLUMNS), dtype=torch.int64, device=self.device)
        self.table[:, kernels.OWNER] = -1
        self.counts = torch.zeros((len(pool), classes), dtype=torch.int32, device=self.device)
        self.close = torch.zeros(batch, dtype=torch.int8, device=self.device)
        self.broken = torch.zeros(1, dtype=torch.int32, device=self.device)
        self.network, self.autocast = network, precision == "bf16"
        self.x = torch.empty((batch, *pool.shape[1:]), device=self.device)
        if precision == "bf16" and (coarse := cast(network, pool[:1].permute(0, 3, 1, 2))):
            self.network, self.autocast, self.x = coarse, False, self.x.bfloat16()
        self.graph = self._captured() if self.device.type == "cuda" else None

    @torch.no_grad()
    def _batch(self) -> None:
        kernels.noisy_images(self.x, self.pool, self.table)
        with exactly(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast, cache_enabled=False):
            logits = self.network(self.x.permute(0, 3, 1, 2))
        kernels.answers(logits.contiguous(), self.table, self.counts, self.close, self.broken, self.tie)

    def _captured(self) -> torch.cuda.CUDAGraph | None:
        graph, stream, usual = torch.cuda.CUDAGraph(), torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(usual)
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._batch()
        usual.wait_stream(stream)
        try:
            with torch.cuda.stream(usual), torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                self._batch()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            logger.info(f"the network's passes are made one by one, which is slower: no graph ({first_line(error)})")
            return None
        return graph

    def begin(self, table: Table) -> Round:
        """Queue a table's batches, the last one filled up with rows that nobody owns."""
        batch = len(self.table)
        padding = np.zeros((-len(table) % batch, kernels.COLUMNS), np.int64)
        padding[:, kernels.OWNER] = -1
        parts = upload(torch.from_numpy(np.concatenate((table, padding))), self.device).split(batch)
        close = torch.empty((len(parts), batch), dtype=torch.int8, device=self.device)
        for part, place in zip(parts, close, strict=True):
            self.table.copy_(part)
            self.graph.replay() if self.graph else self._batch()
            place.copy_(self.close)
        counts, doubts, broken = (download(each) for each in (self.counts, close.flatten(), self.broken))
        self.counts.zero_()
        done = torch.cuda.Event(blocking=True) if self.device.type == "cuda" else None
        if done:
            done.record()
        return Round(table, counts, doubts, broken, done)


def cast(network: nn.Module, x: Tensor) -> nn.Module | None:
    """The network with its weights in bf16, or None where it is not what autocast makes of it, on images x."""
    try:
        coarse = copy.deepcopy(network).bfloat16().to(memory_format=torch.channels_last)
        found = coarse(x.bfloat16()).float()
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever somebody's model raises
        return None
    usual = batch_logits(network, x, "bf16")
    same = (found - usual).abs().max() <= TIE["bf16"] / 3 * usual.abs().max()
    return coarse if bool(same) else None


def download(tensor: Tensor) -> Tensor:
    """A copy for the host, which is there once the device has got so far."""
    return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda).copy_(tensor, non_blocking=True)


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
        self.pool[0] = image.permute(1, 2, 0)  # something to try the network on
        self.classes = model(image[None]).shape[1]
        self.exact = self._lane("fp32")
        self.lane = self._lane("bf16") if precision == "bf16" else self.exact
        self.open, self.free = dict[int, OpenVote](), list(range(POOL))
        self.doubts: list[Table] = []
        self.flights = deque[tuple[Lane, Round]]()
        self.clock = time.perf_counter()

    def _lane(self, precision: Precision) -> Lane:
        with on(self.pool.device):
            return Lane(self.model, self.pool, classes=self.classes, batch=self.batch, precision=precision)

    def run(self, voters: Iterator[Voter[T]]) -> Iterator[tuple[T, float]]:
        while True:
            while len(self.flights) < IN_FLIGHT and self._take_off(voters):
                pass
            if self.flights:
                yield from self._land()
            elif self.open:
                raise RuntimeError(f"{len(self.open)} votes were never answered")
            else:
                return

    def _take_off(self, voters: Iterator[Voter[Any]]) -> bool:
        """Queue a round of what is asked for; near ties once there are enough, or nothing else is left to do."""
        room = ROUND * self.batch
        waiting = sum(map(len, self.doubts))
        if waiting < room:
            if table := self._draws(voters, room):
                self._queue(self.lane, np.concatenate(table))
                return True
            if not waiting or self.flights:
                return False
        doubts = np.concatenate(self.doubts)
        self.doubts = [doubts[room:]] if len(doubts) > room else []
        self._queue(self.exact, doubts[:room])
        return True

    def _queue(self, lane: Lane, table: Table) -> None:
        with on(self.pool.device):
            self.flights.append((lane, lane.begin(table)))

    def _draws(self, voters: Iterator[Voter[Any]], room: int) -> list[Table]:
        tables = list[Table]()
        for each in chain(list(self.open.values()), self._fresh(voters)):
            if each.queued < each.piece.count:
                tables.append(each.rows(room))
                room -= len(tables[-1])
            if not room:
                break
        return tables

    def _fresh(self, voters: Iterator[Voter[Any]]) -> Iterator[OpenVote]:
        while self.free and (voter := next(voters, None)):
            yield self.admit(voter, next(voter))

    def admit(self, voter: Voter[Any], piece: Piece) -> OpenVote:
        """Put a voter's image into the pool; `piece` is what it asks for first."""
        if piece.of.noise != "gaussian":
            raise ValueError("only Gaussian noise is made on a device")
        row = self.free.pop()
        self.pool[row].copy_(piece.of.image.permute(1, 2, 0))
        self.open[row] = OpenVote(voter, row, np.zeros(self.classes, np.int64), piece)
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
        shares = np.bincount(landed.table[:, kernels.OWNER], minlength=POOL) * (took / len(landed.table))
        for row, each in list(self.open.items()):
            if not shares[row]:
                continue
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
        with on(self.pool.device):
            for row in rows:
                x = torch.empty((1, *self.pool.shape[1:]), device=self.pool.device)
                kernels.noisy_images(x, self.pool, torch.from_numpy(row[None]).to(x.device))
                counts[row[kernels.OWNER], int(top_classes(self.model, x.permute(0, 3, 1, 2))[0, 0])] += 1
        return counts


def on(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the one that kernels are launched on."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def vote_on_device(
    voters: Iterable[Voter[T]], model: nn.Module, *, batch_size: int, precision: Precision
) -> Iterator[tuple[T, float]]:
    """`batching.together`, but for Gaussian noise alone, and of a stream of its own: that of `kernels`."""
    fresh = iter(voters)
    if first := next(fresh, None):
        piece = next(first)
        with torch.no_grad():
            votes = Votes(model, piece.of.image, batch_size=batch_size, precision=precision)
        votes.admit(first, piece)
        yield from votes.run(fresh)
