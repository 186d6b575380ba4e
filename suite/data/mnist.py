"""MNIST and Fashion-MNIST, of one channel: their own files, Hugging Face's, image folders, or downloaded."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from suite.data.published import DIGITS, Original, Published, Splits, check_files, from_arrays
from suite.errors import UserError

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FILES = tuple(
    f"{split}-{what}-idx{rank}-ubyte" for split in ("train", "t10k") for what, rank in (("images", 3), ("labels", 1))
)


def _original(kind: str, own: str) -> Original:
    inside = (f"{kind}/raw", f"{own}/{kind}/raw", f"{own}/raw", own)
    return Original(kind, kind, FILES, inside, _read, _fetch)


def _read(folder: Path, kind: Any) -> Splits:
    unpacked = [file for file in FILES if (folder / file).exists()]
    archives = [(file, md5) for file, md5 in kind.resources if file.removesuffix(".gz") not in unpacked]
    check_files(folder, archives)
    splits = []
    for split in "train", "t10k":
        images, labels = (_read_idx(folder / file) for file in FILES if file.startswith(split))
        if images.shape != (len(labels), 28, 28) or labels.ndim != 1 or not set(labels.tolist()) <= set(range(10)):
            raise UserError(f"{folder / split}-*: these are not labelled images of 28x28 pixels in 10 classes")
        splits.append(from_arrays(images[:, None].copy(), labels.astype(np.int64)))
    train, test = splits
    return train, test, FASHION_CLASSES if kind.__name__ == "FashionMNIST" else DIGITS


def _read_idx(file: Path) -> np.ndarray:
    """The array in a file of LeCun's format, which may be compressed: two zeros, 8 for bytes, the rank, the shape."""
    packed = file.with_name(f"{file.name}.gz")
    try:
        data = file.read_bytes() if file.exists() else gzip.decompress(packed.read_bytes())
        if data[:3] != b"\0\0\x08":
            raise ValueError("another format")
        shape = tuple(map(int, np.frombuffer(data, ">u4", data[3], 4)))
        return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)
    except (ValueError, EOFError, gzip.BadGzipFile, zlib.error, IndexError) as error:
        raise UserError(f"{file} is damaged: delete {file.parent} and run again to download it anew") from error


def _fetch(kind: Any, staging: Path) -> None:
    kind(staging, download=True)


MNIST = Published(
    name="mnist",
    title="MNIST",
    classes=DIGITS,
    shape=(1, 28, 28),
    mean=(0.1307,),
    std=(0.3081,),
    augmentation="shift",  # a mirrored digit is no digit
    test_images=10_000,
    original=_original("MNIST", "mnist"),
)
FASHION_MNIST = Published(
    name="fashion-mnist",
    title="Fashion-MNIST",
    classes=FASHION_CLASSES,
    shape=(1, 28, 28),
    mean=(0.2860,),
    std=(0.3530,),
    augmentation="crop-flip-2",
    test_images=10_000,
    original=_original("FashionMNIST", "fashion-mnist"),
    hub=("fashion_mnist", "fashion-mnist", "FashionMNIST"),
)
