"""CIFAR-10 and CIFAR-100: torchvision's files, Hugging Face's parquet, image folders, or downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from suite.data.published import Original, Published, Splits, check_files, from_arrays

CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
    "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard",
    "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum",
    "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper",
    "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone",
    "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf",
    "woman", "worm",
)  # fmt: skip


def _read(folder: Path, kind: Any) -> Splits:
    check_files(folder, [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])])
    raw = [kind(folder.parent, train=split) for split in (True, False)]
    train, test = (from_arrays(np.ascontiguousarray(split.data.transpose(0, 3, 1, 2)), split.targets) for split in raw)
    return train, test, tuple(raw[0].classes)


def _fetch(kind: Any, staging: Path) -> None:
    kind(staging, download=True)


def _original(kind: str, folder: str, files: tuple[str, ...]) -> Original:
    return Original(kind, folder, files, (folder, f"{kind.lower()}/{folder}"), _read, _fetch, archive=True)


CIFAR10 = Published(
    name="cifar10",
    title="CIFAR-10",
    classes=CIFAR10_CLASSES,
    shape=(3, 32, 32),
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    augmentation="crop-flip",
    test_images=10_000,
    original=_original(
        "CIFAR10",
        "cifar-10-batches-py",
        (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"),
    ),
    other_names={"plane": "airplane", "car": "automobile"},
)
CIFAR100 = Published(
    name="cifar100",
    title="CIFAR-100",
    classes=CIFAR100_CLASSES,
    shape=(3, 32, 32),
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    augmentation="crop-flip",
    test_images=10_000,
    original=_original("CIFAR100", "cifar-100-python", ("train", "test", "meta")),
    label="fine_label",
)
