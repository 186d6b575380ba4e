"""What an executor is, and what happens to a task where it is carried out."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import chdir, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Self

from suite.errors import UserError
from suite.progress import logger, on_console, visible

Function = Callable[[Any, str | None], Any]  # of a task's argument, and of the device that its worker has, if any


class Lost(Exception):
    """The process at work on a task ended without an answer: the task may be given again."""


class Later(Exception):
    """A task cannot be done now, and is to be given again after others."""


@dataclass(frozen=True)
class Answer:
    """What came of a task: its result, or what was wrong; and what it warned of meanwhile."""

    result: Any = None
    error: str | None = None
    later: bool = False
    said: tuple[tuple[int, str], ...] = ()


def answer(function: Function, argument: Any, device: str | None = None) -> Answer:
    """Carry out a task in a worker: a mistake of the user's is an answer, any other error is raised.

    Nothing is said on the worker's console: warnings come with the answer, and the process that gave the task says
    them.
    """
    with _heard() as said:
        try:
            return Answer(function(argument, device), said=tuple(said))
        except Later as error:
            return Answer(error=str(error), later=True, said=tuple(said))
        except UserError as error:
            return Answer(error=str(error), said=tuple(said))


@contextmanager
def _heard() -> Iterator[list[tuple[int, str]]]:
    said: list[tuple[int, str]] = []
    ear = logging.Handler(logging.WARNING)
    ear.emit = lambda record: said.append((record.levelno, visible(record.getMessage())))  # type: ignore[method-assign]
    before = on_console.level
    on_console.setLevel(logging.CRITICAL)
    logger.addHandler(ear)
    try:
        yield said
    finally:
        logger.removeHandler(ear)
        on_console.setLevel(before)


def _in_folder(folder: str, function: Function, argument: Any, device: str | None) -> Any:
    with chdir(folder) if os.path.isdir(folder) else nullcontext():
        return function(argument, device)


class Executor(ABC):
    """Carries out tasks, `workers` at once; as a context it is closed at the end, however that comes.

    An executor of another package is a subclass, named by an entry point of the group "suite.executors", and its
    keyword arguments are the user's settings: `workers`, `devices`, and any of its own, given by `--with`.
    """

    workers: int

    @abstractmethod
    def carry_out(self, function: Function, argument: Any) -> Answer:
        """Have `answer(function, argument, device)` called by a worker, and wait for what it gives.

        Called by several threads. Function and argument can be pickled; `device` is None where the worker has none of
        its own. Raises Lost where the worker died.
        """

    @abstractmethod
    def close(self) -> None:
        """End all workers at once. What is at work is interrupted as by Ctrl-C, and killed if it does not end."""

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.workers, "executor")  # further tasks wait in its queue

    def submit(self, function: Function, argument: Any) -> Future[Answer]:
        """Begin a task, in whose worker relative paths are what they are here, where it has this folder."""
        return self._threads.submit(self.carry_out, partial(_in_folder, os.getcwd(), function), argument)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.close()
