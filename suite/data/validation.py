"""A data set without its test images: part of the training images stands in their place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from suite.data.dataset import Dataset, Images
from suite.errors import UserError
from suite.smoothing.noise import generator


class Part:
    """Some images of a split, at `indices` (M,) of it; they count from 0 here."""

    def __init__(self, whole: Images, indices: Tensor):
        self.whole, self.indices, self.labels = whole, indices, whole.labels[indices]
        self.groups = None if whole.groups is None else whole.groups[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, indices: Tensor) -> Tensor:
        return self.whole[self.indices[indices]]

    def batches(
        self, index_batches: Sequence[Tensor], *, crop_seed: int | None = None, smallest_crop: float = 0.08
    ) -> Iterator[Tensor]:
        own = [self.indices[indices] for indices in index_batches]
        return self.whole.batches(own, crop_seed=crop_seed, smallest_crop=smallest_crop)


def validation(data: Dataset, share: float) -> Dataset:
    """The data set whose `test` is a validation split: `share` of each class of the training images, drawn by a fixed
    seed and shuffled. The other training images are its `train`.

    No test image can be reached through it. Its fingerprint differs from that of the data set and of any other share,
    so no model trained on it is mistaken for one that was trained on all training images. Raises UserError where a
    class is too small to be split.
    """
    stream = generator("validation")
    chosen = torch.zeros(len(data.train), dtype=torch.bool)
    for label in range(len(data.classes)):
        images = (data.train.labels == label).nonzero()[:, 0]
        count = round(share * len(images))
        if not 0 < count < len(images):
            raise UserError(
                f"{share:g} of the {len(images)} training images of class '{data.classes[label]}' of {data.title} "
                "are no validation split; choose another --validation"
            )
        chosen[images[torch.randperm(len(images), generator=stream)[:count]]] = True
    held_out = chosen.nonzero()[:, 0]
    held_out = held_out[torch.randperm(len(held_out), generator=stream)]
    return replace(
        data,
        title=f"{data.title}, {share:.0%} of the training images held out for validation",
        train=Part(data.train, (~chosen).nonzero()[:, 0]),
        test=Part(data.train, held_out),
        fingerprint=f"{data.fingerprint}-validation-{share:g}",
    )
