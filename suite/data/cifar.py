"""CIFAR-10 and CIFAR-100: torchvision's files, Hugging Face's parquet, image folders, or downloaded."""

from __future__ import annotations

import http.client
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suite.data.dataset import Dataset
from suite.data.decode import Encoded, decode_all
from suite.data.images import InMemory, fingerprint
from suite.data.layouts import find
from suite.errors import UserError

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
JPEG_MAGIC = b"\xff\xd8\xff"


def load_cifar10(root: Path, download: bool) -> Dataset:
    """50,000 training and 10,000 test images of 32x32 pixels in 10 classes."""
    from torchvision.datasets import CIFAR10

    return _load(
        root,
        download,
        kind=CIFAR10,
        name="cifar10",
        title="CIFAR-10",
        classes=CIFAR10_CLASSES,
        label="label",
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
    )


def load_cifar100(root: Path, download: bool) -> Dataset:
    """50,000 training and 10,000 test images of 32x32 pixels in 100 classes."""
    from torchvision.datasets import CIFAR100

    return _load(
        root,
        download,
        kind=CIFAR100,
        name="cifar100",
        title="CIFAR-100",
        classes=tuple(map(str, range(100))),
        label="fine_label",
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
    )


def _load(
    root: Path,
    download: bool,
    *,
    kind: Any,
    name: str,
    title: str,
    classes: tuple[str, ...],
    label: str,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Dataset:
    variant = ""
    own = root / name
    torchvision_folders = [place / kind.base_folder for place in (root, own)]
    shard_folders = [own, own / "data", own / "plain_text", root]
    folder = next(filter(Path.is_dir, torchvision_folders), None)
    found = None if folder else find(shard_folders, own, label=label)
    if not folder and not found:
        places = (
            f"looked for {kind.base_folder}/ in {root} or {own} (torchvision), {{train,test}}-*.parquet in "
            f"{', '.join(map(str, shard_folders))} (Hugging Face), and {own}/{{train,test}}/CLASS/*.png "
            "(image folders)"
        )
        if not download:
            raise UserError(f"no {title} found, and downloading is off: {places}; put one of these there")
        folder = _download(kind, root, title, places)
    if folder:
        train, test, classes = _read_torchvision(kind, folder)
        source = f"torchvision's files in {folder}"
    else:
        assert found is not None
        assert found.train is not None
        found.check_classes(len(classes))
        splits = found.train, found.test
        train, test = (InMemory(decode_all(split, (32, 32)), split.labels) for split in splits)
        classes, source = found.test.classes or classes, found.source
        variant = "JPEG" if any(map(_any_jpeg, splits)) else ""
    return Dataset(
        name=name,
        variant=variant,
        title=f"{title} ({variant})" if variant else title,
        classes=classes,
        shape=(3, 32, 32),
        mean=mean,
        std=std,
        augmentation="crop-flip",
        train=train,
        test=test,
        source=source,
        fingerprint=fingerprint(train, test),
    )


def _read_torchvision(kind: Any, folder: Path) -> tuple[InMemory, InMemory, tuple[str, ...]]:
    from torchvision.datasets.utils import check_integrity

    for file, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        if not check_integrity(folder / file, md5):
            state = "differs from the published file" if (folder / file).exists() else "is missing"
            raise UserError(f"{folder / file} {state}: delete {folder} and run again to download it anew")
    raw = [kind(folder.parent, train=split) for split in (True, False)]
    train, test = (
        InMemory(
            torch.from_numpy(np.ascontiguousarray(split.data.transpose(0, 3, 1, 2))),
            torch.tensor(split.targets, dtype=torch.int64),
        )
        for split in raw
    )
    return train, test, tuple(raw[0].classes)


def _download(kind: Any, root: Path, title: str, places: str) -> Path:
    """Downloads into `root` and returns the folder, which appears there only once it is whole."""
    timeout = socket.getdefaulttimeout()
    socket.setdefaulttimeout(30)  # seconds; torchvision sets none and would wait for ever
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".download-") as staging:
            kind(staging, download=True)
            os.replace(Path(staging, kind.base_folder), root / kind.base_folder)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"no {title} found, and downloading it failed ({reason}): {places}; put one of these there, or "
            "run again where the network works"
        ) from error
    finally:
        socket.setdefaulttimeout(timeout)
    return Path(root / kind.base_folder)


def _any_jpeg(split: Encoded) -> bool:
    return any(data.startswith(JPEG_MAGIC) for data in split.read(range(len(split.labels))))
