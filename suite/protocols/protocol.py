"""The protocols: one file each, a function from a classifier and images to one record per image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from suite.data import Images
from suite.spec.run_spec import ModelSpec, RunSpec

Example = tuple[int, Tensor, int]  # index in the test set, image (C, H, W) of pixels in [0,1], label
Record = dict[str, Any]  # JSON values; "idx" is the image's index


@dataclass(frozen=True)
class Subject:
    """What a protocol examines, and what it may ask for besides.

    `model` is in evaluation mode on `device`. `records` gives this run's records of a protocol that this one `needs`;
    `other` gives another trained model on the device, in evaluation mode, trained first where no run has done it.
    """

    model: nn.Module
    spec: RunSpec
    batch_size: int
    device: torch.device
    records: Callable[[str], pd.DataFrame]
    other: Callable[[ModelSpec], nn.Module]


@dataclass(frozen=True)
class Protocol:
    """What the suite runs.

    - `indices` which of N test images a run covers;
    - `records` a record for each of the images given, in any order; each has "idx", and "claim": what it says, of
      which classifier, how surely and under which assumption;
    - `summarise` the figures that all its records put into the run's row (JSON values);
    - `passes` about how many forward passes of one image it makes on N test images, for the time announced;
    - `needs` the protocols whose records it reads;
    - `company` how many successive images go through the model as one batch, for a batch size, where the last digits of
      a record depend on that: such a group is made as a whole, also when a run goes on in the middle of it.
    """

    indices: Callable[[RunSpec, int], Sequence[int]]
    records: Callable[[Subject, Iterable[Example]], Iterator[Record]]
    summarise: Callable[[RunSpec, pd.DataFrame], dict[str, Any]]
    passes: Callable[[RunSpec, int], float]
    needs: tuple[str, ...] = ()
    company: Callable[[RunSpec, int], int] = lambda spec, batch_size: 1


def draws_per_image(protocol: str, spec: RunSpec) -> int:
    """Of the noise, in a step of a protocol that searches; 0 for a single pass."""
    return 0 if spec.build_method().deterministic else getattr(spec, protocol).draws


def images_per_batch(protocol: str, spec: RunSpec, batch_size: int) -> int:
    """How many images such a protocol takes at once, all their draws in one batch as far as they fit."""
    return max(1, batch_size // (draws_per_image(protocol, spec) or 1))


def examples(split: Images, indices: Sequence[int]) -> Iterator[Example]:
    """The images of a split by index, decoded ahead where the split streams."""
    groups = torch.tensor(indices, dtype=torch.int64).split(64)
    for group, images in zip(groups, split.batches(groups), strict=True):
        for index, image, label in zip(group.tolist(), images, split.labels[group].tolist(), strict=True):
            yield index, image.float() / 255, label


def stacked(images: Iterable[Example], size: int, device: torch.device) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of at most `size` examples: their indices, pixels (B, C, H, W) and labels (B,)."""
    stream = iter(images)
    while group := list(islice(stream, size)):
        indices, pixels, labels = zip(*group, strict=True)
        yield list(indices), torch.stack(pixels).to(device), torch.tensor(labels, device=device)
