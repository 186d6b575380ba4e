"""Local: worker processes on this machine, each with a device of its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any

from suite.cores import cores
from suite.errors import UserError
from suite.executors.executor import Answer, Executor, Function, Lost, answer

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
GRACE = 5.0  # seconds that an interrupted worker has to end


class _Slot:
    """A process at a time: a pool of one, so that one that dies takes no other with it."""

    def __init__(self, device: str | None, workers: int):
        self.device, self.workers = device, workers
        self.pool: ProcessPoolExecutor | None = None
        self.process = 0

    def start(self) -> ProcessPoolExecutor:
        if not self.pool:
            context = multiprocessing.get_context(METHOD)
            self.pool = ProcessPoolExecutor(1, context, _begin, (self.device, self.workers))
            with _without_interrupts():
                begun = self.pool.submit(os.getpid)
            self.process = begun.result()
        return self.pool


class Local(Executor):
    """Worker processes: one for each of the devices, which are all GPUs unless others are given; on "cpu" alone, and
    without GPUs, one for each core, with a thread each.

    Several workers may share a device. On a CPU, $OMP_NUM_THREADS sets another number of threads.
    """

    def __init__(self, workers: int | None = None, devices: Sequence[str] = ()):
        if workers and len(devices) > workers:
            raise UserError(f"{len(devices)} devices need as many workers, not {workers}")
        devices = devices or gpus()[:workers]
        self.workers = workers or (cores() if list(devices) in ([], ["cpu"]) else len(devices))
        if METHOD == "forkserver":
            # so imports are made once
            multiprocessing.set_forkserver_preload(["suite.pipeline", "suite.executors.unblocked"])
        chosen = [devices[number % len(devices)] if devices else None for number in range(self.workers)]
        self._slots = [_Slot(device, self.workers) for device in chosen]
        self._idle: SimpleQueue[_Slot] = SimpleQueue()
        self._closed = False
        for slot in self._slots:
            self._idle.put(slot)

    def carry_out(self, function: Function, argument: Any) -> Answer:
        slot = self._idle.get()
        try:
            if self._closed:
                raise Lost("the executor is closed")
            return slot.start().submit(_listening, function, argument, slot.device).result()
        except BrokenProcessPool as error:
            died, slot.pool, slot.process = slot.process, None, 0
            raise Lost(f"process {died}") from error
        finally:
            self._idle.put(slot)

    def close(self) -> None:
        self._closed = True
        ours = [slot for slot in self._slots if slot.pool]
        for slot in ours:
            if slot.process:  # else it is still beginning, and ends with this process
                with suppress(ProcessLookupError):
                    os.kill(slot.process, signal.SIGINT)
            if slot.pool:
                slot.pool.shutdown(wait=False, cancel_futures=True)
        until, numbers = time.monotonic() + GRACE, {slot.process for slot in ours}
        children = [child for child in multiprocessing.active_children() if child.pid in numbers]
        try:
            for child in children:
                child.join(max(0.0, until - time.monotonic()))
        finally:
            for child in children:
                child.kill()


def gpus() -> list[str]:
    """The CUDA devices that this process may use."""
    import torch

    return [f"cuda:{number}" for number in range(torch.cuda.device_count())]


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is begun meanwhile, by this thread, does not hear Ctrl-C until it says so itself."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(device: str | None, workers: int) -> None:
    """Set up a worker: Ctrl-C is the parent's, which hands it on, and a worker does not outlive its parent."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.setpgrp()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    on_cpu = (device or "cpu").startswith("cpu")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1 if on_cpu else max(1, cores() // workers))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _listening(function: Function, argument: Any, device: str | None) -> Answer:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return answer(function, argument, device)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
