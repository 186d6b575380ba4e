"""Fifteen of the published rows, Cohen et al.'s models and Salman et al.'s, in a folder of their own."""

from __future__ import annotations

import shutil
from pathlib import Path

from leaderboards.published import PUBLISHED

FIRST = [
    "cifar10/randomized-smoothing-resnet110-sigma0.12-89d7b950",
    "cifar10/randomized-smoothing-resnet110-sigma0.25-18867bca",
    "cifar10/randomized-smoothing-resnet110-sigma0.5-af1e0606",
    "cifar10/randomized-smoothing-resnet110-sigma1-f3bc18f8",
    "cifar10/smoothadv-resnet110-sigma0.12-a25fa626",
    "cifar10/smoothadv-resnet110-sigma0.25-b0db3a45",
    "cifar10/smoothadv-resnet110-sigma0.25-60adf6cc",
    "cifar10/smoothadv-resnet110-sigma0.5-46136bc6",
    "cifar10/smoothadv-resnet110-sigma1-994fc5b8",
    "imagenet/randomized-smoothing-resnet50-sigma0.25-6a8b62ec",
    "imagenet/randomized-smoothing-resnet50-sigma0.5-f099668d",
    "imagenet/randomized-smoothing-resnet50-sigma1-17f415e6",
    "imagenet/smoothadv-resnet50-sigma0.25-a265815d",
    "imagenet/smoothadv-resnet50-sigma0.5-dddb9ec4",
    "imagenet/smoothadv-resnet50-sigma1-10275ffc",
]


def first_rows(place: Path) -> Path:
    """A folder with these rows, and with the papers' numbers and the kept runs that come with the suite."""
    root = place / "first"
    for name in FIRST:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PUBLISHED / f"{name}.toml", root / f"{name}.toml")
    for folder in ("paper", "runs"):
        (root / folder).symlink_to(PUBLISHED / folder)
    return root
