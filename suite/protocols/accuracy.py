"""Accuracy: one clean pass of the network over the whole test set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from suite.protocols.protocol import Column, Protocol, Record, Subject, stack

if TYPE_CHECKING:
    from suite.protocols.protocol import Example
    from suite.spec.run_spec import RunSpec

CLAIM = "the answer of a single clean pass; nothing is guaranteed"
CLEAN = Column(
    "clean_accuracy", "clean_accuracy", "clean", "clean", "share", ".1f",
    "accuracy of what the row deploys: of a pass on the whole test set, of a vote on the certified images",
    larger_is_better=True,
)  # fmt: skip


def indices(spec: RunSpec, total: int) -> range:
    return range(total)


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """idx, label, predict (the class, or with the top-k rule the k classes' first) and correct, per image."""
    from suite.smoothing.voting import top_classes

    for numbers, x, labels in stack(images, subject.batch_size, subject.device):
        classes = top_classes(subject.model, x, subject.spec.certify.top).tolist()
        for index, label, top in zip(numbers, labels.tolist(), classes, strict=True):
            yield {"idx": index, "label": label, "predict": top[0], "correct": int(label in top), "claim": CLAIM}


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    accuracy = float(records["correct"].mean())
    found: dict[str, Any] = {"single_pass_accuracy": accuracy, "single_pass_images": len(records)}
    return found | ({"clean_accuracy": accuracy} if spec.deployed == "pass" else {})


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes=lambda spec, total: total,
    columns=(CLEAN,),
    reads=("certify.top",),
)
