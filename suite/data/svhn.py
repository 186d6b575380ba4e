"""SVHN, cropped street-view house numbers in colour: its own files, Hugging Face's, image folders, or downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from suite.data.published import DIGITS, Original, Published, Splits, check_files, from_arrays


def _read(folder: Path, kind: Any) -> Splits:
    check_files(folder, [(kind.split_list[split][1], kind.split_list[split][2]) for split in ("train", "test")])
    raw = [kind(folder, split=split) for split in ("train", "test")]  # torchvision gives the digit 0 the label 0
    train, test = (from_arrays(np.ascontiguousarray(split.data), split.labels) for split in raw)
    return train, test, DIGITS


def _fetch(kind: Any, staging: Path) -> None:
    for split in "train", "test":
        kind(staging / "SVHN", split=split, download=True)


SVHN = Published(
    name="svhn",
    title="SVHN",
    classes=DIGITS,
    shape=(3, 32, 32),
    mean=(0.4377, 0.4438, 0.4728),
    std=(0.1980, 0.2010, 0.1970),
    augmentation="shift",  # a mirrored digit is no digit
    test_images=26_032,
    original=Original(
        "SVHN", "SVHN", ("train_32x32.mat", "test_32x32.mat"), ("SVHN", "svhn/SVHN", "svhn", "."), _read, _fetch
    ),
)
