"""ImageNet-1k, streamed from Hugging Face's parquet or from image folders; never downloaded."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from suite.data.dataset import Dataset
from suite.data.decode import SIDE
from suite.data.image_folder import ImageFolder
from suite.data.images import InMemory, Streamed, fingerprint
from suite.data.layouts import NotFound, find, seen_in
from suite.data.parquet import Parquet
from suite.data.published import part_title
from suite.data.shards import cached, places
from suite.errors import UserError

CLASSES = 1000
WHOLE = 50_000  # images of the validation split
HUB = ("imagenet-1k",)


def load(root: Path, download: bool) -> Dataset:
    """`test` is the validation split. Where only that is there, `train` has no images.

    Without names in the files the classes are called "0" to "999". Raises UserError if nothing is found.
    """
    own = root / "imagenet"
    shard_folders = [*places(own), *(place for folder in cached(root, HUB) for place in places(folder))]
    if (root / "snapshots").is_dir() or root.parent.name == "snapshots":
        shard_folders += places(root)
    image_folders = [own, own / "Data" / "CLS-LOC", own / "ILSVRC" / "Data" / "CLS-LOC"]
    found = find(shard_folders, image_folders, held_out=("validation", "val", "test"), needs_train=False)
    if found is None:
        raise NotFound(
            "no ImageNet found, and it cannot be downloaded: register at image-net.org, then put "
            f"{{train,validation}}-*.parquet into {own} or {own / 'data'} (Hugging Face), or "
            f"{own}/{{train,val}}/WNID/*.JPEG (image folders), or the images of val beside a file of their labels "
            f"(val.txt, LOC_val_solution.csv, or the devkit's ground truth and meta.mat){seen_in(own)}"
        )
    found.check()
    for split in found.splits:
        _check_names(split, found.source)
    found.check_classes(CLASSES)
    nothing = InMemory(torch.empty(0, 3, SIDE, SIDE, dtype=torch.uint8), torch.empty(0, dtype=torch.int64))
    train = Streamed(found.train) if found.train else nothing
    test = Streamed(found.test, keep=True)
    return Dataset(
        name="imagenet",
        variant="",
        title=part_title("ImageNet", "", len(test), WHOLE),
        classes=found.classes or tuple(map(str, range(CLASSES))),
        shape=(3, SIDE, SIDE),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        augmentation="flip",
        train=train,
        test=test,
        source=found.source,
        fingerprint=fingerprint(train, test),
    )


def _check_names(split: ImageFolder | Parquet, source: str) -> None:
    """Raises UserError unless the folders are named by WordNet's ids or by the numbers 0 to 999: in the order of other
    names the labels would not be ImageNet's."""
    if not isinstance(split, ImageFolder) or split.classes is None:
        return
    is_numbered = all(re.fullmatch("[0-9]+", name) for name in split.classes)
    numbers = [str(number) for number in range(CLASSES)]
    for number, name in enumerate(split.classes):
        as_number = is_numbered and len(split.classes) == CLASSES and (name.lstrip("0") or "0") == numbers[number]
        if not as_number and not re.fullmatch("n[0-9]{8}", name):
            raise UserError(
                f"{source}: the folder '{name}' is named neither by a WordNet id (n01440764) nor by a number from 0 to "
                "999, so its label is not known"
            )
