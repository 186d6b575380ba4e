"""Code that networks come from: where it lies, and the digest that ties a run to it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from suite.errors import UserError, first_line

PINNED = re.compile(r"(?P<home>.+?):(?P<name>[A-Za-z_][\w.]*)(@(?P<digest>[0-9a-f]{8}))?")
LIBRARIES = ("timm", "torchvision", "hub", "python")


def is_reference(arch: str) -> bool:
    """Whether an architecture is given by where it is, not by a registered name."""
    return ":" in arch


def pin(arch: str) -> str:
    """The reference with the digest of the code, if it is to code of one's own; any other architecture as it is.

    Raises UserError where there is no such code.
    """
    library = arch.partition(":")[0] in LIBRARIES
    found = PINNED.fullmatch(arch)
    if library or not found or found["digest"]:
        return arch
    return f"{arch}@{code_digest(source_of(found['home']))}"


def label(arch: str) -> str:
    """What a reference is called on a board and in names of folders: without the way to the file."""
    home, colon, name = arch.rpartition(":")
    return f"{Path(home).name}:{name}" if colon and home.endswith(".py") else arch


def source_of(home: str) -> Path:
    """The file of a module or of a path. Raises UserError where there is none."""
    if home.endswith(".py"):
        if not Path(home).is_file():
            raise UserError(f"there is no file {home} (from {Path.cwd()}): give the way to the network's code")
        return Path(home)
    try:
        with on_path(os.getcwd()):
            found = importlib.util.find_spec(home)
    except (Exception, SystemExit) as error:
        raise UserError(f"module {home} does not import: {first_line(error)}") from error
    if not found or not found.origin or not Path(found.origin).is_file():
        raise UserError(f"there is no module '{home}' to import a network from; a file goes by its path, FILE.py:NAME")
    return Path(found.origin)


def code_digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:8]


@contextmanager
def on_path(folder: str) -> Iterator[None]:
    """Let Python import from a folder for a while."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
