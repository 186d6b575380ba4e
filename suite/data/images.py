"""The two ways to hold a split: decoded in memory, or streamed from its files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from suite.data.decode import SIDE, Encoded, decode, decode_ahead, evaluation_view, training_view


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
    """A split decoded from its files when asked for: uint8 (B, C, 224, 224)."""

    def __init__(self, source: Encoded, channels: int = 3):
        self.source, self.labels, self.channels = source, source.labels, channels
        self.groups = source.groups

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(decode(self.source, (SIDE, SIDE), evaluation_view, self.channels, indices.tolist()))

    def batches(
        self, index_batches: Sequence[Tensor], *, crop_seed: int | None = None, smallest_crop: float = 0.08
    ) -> Iterator[Tensor]:
        view = evaluation_view if crop_seed is None else partial(training_view, crop_seed, smallest_crop)
        return decode_ahead(self.source, (SIDE, SIDE), view, self.channels, index_batches)

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
