"""Accuracy: one clean pass of the network over the whole test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from suite.protocols.protocol import Example, Protocol, Record, Subject, stacked
from suite.smoothing.voting import top_classes
from suite.spec.run_spec import RunSpec

CLAIM = "the answer of a single clean pass; nothing is guaranteed"


def indices(spec: RunSpec, total: int) -> range:
    return range(total)


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """idx, label, predict (the class, or with the top-k rule the k classes' first) and correct, per image."""
    for numbers, x, labels in stacked(images, subject.batch_size, subject.device):
        classes = top_classes(subject.model, x, subject.spec.certify.top).tolist()
        for index, label, top in zip(numbers, labels.tolist(), classes, strict=True):
            yield {"idx": index, "label": label, "predict": top[0], "correct": int(label in top), "claim": CLAIM}


def summarise(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    accuracy = float(records["correct"].mean())
    row: dict[str, Any] = {"single_pass_accuracy": accuracy, "single_pass_images": len(records)}
    return row | ({"clean_accuracy": accuracy} if spec.build_method().deterministic else {})


PROTOCOL = Protocol(indices, records, summarise, passes=lambda spec, total: total)
