"""Tasks that depend on each other, given to an executor until all have ended."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from graphlib import TopologicalSorter
from heapq import heappop, heappush
from typing import Any

from suite.executors.executor import Answer, Executor, Function, Later, Lost
from suite.progress import logger

TICK = 1.0  # seconds without news after which a caller may look around
PAUSE = 2.0  # seconds until a task that could not be done is given again
TRIES = 5  # processes that may die at one task


@dataclass(frozen=True)
class Task:
    """A function at the top level of a module and what makes its argument, called when the task is given to a worker;
    `after` are the tasks that have to end before. Both the function and `argument` may raise Later."""

    function: Function
    argument: Callable[[], Any]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ended:
    """A task that has ended: with its result, or with what was wrong."""

    name: str
    result: Any = None
    error: str | None = None


def finish(executor: Executor, tasks: Mapping[str, Task]) -> Iterator[Ended | None]:
    """Each task as it ends, those that come first in `tasks` as early as can be; None where there is no news.

    What comes after a task is begun once the caller asks for the next news. A task whose process dies is given again,
    to TRIES processes in all. One that fails lets those fail that come after it, and no others. Other errors of a task
    than UserError are raised.
    """
    return _Finish(executor, tasks).news()


class _Finish:
    def __init__(self, executor: Executor, tasks: Mapping[str, Task]):
        self.executor, self.tasks = executor, tasks
        self.rank = {name: number for number, name in enumerate(tasks)}
        self.order = TopologicalSorter({name: task.after for name, task in tasks.items()})
        self.order.prepare()
        self.ready: list[tuple[int, str]] = []  # a heap, by rank
        self.paused: list[tuple[float, str]] = []  # a heap, by the time at which they are given again
        self.at_work: dict[Future[Answer], str] = {}
        self.failed: dict[str, str] = {}
        self.lost, self.postponed = Counter[str](), set[str]()

    def news(self) -> Iterator[Ended | None]:
        while self.order.is_active():
            for name in self.order.get_ready():
                heappush(self.ready, (self.rank[name], name))
            yield from self._give()
            yield from self._take()

    def _give(self) -> Iterator[Ended]:
        while self.paused and self.paused[0][0] <= time.monotonic():
            _, name = heappop(self.paused)
            heappush(self.ready, (self.rank[name] + len(self.tasks), name))  # after those that were not tried yet
        while self.ready and len(self.at_work) < 2 * self.executor.workers:
            _, name = heappop(self.ready)
            if reason := next((self.failed[each] for each in self.tasks[name].after if each in self.failed), None):
                yield from self._end(Ended(name, error=reason))
                continue
            try:
                argument = self.tasks[name].argument()
            except Later as error:
                self._postpone(name, str(error))
            else:
                self.at_work[self.executor.submit(self.tasks[name].function, argument)] = name

    def _take(self) -> Iterator[Ended | None]:
        if not self.at_work:
            if self.paused and not self.ready:
                time.sleep(min(TICK, max(0.0, self.paused[0][0] - time.monotonic())))
                yield None
            return
        done, _ = wait(self.at_work, timeout=TICK, return_when=FIRST_COMPLETED)
        if not done:
            yield None
        for future in sorted(done, key=lambda each: self.rank[self.at_work[each]]):
            name = self.at_work.pop(future)
            try:
                given = future.result()
            except Lost as error:
                yield from self._lose(name, str(error))
                continue
            for level, text in given.said:
                logger.log(level, text)
            if given.later:
                self._postpone(name, str(given.error))
            else:
                yield from self._end(Ended(name, given.result, given.error))

    def _lose(self, name: str, why: str) -> Iterator[Ended]:
        self.lost[name] += 1
        if self.lost[name] < TRIES:
            logger.info(f"the process at {name} died ({why}): it is given to another one")
            heappush(self.ready, (self.rank[name], name))
        else:
            said = f"{TRIES} processes died at it, the last: {why}"
            yield from self._end(Ended(name, error=f"{said}; perhaps they were killed for want of memory"))

    def _postpone(self, name: str, why: str) -> None:
        if name not in self.postponed:
            logger.info(f"{why}; another task meanwhile")
        self.postponed.add(name)
        heappush(self.paused, (time.monotonic() + PAUSE, name))

    def _end(self, ended: Ended) -> Iterator[Ended]:
        if ended.error is not None:
            self.failed[ended.name] = ended.error
        yield ended
        self.order.done(ended.name)
