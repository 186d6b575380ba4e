"""RandomizedSmoothing: Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing" (2019).

The base classifier is trained on noisy images (their section 3.3), so that the classifier of its votes under noise is
accurate. What is deployed is that vote; it is what the certificate holds for.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.baseline import CrossEntropySettings
from methods.method import Method, Step

COHEN_CIFAR = {
    "arch": "resnet110",
    "training": {
        "epochs": 90, "batch_size": 400, "lr": 0.1, "schedule": "steps", "milestones": (30, 60), "factor": 0.1,
        "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4,
    },
}  # fmt: skip


class RandomizedSmoothing(Method[CrossEntropySettings]):
    """min E cross-entropy(v(x + η), y), η ~ N(0, σ²I)."""

    summary = "cross-entropy on noisy images (Cohen et al. 2019); voted"
    deployed = "vote"
    uses_sigma = True

    Parameters = CrossEntropySettings

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"parameters": {"label_smoothing": 0.1}},
        "paper/cifar10": COHEN_CIFAR,
        "paper/cifar100": COHEN_CIFAR,
    }
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "0.01:0.5:log", "weight_decay": "1e-5:1e-2:log",
    }  # fmt: skip

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        eta = self.sigma * torch.empty_like(x).normal_(generator=step.generator)
        return F.cross_entropy(model(x + eta), y, label_smoothing=self.parameters.label_smoothing)
