"""Consistency: Jeong and Shin, "Consistency regularization for certified robustness of smoothed classifiers" (2020).

Randomized smoothing at several draws of noise for each image, which are drawn to one confident answer. What is deployed
is the vote under noise; it is what the certificate holds for.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field, create_model
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Step
from methods.noise_draws import Draws, DrawSettings
from methods.smoothadv import SALMAN_CIFAR

LAMBDA_FIELD: dict[str, Any] = {
    "lambda": (
        float | None,
        Field(None, ge=0, le=1e6, description="λ, weight of the divergence; default: 20 up to σ = 0.25, 10 above"),
    )
}


class ConsistencySettings(DrawSettings):
    """The settings of the regulariser, in the paper's symbols."""

    eta: float = Field(0.5, ge=0, le=1e6, description="η, weight of the entropy (not the noise)")


class Consistency(Draws[ConsistencySettings]):
    """min E (1/m) Σ_i cross-entropy(v(x + η_i), y) + λ·(1/m) Σ_i KL(F̂ ‖ F_i) + η·H(F̂), with m draws η_i ~ N(0, σ²I)::

        F_i = softmax v(x + η_i),   F̂ = (1/m) Σ_i F_i,   KL(p ‖ q) = Σ_k p_k log(p_k/q_k),   H(p) = −Σ_k p_k log p_k

    All terms carry gradient through F̂, too, as in their code. The m draws of all images are one pass. A step takes
    `batch_size` images at m draws each; theirs has 256/m images, because a batch of 256 is cut into m parts.
    λ is the paper's on CIFAR-10 unless given: 20 for σ ≤ 0.25, 10 for larger σ.
    """

    summary = "several noisy answers are drawn to one confident answer (Jeong and Shin 2020); voted"

    # `lambda` is a word of Python's own: a field may be called so, but not declared in a class
    Parameters: ClassVar[type[ConsistencySettings]] = create_model(
        "Parameters", __base__=ConsistencySettings, **LAMBDA_FIELD
    )

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "quick": {"training": {"epochs": 4}},  # as long as 8 epochs of the baseline
        "paper/cifar10": SALMAN_CIFAR,  # 128 images at 2 draws: theirs, too
        "paper/cifar100": SALMAN_CIFAR,
        "paper/imagenet": {"training": {"batch_size": 128}, "parameters": {"lambda": 5}},
    }
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "0.01:0.5:log", "m": "2:4", "lambda": "1:50:log", "eta": "0:1",
    }  # fmt: skip

    @property
    def paper_weight(self) -> float:
        return 20.0 if self.sigma <= 0.25 else 10.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        p = self.parameters
        log_f = self.draw_logits(model, x, step).log_softmax(dim=2)
        log_mean = log_f.logsumexp(dim=0) - math.log(p.m)  # log F̂, which does not underflow where F̂ does
        mean = log_mean.exp()
        divergence = (mean * (log_mean - log_f.mean(dim=0))).sum(dim=1)
        entropy = -(mean * log_mean).sum(dim=1)
        nll = F.nll_loss(log_f.flatten(0, 1), y.repeat(p.m))
        return nll + (self.weight * divergence + p.eta * entropy).mean()
