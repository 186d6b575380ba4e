"""A protocol's records by many workers: ranges of images as tasks, and their records in one file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

from suite.errors import UserError
from suite.executors.executor import Executor
from suite.executors.tasks import Task, finish
from suite.experiments.errands import PartErrand, files_of, make_records
from suite.pipeline import Machine
from suite.protocols.protocol import Record
from suite.store.folder import RunFolder
from suite.store.records import read_lines


class Shards:
    """Makes the records of `suite.pipeline.run` by the workers of an executor, which share the store's files or not."""

    def __init__(self, executor: Executor, number: int | None = None, *, shared: bool = True):
        self.executor, self.number, self.shared = executor, number, shared

    def __call__(
        self, folder: RunFolder, machine: Machine, protocol: str, groups: list[Sequence[int]]
    ) -> Iterator[Record]:
        """Each record as it is there: where files are shared, as soon as a worker has written it."""
        machine = absolute(machine)
        spec, place = folder.spec, (machine.runs / folder.path.name)
        errands = [
            PartErrand(spec, machine, protocol=protocol, groups=part)
            for part in split(groups, self.number or 4 * self.executor.workers)
        ]
        parts = {errand.name: errand for errand in errands}
        tasks = {name: Task(make_records, partial(self._equip, errand)) for name, errand in parts.items()}
        written = dict.fromkeys(parts, 0) if self.shared else {}
        failed: list[str] = []
        for ended in finish(self.executor, tasks):
            if ended and ended.error is not None:
                failed.append(ended.error)
            elif ended and not self.shared:
                yield from ended.result
            for name in (ended.name,) if ended else tuple(written):
                if name in written:
                    fresh = read_lines(RunFolder(place, spec).parts(protocol) / f"{name}.jsonl", written[name])
                    written[name] += len(fresh)
                    yield from fresh
            if ended:
                written.pop(ended.name, None)
        if failed:
            raise UserError(f"{len(failed)} of {len(tasks)} shards of {protocol} failed: {failed[0]}")

    def _equip(self, errand: PartErrand) -> PartErrand:
        return errand if self.shared else replace(errand, files=files_of(errand.spec, errand.machine.runs))


def absolute(machine: Machine) -> Machine:
    """The same for a process in whatever folder."""
    root = machine.data_root
    return replace(machine, runs=machine.runs.absolute(), data_root=root and root.absolute())


def split(groups: list[Sequence[int]], number: int) -> Iterator[tuple[Sequence[int], ...]]:
    """Groups in at most so many ranges, whose lengths differ by one at most."""
    number = min(number, len(groups))
    ends = [len(groups) * each // number for each in range(number + 1)]
    yield from (tuple(groups[first:last]) for first, last in pairwise(ends))
