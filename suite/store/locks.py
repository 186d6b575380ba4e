"""Locks on what processes share: each says who holds it, and is taken over where its holder is dead.

On one machine the system excludes others (flock), and lets go when a process dies. Network file systems may not exclude
those of another machine, so the holder also keeps a file beside the lock, NAME.held, and touches it now and then: while
that of another machine is fresh, the lock is not free here either.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from suite.errors import UserError
from suite.leftovers import is_alive, sweep
from suite.progress import logger
from suite.store.files import write_json

BEAT = 20.0  # seconds between two touches of a holder's file
DEAD = 120.0  # seconds without one after which a holder on another machine is taken for dead
POLL = 1.0


@dataclass(frozen=True)
class Holder:
    """Who holds a lock, as its file says."""

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


class Busy(UserError):
    """Another process holds what is asked for, and is not waited for."""


def lock_of(folder: Path) -> Path:
    """The lock of a run's or a model's folder, beside it."""
    return folder.parent / f".{folder.name}.lock"


def holder_of(file: Path) -> Holder | None:
    """Who holds a lock; None where nobody does, or where it cannot be told."""
    with suppress(OSError, ValueError, TypeError, RecursionError):
        return Holder(**json.loads(file.with_suffix(".held").read_text()))
    return None


@contextmanager
def hold(file: Path, *, wait: bool = True, what: str = "", quiet: bool = False) -> Iterator[None]:
    """Hold a lock against other processes and threads; where another one does, wait for it, and say so in a line.

    `quiet` ones, which are held for a moment, do not say it. Raises Busy where that is not to be waited for.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    lock, held = FileLock(file, thread_local=False), file.with_suffix(".held")
    said = False

    def is_busy() -> None:
        nonlocal said
        by = holder_of(file)
        if not wait:
            raise Busy(f"{by or 'another process'} is at work on {what or file}")
        if not said and not quiet:
            logger.info(f"another process is at work on {what or file} ({by or 'unknown'}); waiting for it")
        said = True

    try:
        lock.acquire(blocking=False)
    except Timeout:
        is_busy()
        lock.acquire()
    try:
        while is_held_elsewhere(file):
            is_busy()
            time.sleep(POLL)
        sweep(file.parent)
        _forget_the_dead(file.parent)
        own = Holder(socket.gethostname(), os.getpid(), datetime.now(UTC).isoformat(" ", "seconds"))
        write_json(held, asdict(own))
        ended = threading.Event()
        threading.Thread(target=_beat, args=(held, ended), daemon=True).start()
        try:
            yield
        finally:
            ended.set()
            held.unlink(missing_ok=True)
    finally:
        lock.release()


def is_free(file: Path) -> bool:
    """Whether no process holds a lock."""
    if not file.exists():
        return True
    try:
        with FileLock(file, blocking=False):
            return not is_held_elsewhere(file)
    except Timeout:
        return False


def is_held_elsewhere(file: Path) -> bool:
    """Whether a process of another machine holds a lock that is free here; by the clock of the file system."""
    holder = holder_of(file)
    if not holder or holder.host == socket.gethostname():
        return False
    with suppress(OSError):
        os.utime(file)
        return file.stat().st_mtime - file.with_suffix(".held").stat().st_mtime < DEAD
    return False


def _forget_the_dead(folder: Path) -> None:
    """Remove the names of killed processes of this machine from locks that nobody may ask for again."""
    for held in folder.glob("*.held"):
        lock = held.with_suffix(".lock")
        holder = holder_of(lock)
        if holder and holder.host == socket.gethostname() and not is_alive(holder.pid):
            with suppress(Timeout), FileLock(lock, blocking=False, thread_local=False):
                held.unlink(missing_ok=True)


def _beat(held: Path, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        with suppress(OSError):
            os.utime(held)
