"""Accuracy: one clean pass of the network over the whole test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import nn

from suite.protocols import Example, Protocol, Record
from suite.protocols.voting import top_classes
from suite.spec import RunSpec


def indices(spec: RunSpec, total: int) -> range:
    return range(total)


def records(
    model: nn.Module, images: Iterable[Example], spec: RunSpec, batch_size: int, device: torch.device
) -> Iterator[Record]:
    """idx, label, predict (the class, or with the top-k rule the k classes' first) and correct, per image."""
    model.eval()
    stream = iter(images)
    while group := list(islice(stream, batch_size)):
        numbers, pixels, labels = zip(*group, strict=True)
        classes = top_classes(model, torch.stack(pixels).to(device), spec.certify.top).tolist()
        for index, label, top in zip(numbers, labels, classes, strict=True):
            yield {"idx": index, "label": label, "predict": top[0], "correct": int(label in top)}


PROTOCOL = Protocol(indices, records)
