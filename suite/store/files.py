"""Files that survive a kill at any moment: whole or not there."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import stat
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.leftovers import beside, discard


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that `path` holds either what it held before or all of `content`, on the disk.

    A symbolic link stays one: the file that it leads to is written. So do a device, a pipe and what lies in /dev and
    /proc, as /dev/stdout: they get the content, after what they have.
    """
    status = path.stat() if path.exists() else None
    is_system = path.absolute().as_posix().startswith(("/dev/", "/proc/"))
    if status and not stat.S_ISDIR(status.st_mode) and (is_system or not stat.S_ISREG(status.st_mode)):
        with path.open("ab") as there:
            there.write(content)
        return
    target = Path(os.path.realpath(path)) if path.is_symlink() else path
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    new = beside(target, threading.get_ident())
    try:
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if status:
            new.chmod(stat.S_IMODE(status.st_mode))
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)


def replace_folder(path: Path, content: Mapping[str, bytes]) -> None:
    """Make the folder `path` hold these files and no others: at any moment all of them, or what it held before.

    (Where the system cannot exchange two names at once there is a moment between, at which it is not there.)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = beside(path, path.name)
    discard(new)  # of an earlier process with this number, as containers have them
    try:
        new.mkdir()
        for name, data in content.items():
            write_atomically(new / name, data)
        if path.exists():
            exchange(new, path)
        else:
            new.rename(path)
    finally:
        discard(new)


def exchange(one: Path, other: Path) -> None:
    """Give two folders each other's name: at once where the system can, else one after the other."""
    library = ctypes.CDLL(None, use_errno=True)
    here, at_once = -100, 2  # Linux: AT_FDCWD and RENAME_EXCHANGE
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2") and library.renameat2(here, names[0], here, names[1], at_once) == 0:
        return
    between = other.with_name(f"{one.name}.old")
    other.rename(between)
    one.rename(other)
    between.rename(one)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as indented JSON, atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError if it is damaged."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); remove it and run the same command again") from error
