"""ImageNet-1k, streamed from Hugging Face's parquet or from image folders; never downloaded."""

from __future__ import annotations

from pathlib import Path

import torch

from suite.data.dataset import Dataset
from suite.data.decode import SIDE
from suite.data.images import InMemory, Streamed, fingerprint
from suite.data.layouts import find
from suite.errors import UserError

CLASSES = 1000
WHOLE = 50_000  # images of the validation split


def load(root: Path, download: bool) -> Dataset:
    """`test` is the validation split. Where only that is there, `train` has no images.

    Without names in the files the classes are called "0" to "999". Raises UserError if nothing is found.
    """
    own = root / "imagenet"
    shard_folders = [own, own / "data"]
    found = find(shard_folders, own, held_out=("validation", "val", "test"), needs_train=False)
    if found is None:
        raise UserError(
            "no ImageNet found, and it cannot be downloaded: register at image-net.org, then put "
            f"{{train,validation}}-*.parquet into {' or '.join(map(str, shard_folders))} (Hugging Face), or "
            f"{own}/{{train,val}}/WNID/*.JPEG (image folders)"
        )
    found.check_classes(CLASSES)
    nothing = InMemory(torch.empty(0, 3, SIDE, SIDE, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    train = Streamed(found.train) if found.train else nothing
    test = Streamed(found.test)
    return Dataset(
        name="imagenet",
        variant="",
        title="ImageNet" if len(test) == WHOLE else f"ImageNet (part: {len(test)} images)",
        classes=found.test.classes or tuple(map(str, range(CLASSES))),
        shape=(3, SIDE, SIDE),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        augmentation="flip",
        train=train,
        test=test,
        source=found.source,
        fingerprint=fingerprint(train, test),
    )
