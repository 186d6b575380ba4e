"""Files and folders that are being made or removed: they say in their name which process is at work on them."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# what a kill leaves of a removal or a replacement: .PID@HOST-NAME.part, and as earlier versions called it
LEFTOVER = re.compile(r"\.(removed-.+-\d+|\d+(@.+)?-.+\.part(\.old)?)")


def beside(path: Path, name: str | int) -> Path:
    """Where this process keeps what is to take the place of `path`, or is being removed; `sweep` knows the name."""
    return path.parent / f".{os.getpid()}@{host()}-{name}.part"


def sweep(folder: Path) -> None:
    """Remove what processes of this machine that were killed have left in a folder."""
    for left in folder.glob(f".*@{glob.escape(host())}-*.part*"):
        process = left.name[1:].partition("@")[0]
        if LEFTOVER.fullmatch(left.name) and not is_alive(int(process)):
            discard(left)


@contextmanager
def temporary(place: Path | None = None) -> Iterator[Path]:
    """A folder for as long as something is done in it, in `place` or where the system has such; `sweep` knows its name,
    and removes those that killed processes left there."""
    place = place or Path(tempfile.gettempdir())
    sweep(place)
    folder = Path(tempfile.mkdtemp(prefix=f".{os.getpid()}@{host()}-", suffix=".part", dir=place))
    try:
        yield folder
    finally:
        discard(folder)


def discard(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def host() -> str:
    """This machine, as it is part of a file's name; always as long, so that no name begins with another's."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:12]


def is_alive(process: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is somebody else's
    return True
