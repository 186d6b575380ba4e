"""A small experiment for many workers, and what happens to these meanwhile."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from pathlib import Path
from random import Random
from typing import Any

import torch

from helpers import processes
from suite.experiments.experiment import Experiment, carry_out, runs_of
from suite.pipeline import Machine
from suite.spec.run_spec import RunSpec

GRID: dict[str, Any] = {
    "title": "small",
    "dataset": "digits",
    "methods": {"randomized-smoothing": {}, "heat": {"kappa": 1, "start.training.epochs": 0.3}},
    "sigmas": [0.25, 0.5],
    "settings": {"profile": "demo", "epochs": 0.3, "batch_size": 64, "images": 6, "n0": 10, "n": 80},
}  # both runs of heat start from the same baseline


def specs() -> list[RunSpec]:
    return runs_of(Experiment(**GRID))


def made_alone(runs: Path) -> Path:
    """The store `runs`, in which one process of one thread has carried out the experiment."""
    with one_thread():
        assert len(list(carry_out(specs(), Machine(runs=runs, track=False)))) == 4
    return runs


@contextmanager
def one_thread() -> Iterator[None]:
    """Meanwhile, this process has one thread as workers have; the process that these are forked from has begun."""
    assert processes.FORKED
    forkserver.ensure_running()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def descendants(of: int) -> dict[int, str]:
    """The processes that a process has begun, itself or others, and their command lines."""
    parents, lines = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    found, fresh = set[int](), {of}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return {process: lines[process] for process in found if process in lines}


@contextmanager
def meanwhile(work: Callable[[], None], ended: threading.Event) -> Iterator[None]:
    """Have a thread do some work, until `ended` tells it to stop."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def killing(times: int, draw: Random, every: tuple[float, float]) -> Iterator[list[int]]:
    """Meanwhile, kill workers of Ray's that are at a task, drawn at random, so many times; which were killed."""
    killed, ended = list[int](), threading.Event()

    def kill() -> None:
        while len(killed) < times and not ended.wait(draw.uniform(*every)):
            at_work = sorted(p for p, line in descendants(os.getpid()).items() if line.startswith("ray::_there"))
            if at_work:
                killed.append(draw.choice(at_work))
                with suppress(ProcessLookupError):
                    os.kill(killed[-1], signal.SIGKILL)

    with meanwhile(kill, ended):
        yield killed


@contextmanager
def watching(runs: Path) -> Iterator[dict[str, set[int]]]:
    """Meanwhile, look at the shared models of a store: the times at which each was written, by its name."""
    written: dict[str, set[int]] = {}
    ended = threading.Event()

    def look() -> None:
        last = False
        while not last:
            last = ended.wait(0.05)
            for file in runs.glob("models/*/model.safetensors"):
                with suppress(FileNotFoundError):
                    written.setdefault(file.parent.name, set()).add(file.stat().st_mtime_ns)

    with meanwhile(look, ended):
        yield written
