"""What a data set is: two splits of labelled images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from suite.data.shuffle import Groups

Facts = tuple[int, tuple[int, int, int]]  # classes, and (C, H, W)


class Images(Protocol):
    """One split: images that are decoded when asked for, and the labels of all of them."""

    labels: Tensor
    """int64 (N,)"""

    @property
    def groups(self) -> Groups | None:
        """Which images are read together, as those of a parquet file's row group; None: each by itself."""
        ...

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

    @property
    def facts(self) -> Facts:
        """How many classes there are, and the shape of an image."""
        return len(self.classes), self.shape
