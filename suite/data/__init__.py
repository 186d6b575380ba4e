"""Datasets: two splits of labelled images, by name or from a folder of one's own.

To add one, write a function `load(root: Path, download: bool) -> Dataset` and register it: in `DATASETS`
below, or from another package with an entry point in the group "suite.datasets".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor

from suite.data.images import InMemory, Streamed, fingerprint
from suite.errors import UserError
from suite.registry import Registry

__all__ = ["DATASETS", "Dataset", "Images", "InMemory", "Streamed", "fingerprint", "load"]


class Images(Protocol):
    """One split: images that are decoded when asked for, and the labels of all of them."""

    labels: Tensor
    """int64 (N,)"""

    def __len__(self) -> int: ...

    def __getitem__(self, indices: Tensor) -> Tensor:
        """The images at `indices` (B,) as they are evaluated: uint8 (B, C, H, W)."""
        ...

    def batches(
        self, index_batches: Sequence[Tensor], *, crop_seed: int | None = None, smallest_crop: float = 0.08
    ) -> Iterator[Tensor]:
        """The images of each index batch, in order; streamed ones are decoded ahead.

        With `crop_seed`, streamed images come as they are trained on: a random crop each, of at least the share
        `smallest_crop` of the area, which depends on the seed and the image's index alone. Images in memory are the
        same either way.
        """
        ...


@dataclass(frozen=True)
class Dataset:
    """Two splits, and what a model, a trainer and the board have to know about them."""

    name: str
    variant: str  # "JPEG" where the published images were re-encoded lossily, otherwise empty
    title: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]  # C, H, W
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    augmentation: str  # the default one, a kind that suite.data.augment knows
    train: Images
    test: Images
    source: str
    fingerprint: str


DATASETS: Registry[Callable[[Path, bool], Dataset]] = Registry(
    "dataset",
    "suite.datasets",
    {
        "digits": "suite.data.digits:load",
        "cifar10": "suite.data.cifar:load_cifar10",
        "cifar100": "suite.data.cifar:load_cifar100",
        "imagenet": "suite.data.imagenet:load",
    },
)


def load(name: str, root: Path | None = None, *, download: bool = True) -> Dataset:
    """The dataset called `name`, or the one in the folder at the path `name`.

    A registered name wins over a folder of that name: write ./cifar10 for the folder. Registered datasets are
    looked for under `root`, by default $SUITE_DATA or else ./data, and downloaded there if `download`.
    Raises UserError for an unknown name, or where the files are missing, broken or unreadable.
    """
    from suite.data.folder import load_folder

    root = root or Path(os.environ.get("SUITE_DATA") or "data")
    is_path = os.sep in name or "/" in name or (name not in DATASETS.paths() and Path(name).is_dir())
    try:
        return load_folder(Path(name)) if is_path else DATASETS.get(name)(root, download)
    except OSError as error:
        raise UserError(f"cannot read {error.filename or name}: {error.strerror or error}") from error
