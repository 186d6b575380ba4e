"""A dataset in a folder of one's own: small images in memory, others streamed."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from suite.data.dataset import Dataset
from suite.data.decode import SIDE, DifferentSize, decode_all, size_of
from suite.data.images import InMemory, Streamed, fingerprint
from suite.data.layouts import find
from suite.errors import UserError

LONGEST_IN_MEMORY = 64  # pixels
SAMPLE = 500  # images that the mean and standard deviation are computed from


def load_folder(folder: Path) -> Dataset:
    """`folder` holds {train,test}/CLASS/*.png or {train,test}-*.parquet; test may be val or validation.

    Images that all have one size of at most 64 pixels keep it and stay in memory; others are streamed at
    224x224.
    Raises UserError if a split is missing, empty or broken, or the splits differ in their classes.
    """
    found = find([folder, folder / "data"], folder)
    if found is None or found.train is None:
        raise UserError(
            f"no dataset in {folder}: it should hold {{train,test}}/CLASS/*.png or {{train,test}}-*.parquet "
            "(test may be called val or validation)"
        )
    classes = found.train.classes or tuple(map(str, range(int(found.train.labels.max()) + 1)))
    found.check_classes(len(classes))
    size = size_of(found.train, 0)
    train: InMemory | Streamed = Streamed(found.train)
    test: InMemory | Streamed = Streamed(found.test)
    width, height = SIDE, SIDE
    if max(size) <= LONGEST_IN_MEMORY:
        try:
            train = InMemory(decode_all(found.train, size), found.train.labels)
            test = InMemory(decode_all(found.test, size), found.test.labels)
            width, height = size
        except DifferentSize:
            pass  # one size for all is what the streamed view gives them
    sample = torch.linspace(0, len(train) - 1, min(SAMPLE, len(train))).long()
    pixels = torch.cat(list(train.batches(sample.split(20)))) / 255
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3))
    name = Path(os.path.abspath(folder)).name
    return Dataset(
        name=name,
        variant="",
        title=name,
        classes=classes,
        shape=(3, height, width),
        mean=tuple(round(value, 4) for value in mean.tolist()),
        std=tuple(max(round(value, 4), 0.01) for value in std.tolist()),  # nothing divides by 0
        augmentation="crop-flip" if isinstance(train, InMemory) else "flip",
        train=train,
        test=test,
        source=found.source,
        fingerprint=fingerprint(train, test),
    )
