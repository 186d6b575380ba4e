"""The protocols: one file each, a function from a classifier and images to one record per image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from suite.data import Images
from suite.spec import RunSpec

Example = tuple[int, Tensor, int]  # index in the test set, image (C, H, W) of pixels in [0,1], label
Record = dict[str, Any]  # JSON values; "idx" is the image's index


@dataclass(frozen=True)
class Protocol:
    """What the suite runs: which of N test images a run covers, and the records of those given."""

    indices: Callable[[RunSpec, int], Sequence[int]]
    records: Callable[[nn.Module, Iterable[Example], RunSpec, int, torch.device], Iterator[Record]]


def examples(split: Images, indices: Sequence[int]) -> Iterator[Example]:
    """The images of a split by index, decoded ahead where the split streams."""
    groups = torch.tensor(indices, dtype=torch.int64).split(64)
    for group, images in zip(groups, split.batches(groups), strict=True):
        for index, image, label in zip(group.tolist(), images, split.labels[group].tolist(), strict=True):
            yield index, image.float() / 255, label
