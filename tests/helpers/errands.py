"""Tasks for executors, whose workers import them from here."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from suite.errors import UserError
from suite.executors.executor import Later
from suite.progress import logger


def double(number: int, device: str | None) -> int:
    return 2 * number


def name_device(number: int, device: str | None) -> str | None:
    time.sleep(0.2)
    return device


def whereabouts(number: int, device: str | None) -> Path:
    return Path.cwd()


def warn(number: int, device: str | None) -> int:
    logger.warning(f"{number} is odd")
    return os.getpid()


def refuse(number: int, device: str | None) -> int:
    raise UserError(f"{number} is refused")


def break_down(number: int, device: str | None) -> int:
    raise ZeroDivisionError(f"{number} broke down")


def die(folder: Path, device: str | None) -> str:
    """Kill the worker, until as many have died here as a file says."""
    file = folder / f"{time.monotonic_ns()}.died"
    left = int((folder / "deaths").read_text()) - len(list(folder.glob("*.died")))
    if left > 0:
        file.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def wait_for(file: Path, device: str | None) -> float:
    if not file.exists():
        file.with_suffix(".asked").touch()
        raise Later(f"{file.name} is not there")
    return file.stat().st_size


def resist(file: Path, device: str | None) -> None:
    """Say which process this is, and do not end by Ctrl-C."""
    file.write_text(str(os.getpid()))
    while True:
        with suppress(KeyboardInterrupt):
            time.sleep(60)


def once_asked(file: Path, device: str | None) -> str:
    """End after another worker has looked for a file."""
    while not file.with_suffix(".asked").exists():
        time.sleep(0.01)
    return file.name


def is_deaf() -> bool:
    """Whether Ctrl-C does not come through to this process."""
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
