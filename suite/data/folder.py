"""A dataset in a folder of one's own: small images in memory, others streamed."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import torch

from suite.data.cache import Kept, recall
from suite.data.dataset import Dataset
from suite.data.decode import SIDE, DifferentSize, decode_all, is_grey, size_of
from suite.data.image_folder import ImageFolder
from suite.data.images import InMemory, Streamed, fingerprint
from suite.data.layouts import Found, find, seen_in
from suite.data.parquet import Parquet
from suite.data.shards import places, snapshot
from suite.errors import UserError
from suite.progress import logger

LONGEST_IN_MEMORY = 64  # pixels
MOST_CLASSES = 100_000
SAMPLE = 500  # images that the mean and standard deviation are computed from


def load_folder(folder: Path) -> Dataset:
    """`folder` holds {train,test}/CLASS/*.png or {train,test}-*.parquet; test may be val or validation.

    Images that all have one size of at most 64 pixels keep it and stay in memory; others are streamed at
    224x224. They have one channel if all are grey, else three.
    Raises UserError if a split is missing, empty or broken, or the splits differ in their classes.
    """
    found = _find(folder)
    if found is None or found.train is None:
        raise UserError(
            f"no dataset in {folder}: it should hold {{train,test}}/CLASS/*.png or {{train,test}}-*.parquet "
            f"(test may be called val or validation){seen_in(folder)}"
        )
    name = Path(os.path.abspath(folder)).name
    kept = recall(name, found.paths, "folder", partial(_prepare, found))
    facts = kept.facts
    train: InMemory | Streamed
    test: InMemory | Streamed
    if facts["in_memory"]:
        train, test = (
            InMemory(kept.tensors[f"{split}.images"], kept.tensors[f"{split}.labels"]) for split in ("train", "test")
        )
    else:
        found.check()
        channels = facts["shape"][0]
        train, test = Streamed(found.train, channels), Streamed(found.test, channels, keep=True)
    classes = tuple(facts["classes"])
    for remark in (*facts["remarks"], *_remarks(train.labels, classes, name)):
        logger.warning(remark)
    channels, height, width = facts["shape"]
    return Dataset(
        name=name,
        variant="",
        title=name,
        classes=classes,
        shape=(channels, height, width),
        mean=tuple(facts["mean"]),
        std=tuple(facts["std"]),
        augmentation="crop-flip" if isinstance(train, InMemory) else "flip",
        train=train,
        test=test,
        source=found.source,
        fingerprint=facts["fingerprint"],
    )


def holds_dataset(folder: Path) -> bool:
    """Whether there is something in a folder that `load_folder` loads, or refuses because it is broken."""
    try:
        return folder.is_dir() and _find(folder) is not None
    except UserError:
        return True


def _find(folder: Path) -> Found | None:
    return find(places(folder), [snapshot(folder)], label=None)


def _prepare(found: Found) -> Kept:
    """The images if they stay in memory, and what else takes time to find out."""
    found.check()
    assert found.train is not None
    classes = found.classes or tuple(map(str, range(_count_classes(found.train))))
    found.check_classes(len(classes))
    channels = 1 if all(map(is_grey, found.splits)) else 3
    train: InMemory | Streamed = Streamed(found.train, channels)
    test: InMemory | Streamed = Streamed(found.test, channels)
    size, shape, remarks = size_of(found.train, 0), (channels, SIDE, SIDE), []
    tensors = {}
    if max(size) <= LONGEST_IN_MEMORY:
        try:
            train = InMemory(decode_all(found.train, size, channels), found.train.labels)
            test = InMemory(decode_all(found.test, size, channels), found.test.labels)
            shape = channels, size[1], size[0]
            tensors = {"train.images": train.images, "train.labels": train.labels,
                       "test.images": test.images, "test.labels": test.labels}  # fmt: skip
        except DifferentSize as error:  # one size for all is what the streamed view gives them
            train = Streamed(found.train, channels)
            remarks.append(
                f"{error}, the size of the first: all {len(train) + len(test)} images are resized to {SIDE}x{SIDE} "
                f"({SIDE**2 / (size[0] * size[1]):.0f} times the pixels), and σ and radii are those of {SIDE}x{SIDE} "
                "images"
            )
    sample = torch.linspace(0, len(train) - 1, min(SAMPLE, len(train))).long()
    pixels = torch.cat(list(train.batches(sample.split(20)))) / 255
    if channels == 3 and bool((pixels[:, :1] == pixels).all()):
        remarks.append(
            f"the images in {found.source} look grey and have three equal channels: noise differs in each, so ℓ2 radii "
            "are √3 times those of grey images; save them with one channel (mode L) for the literature's"
        )
    std, mean = torch.std_mean(pixels, dim=(0, 2, 3))
    facts: dict[str, Any] = {
        "in_memory": bool(tensors),
        "classes": classes,
        "shape": shape,
        "mean": [round(value, 4) for value in mean.tolist()],
        "std": [max(round(value, 4), 0.01) for value in std.tolist()],  # nothing divides by 0
        "remarks": remarks,
        "fingerprint": fingerprint(train, test),
    }
    return Kept(tensors, facts)


def _count_classes(split: ImageFolder | Parquet) -> int:
    """How many classes there are where nothing names them. UserError for more than any data set has."""
    largest = int(split.labels.argmax())
    count = int(split.labels[largest]) + 1
    if count > MOST_CLASSES:
        raise UserError(
            f"{split.where(largest)} has the label {count - 1}: labels are the numbers 0 to K - 1 of K classes, where "
            f"K is at most {MOST_CLASSES:,}"
        )
    return count


def _remarks(labels: torch.Tensor, classes: tuple[str, ...], name: str) -> list[str]:
    """What is odd about the labels of the training images."""
    empty = (torch.bincount(labels, minlength=len(classes)) == 0).nonzero()[:, 0].tolist()
    if empty == [0]:
        return [
            f"no training image of {name} has the label 0, so the labels seem to begin at 1: there are {len(classes)} "
            "classes, and the first is empty"
        ]
    numbers = ", ".join(map(str, empty[:5])) + (", …" if len(empty) > 5 else "")
    return [f"no training image of {name} has the label {numbers}: {len(empty)} of the {len(classes)} classes are empty"
            ] if empty else []  # fmt: skip
