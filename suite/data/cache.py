"""Decoded images on disk, memory-mapped: whoever loads the same files again decodes nothing.

One file for each data set in $SUITE_CACHE, else $XDG_CACHE_HOME/l2-robustness-suite or ~/.cache/l2-robustness-suite. It
may be deleted at any time. A cache that cannot be read or written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from suite.leftovers import beside, sweep

VERSION = "1"  # of what is kept: raise it where the same files give other pixels, labels or facts
SETTLED = 0.05  # seconds that a file must be older than: within a tick of the clock a change leaves no trace


@dataclass(frozen=True)
class Kept:
    """What is known of a data set once it is decoded: tensors, and facts that are JSON."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]

    def checksum(self) -> int:
        found = zlib.crc32(json.dumps(self.facts).encode())
        for name in sorted(self.tensors):
            found = zlib.crc32(self.tensors[name].contiguous().numpy().reshape(-1).data, found)
        return found


def recall(name: str, files: Sequence[str], about: Any, make: Callable[[], Kept]) -> Kept:
    """What `make` gives, kept for the next call with the same files (path, size, times) and the same `about`.

    `name` is for whoever looks into the folder.
    """
    if not files:
        return make()
    before = identity(files)
    folder = cache_folder()
    source = hashlib.sha256(os.path.dirname(os.path.abspath(files[0])).encode()).hexdigest()[:8]
    own = f"{re.sub(r'[^A-Za-z0-9.]+', '-', name)}-{source}-"
    key = hashlib.sha256(json.dumps([VERSION, decoder(), about]).encode() + before.encode()).hexdigest()[:24]
    file = folder and folder / f"{own}{key}.safetensors"
    if found := file and _read(file):
        return found
    made = make()
    if file and identity(files) == before and _newest(files) < time.time() - SETTLED:
        _write(file, made)
        _forget(file, own)
    return made


def cache_folder() -> Path | None:
    """Where decoded images are kept; None without a home."""
    if given := os.environ.get("SUITE_CACHE"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "l2-robustness-suite"
    except RuntimeError:
        return None


def identity(files: Iterable[str]) -> str:
    """A digest of where files are, how large, and when they changed."""
    digest, here = hashlib.sha256(), os.getcwd()
    for file in files:
        status = os.stat(file)
        place = file if os.path.isabs(file) else f"{here}{os.sep}{file}"
        digest.update(f"{place}\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return digest.hexdigest()


def decoder() -> str:
    """The versions of what turns files into pixels."""
    import PIL
    from PIL import features

    return f"Pillow {PIL.__version__}, libjpeg {features.version_codec('jpg')}"


def _newest(files: Iterable[str]) -> float:
    return max(max(status.st_mtime, status.st_ctime) for status in map(os.stat, files))


def _read(file: Path) -> Kept | None:
    """What a file holds, None if it is not there or damaged."""
    from safetensors import SafetensorError, safe_open

    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata()
            found = Kept({name: opened.get_tensor(name) for name in list(opened.keys())}, json.loads(about["facts"]))
        return found if found.checksum() == int(about["checksum"]) else None
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def _write(file: Path, kept: Kept) -> None:
    """Write beside the file and rename: it is there whole or not at all. Without permission or space it is not."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    new = beside(file, file.name)
    about = {"facts": json.dumps(kept.facts), "checksum": str(kept.checksum())}
    size = sum(tensor.nbytes for tensor in kept.tensors.values())
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(file.parent).free > 2 * size:
            sweep(file.parent)
            save_file({name: tensor.contiguous() for name, tensor in kept.tensors.items()}, new, about)
            new.replace(file)
    except (OSError, SafetensorError):
        pass
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _forget(file: Path, own: str) -> None:
    """Remove what was kept of the same place before its files changed."""
    with suppress(OSError):
        for old in file.parent.glob(f"{own}*.safetensors"):
            if old != file:
                old.unlink(missing_ok=True)
