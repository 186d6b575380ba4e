"""Stability: Li, Chen, Wang and Carin, "Certified adversarial robustness with additive noise" (2019).

Stability training, after Zheng et al. 2016: the classifier learns from clean images, and its answer to the noisy image
is drawn to its answer to the clean one. What is deployed is the vote under noise; it is what the certificate holds for.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field, create_model
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, Settings, Step
from methods.randomized_smoothing import COHEN_CIFAR

LAMBDA_FIELD: dict[str, Any] = {
    "lambda": (float, Field(2.0, ge=0, le=1e6, description="λ, weight of the noisy answer's cross-entropy"))
}


class Stability(Method[Settings]):
    """min E cross-entropy(v(x), y) + λ·cross-entropy(softmax v(x) → v(x + η)), η ~ N(0, σ²I), one draw a step::

        cross-entropy(p → z) = −Σ_k p_k log softmax(z)_k

    This is the form in which Jeong and Shin (2020) and others after them compare with the method. In their code the
    target p = softmax v(x) carries gradient, and so it does here: the clean answer is drawn to the noisy one as well.
    x and x + η are two passes, in this order, so that batch norm in training normalises each by its own statistics.
    """

    summary = "the noisy answer is drawn to the clean one (Li et al. 2019); voted"
    deployed = "vote"
    uses_sigma = True

    # `lambda` is a word of Python's own: a field may be called so, but not declared in a class
    Parameters: ClassVar[type[Settings]] = create_model("Parameters", __base__=Settings, **LAMBDA_FIELD)

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"training": {"epochs": 4}},  # as long as 8 epochs of the baseline
        "paper/cifar10": COHEN_CIFAR,
        "paper/cifar100": COHEN_CIFAR,
    }
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "0.01:0.5:log", "lambda": "0.1:20:log", "weight_decay": "1e-5:1e-2:log",
    }  # fmt: skip

    @property
    def passes(self) -> float:
        return 6.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        eta = self.sigma * torch.empty_like(x).normal_(generator=step.generator)
        clean, noisy = model(x).to(x.dtype), model(x + eta).to(x.dtype)
        weight: float = getattr(self.parameters, "lambda")
        return F.cross_entropy(clean, y) + weight * F.cross_entropy(noisy, clean.softmax(dim=1))
