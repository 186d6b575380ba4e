"""Other people's checkpoint files: read without running anything in them, down to the dicts of tensors they hold."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import re
import warnings
from _codecs import encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.errors import UserError, first_line, require

DEEPEST = 4  # dicts within dicts
HUB = "hf://"
SAVE = "save its state_dict alone: torch.save(model.state_dict(), FILE)"

MAGIC = {
    b"\x1f\x8b": "a gzip archive: unpack it first",
    b"BZh": "a bzip2 archive: unpack it first",
    b"\xfd7zXZ": "an xz archive: unpack it first",
    b"Rar!": "a rar archive: unpack it first",
    b"7z\xbc\xaf": "a 7z archive: unpack it first",
    b"\x28\xb5\x2f\xfd": "a zstd archive: unpack it first",
    b"\x89HDF": "an HDF5 file, as Keras writes them, not a checkpoint of PyTorch",
    b"\x93NUMPY": "a NumPy array, not a checkpoint",
    b"\x89PNG": "an image, not a checkpoint",
    b"%PDF": "a PDF, not a checkpoint",
}


def fetch(file: str) -> Path:
    """Where a checkpoint lies on this machine; `hf://owner/repo/FILE` is fetched from the Hugging Face hub first.

    Raises UserError where there is none.
    """
    if not file.startswith(HUB):
        if "://" in file:
            raise UserError(f"{file} is not on this machine: download it, or name it hf://owner/repo/FILE")
        return Path(file)
    require("an hf:// checkpoint", "networks", "huggingface_hub")
    from huggingface_hub import hf_hub_download

    owner, _, rest = file.removeprefix(HUB).partition("/")
    repository, _, name = rest.partition("/")
    repository, _, revision = repository.partition("@")
    if not name:
        raise UserError(f"{file} names no file: write hf://owner/repo/FILE, or hf://owner/repo@revision/FILE")
    try:
        return Path(hf_hub_download(f"{owner}/{repository}", name, revision=revision or None))
    except Exception as error:  # of the network, of the hub, of the cache on this machine
        raise UserError(f"{file} could not be fetched: {type(error).__name__}: {first_line(error)}") from error


def read_entries(path: Path) -> dict[str, dict[str, Tensor]]:
    """Each dict of tensors in a file by where it is in it, as 'state_dict' or 'ema.model'; '' is the file itself.

    Raises UserError where the file is absent, damaged, no checkpoint, or would execute code when loaded.
    """
    content = read_file(path)
    found = dict(dicts_of_tensors(content, ""))
    if not found:
        raise UserError(f"{path} holds no dict of tensors, but {outline(content)}: {SAVE}")
    return found


def read_file(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.is_dir():
        raise UserError(f"{path} is a folder: name the checkpoint's file in it")
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    with path.open("rb") as file:
        start = file.read(512)
    if fault := not_weights(start):
        raise UserError(f"{path} is {fault}")
    if start[8:9] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        return unpickle(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint ({first_line(error)})") from error


def not_weights(start: bytes) -> str:
    """What a file is that begins like this, if it is plainly something else than weights; else empty."""
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not start:
        return "empty"
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "an HTML page, not a checkpoint: what was downloaded asks something (to log in, to confirm); download the "
            "file itself"
        )
    if text.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, not the file: fetch it with 'git lfs pull'"
    if text.startswith((b"{", b"[")) and b"\x00" not in start[:64]:
        return "JSON, not a checkpoint"
    return next((said for magic, said in MAGIC.items() if start.startswith(magic)), "")


def unpickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(harmless()), path.open("rb") as file:
            warnings.simplefilter("ignore")  # what is wrong is said below
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        refused = re.findall(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            said = f"{refused[0]} is not weights, and to load it would execute code"
        else:
            said = "it is damaged, or holds objects that would execute code on loading"
        raise UserError(f"{path} was not loaded: {said}; {SAVE}") from error
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OSError) as error:
        if "TorchScript" in str(error):
            raise UserError(f"{path} was not loaded: it is TorchScript, which is code; {SAVE}") from error
        said = re.split(r"\.? ?(?:Please|In PyTorch|You can|Re-running|\(1\))", first_line(error))[0]
        raise UserError(f"{path} is damaged or not a checkpoint ({said})") from error


def harmless() -> list[Any]:
    """What people keep beside weights and what runs nothing: numbers and arrays of NumPy, parsed arguments, paths."""
    named = [
        (getattr(np._core.multiarray, name), f"{home}.multiarray.{name}")  # type: ignore[attr-defined]
        for name in ("scalar", "_reconstruct")
        for home in ("numpy._core", "numpy.core")
    ]
    letters = "f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?", "U1", "S1"
    numbers = {type(np.dtype(letter)) for letter in letters}
    dates = [datetime.datetime, datetime.date, datetime.timedelta]
    paths = [pathlib.PosixPath, pathlib.PurePosixPath]
    kept = [argparse.Namespace, collections.defaultdict, collections.deque, *dates, *paths]
    return [*named, *numbers, *kept, np.dtype, np.ndarray, encode, dict, list, set, int, float]


def dicts_of_tensors(content: Any, where: str, depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """The dicts within `content` that have tensors under names, outer ones first; not an optimizer's."""
    if isinstance(content, torch.nn.Module) or not isinstance(content, dict) or depth > DEEPEST:
        return
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if any(tensor.dim() for tensor in tensors.values()) or (not where and tensors and len(tensors) == len(content)):
        yield where, tensors
    for name, value in content.items():
        if isinstance(name, str) and not re.search(r"optim|sched|scaler", name, re.IGNORECASE):
            yield from dicts_of_tensors(value, f"{where}.{name}" if where else name, depth + 1)


def outline(content: Any) -> str:
    """What a file holds, in a few words."""
    if not isinstance(content, dict):
        return f"a {type(content).__name__}"
    entries = [f"{name} ({type(value).__name__})" for name, value in list(content.items())[:6]]
    return ", ".join(entries) + (", …" if len(content) > 6 else "") if entries else "nothing"
