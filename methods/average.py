"""Average: a single pass that is regressed on the Gaussian average, without labels.

From a trained classifier f a model v is trained to be E[softmax f(x + η)]: what HeatSmoothing approaches by a penalty,
got here as the minimiser of a cross-entropy. One pass of v then stands for many noisy passes of f.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, Settings, Step

ONE_EPOCH = {
    "epochs": 1, "batch_size": 128, "lr": 0.05, "schedule": "one-cycle", "momentum": 0.9, "weight_decay": 0.0,
}  # fmt: skip


class Average(Method[Settings]):
    """min_v E cross-entropy(softmax f(x + η) → v(x)), η ~ N(0, σ²I), from f's weights, f frozen, no label read::

        cross-entropy(p → z) = −Σ_k p_k log softmax(z)_k

    Cross-entropy is linear in p and least at softmax z = p, so over all v the minimiser has softmax v(x) =
    E softmax f(x + η) exactly: one draw a step is enough, and its noise is averaged by the optimiser. The smallest loss
    is that average's entropy, not 0. f is in evaluation mode. v sees the clean images that it is deployed on, and its
    batch norm, in training mode, takes their statistics: f's may be those of noisy images.
    """

    summary = "label-free regression on a baseline's Gaussian average; one pass"
    uses_labels = False
    uses_sigma = True
    starts_from = "baseline"
    stands_for: ClassVar[str | None] = "randomized-smoothing"

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"training": {"epochs": 1, "batch_size": 8, "lr": 0.01, "schedule": "one-cycle"}},
        "quick": {"training": ONE_EPOCH},
        "paper": {"training": ONE_EPOCH},
    }
    tunable: ClassVar[dict[str, str]] = {"sigma": "0.05:1:log", "lr": "1e-3:0.5:log", "weight_decay": "1e-5:1e-2:log"}

    @property
    def passes(self) -> float:
        return 4.0

    def begin(self, model: nn.Module, start: nn.Module | None = None) -> None:
        self.f = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(self, model: nn.Module, x: Tensor, y: None, step: Step) -> Tensor:
        eta = self.sigma * torch.empty_like(x).normal_(generator=step.generator)
        with torch.no_grad():
            target = self.f(x + eta).to(x.dtype).softmax(dim=1)
        return F.cross_entropy(model(x).to(x.dtype), target)
