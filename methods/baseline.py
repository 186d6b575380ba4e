"""Baseline: the ordinary classifier, cross-entropy on clean images."""

from __future__ import annotations

from typing import Any, ClassVar

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


class Baseline(Method[Settings]):
    """min E cross-entropy(v(x), y)."""

    summary = "cross-entropy on clean images; one pass"
    recipes: ClassVar[dict[str, dict[str, Any]]] = {"paper/cifar10": PAPER_CIFAR, "paper/cifar100": PAPER_CIFAR}
    tunable: ClassVar[dict[str, str]] = {"lr": "0.01:0.5:log", "weight_decay": "1e-5:1e-2:log"}

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        return F.cross_entropy(model(x), y)
