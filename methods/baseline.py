"""Baseline: the ordinary classifier, cross-entropy on clean images."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, Settings, Step

PAPER_CIFAR = {
    "arch": "resnet34",
    "training": {
        "epochs": 200, "batch_size": 128, "lr": 0.1, "schedule": "steps", "milestones": (60, 120, 160),
        "factor": 0.2, "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4,
    },
}  # fmt: skip


class CrossEntropySettings(Settings):
    """What the classes are to be."""

    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread evenly over all classes")


class Baseline(Method[CrossEntropySettings]):
    """min E cross-entropy(v(x), y)."""

    summary = "cross-entropy on clean images; one pass"
    Parameters = CrossEntropySettings

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"parameters": {"label_smoothing": 0.1}},
        "paper/cifar10": PAPER_CIFAR,
        "paper/cifar100": PAPER_CIFAR,
    }
    tunable: ClassVar[dict[str, str]] = {"lr": "0.01:0.5:log", "weight_decay": "1e-5:1e-2:log"}

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        return F.cross_entropy(model(x), y, label_smoothing=self.parameters.label_smoothing)
