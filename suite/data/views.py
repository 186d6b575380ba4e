"""Test images as they are evaluated, kept on disk: who certifies them again decodes nothing.

There is a file for each image, in the folder "views" of the cache. It may be deleted at any time. A damaged one is made
again, and a folder that cannot be written costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from suite.data.cache import SETTLED, cache_folder, decoder, identity
from suite.data.decode import SIDE, Encoded, Make
from suite.leftovers import beside, sweep

VERSION = "1"  # of what is kept: raise it where the same file gives another view
MOST = 2 << 30  # bytes of all that is kept; a batch of each worker may come on top
STALE = 24 * 3600.0  # seconds after which what nobody asked for makes room, where there is none


def kept(source: Encoded, channels: int, make: Make, indices: list[int]) -> np.ndarray:
    """What `make` gives for the images at `indices`, uint8 (B, channels, SIDE, SIDE); made but once for each."""
    cache = cache_folder()
    try:
        files = [cache / "views" / _name(source, channels, index) for index in indices] if cache else []
    except OSError:  # an image is not there, which `make` says
        files = []
    if not files:
        return make(indices)
    images = np.empty((len(indices), channels, SIDE, SIDE), np.uint8)
    missing = [place for place, file in enumerate(files) if not _read(file, images[place])]
    if missing:
        images[missing] = make([indices[place] for place in missing])
        settled = [place for place in missing if _settled(source.file(indices[place]))]
        _write([files[place] for place in settled], images[settled])
    return images


def _name(source: Encoded, channels: int, index: int) -> str:
    about = f"{VERSION} {decoder()} {channels} {source.where(index)} {identity([source.file(index)])}"
    return hashlib.sha256(about.encode()).hexdigest()[:32]


def _settled(file: str) -> bool:
    status = os.stat(file)
    return max(status.st_mtime, status.st_ctime) < time.time() - SETTLED


def _read(file: Path, image: np.ndarray) -> bool:
    """Fill in an image from its file; whether it is there and whole."""
    try:
        content = file.read_bytes()
        os.utime(file)
    except OSError:
        return False
    pixels, checksum = content[:-4], content[-4:]
    if len(pixels) != image.nbytes or checksum != _checksum(pixels):
        return False
    image[:] = np.frombuffer(pixels, np.uint8).reshape(image.shape)
    return True


def _checksum(pixels: bytes) -> bytes:
    return zlib.crc32(pixels).to_bytes(4, "big")


def _write(files: Sequence[Path], images: np.ndarray) -> None:
    with suppress(OSError):
        for file, image in zip(files[: _room(files[0].parent, images)] if files else (), images, strict=False):
            new = beside(file, file.name)
            try:
                pixels = image.tobytes()
                new.write_bytes(pixels + _checksum(pixels))
                new.replace(file)
            finally:
                new.unlink(missing_ok=True)


def _room(folder: Path, images: np.ndarray) -> int:
    """For how many more images there is room, after what is stale has made some where it has to."""
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    each: int = images[0].nbytes + 4
    if shutil.disk_usage(folder).free < MOST:
        return 0
    there = list(folder.iterdir())
    if len(there) + len(images) > MOST // each:
        for file in there:
            if file.stat().st_mtime < time.time() - STALE:
                file.unlink(missing_ok=True)
        there = list(folder.iterdir())
    return max(0, MOST // each - len(there))
