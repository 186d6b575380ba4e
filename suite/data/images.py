"""The two ways to hold a split: decoded in memory, or streamed from its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from suite.data.decode import SIDE, Encoded, Make, decode, decode_ahead, evaluation_view, training_view
from suite.data.views import kept


class InMemory:
    """A split held as one uint8 tensor (N, C, H, W) and its labels, int64 (N,)."""

    groups = None

    def __init__(self, images: Tensor, labels: Tensor):
        self.images, self.labels = images, labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self.images[indices]

    def batches(
        self, index_batches: Sequence[Tensor], *, crop_seed: int | None = None, smallest_crop: float = 0.08
    ) -> Iterator[Tensor]:
        return (self.images[indices] for indices in index_batches)

    def identify(self, digest: Any) -> None:
        digest.update(repr(tuple(self.images.shape)).encode())
        digest.update(self.images.contiguous().numpy())
        digest.update(self.labels.numpy())


class Streamed:
    """A split decoded from its files when asked for: uint8 (B, C, 224, 224).

    Of test images (`keep`) the view that is evaluated is kept on disk.
    """

    def __init__(self, source: Encoded, channels: int = 3, *, keep: bool = False):
        self.source, self.labels, self.channels = source, source.labels, channels
        make: Make = partial(decode, source, (SIDE, SIDE), evaluation_view, channels)
        self.evaluated: Make = partial(kept, source, channels, make) if keep else make
        self.groups = source.groups

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(self.evaluated(indices.tolist()))

    def batches(
        self, index_batches: Sequence[Tensor], *, crop_seed: int | None = None, smallest_crop: float = 0.08
    ) -> Iterator[Tensor]:
        make = self.evaluated
        if crop_seed is not None:
            view = partial(training_view, crop_seed, smallest_crop)
            make = partial(decode, self.source, (SIDE, SIDE), view, self.channels)
        return decode_ahead(make, self.groups, index_batches)

    def identify(self, digest: Any) -> None:
        digest.update(repr(self.source.files()).encode())
        digest.update(b"grey" if self.channels == 1 else b"")
        digest.update(self.labels.numpy())


def fingerprint(train: InMemory | Streamed, test: InMemory | Streamed) -> str:
    """16 hex digits over what determines the data: pixels and labels, or file names, sizes and labels."""
    digest = hashlib.sha256()
    train.identify(digest)
    test.identify(digest)
    return digest.hexdigest()[:16]
