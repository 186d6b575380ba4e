"""Macer: Zhai et al., "MACER: attack-free and scalable robust training via maximizing certified radius" (2020).

Randomized smoothing that ascends the certified radius itself, in a differentiable form. What is deployed is the vote
under noise; it is what the certificate holds for.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pydantic import Field, create_model
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Step
from methods.noise_draws import Draws, DrawSettings

ZHAI_CIFAR = {
    "arch": "resnet110",
    "training": {
        "epochs": 440, "batch_size": 64, "lr": 0.01, "schedule": "steps", "milestones": (200, 400), "factor": 0.1,
        "momentum": 0.9, "nesterov": False, "weight_decay": 5e-4,
    },
}  # fmt: skip

LAMBDA_FIELD: dict[str, Any] = {
    "lambda": (
        float | None,
        Field(
            None, ge=0, le=1e6,
            description="λ, weight of the robustness loss; default: 12 up to σ = 0.25, 4 up to 0.5, 12 above",
        ),
    )
}  # fmt: skip


class MacerSettings(DrawSettings):
    """The settings of Algorithm 1, in the paper's symbols, but for the draws (the paper's k)."""

    m: int = Field(16, ge=1, le=1_000, description="m, noise draws per image (the paper's k)")
    beta: float = Field(16.0, gt=0, le=1e6, description="β, inverse temperature of the softmax in the radius")
    gamma: float = Field(8.0, ge=0, le=1e3, description="γ, difference of probits from which an image counts no more")
    warmup: float = Field(0.0, ge=0, le=100_000, description="epochs before the robustness loss sets in")


class Macer(Draws[MacerSettings]):
    """min E −log (1/m) Σ_i softmax(z_i)_y + λ·(σ/2)·max(0, γ − (Φ⁻¹(p₁) − Φ⁻¹(p₂)))·1{p₁ is class y's} (Algorithm 1)::

        z_i = v(x + η_i), η_i ~ N(0, σ²I);   p₁ ≥ p₂ the two largest of (1/m) Σ_i softmax(β z_i)

    σ/2·(Φ⁻¹(p₁) − Φ⁻¹(p₂)) is the certified radius of the softly smoothed classifier. Both terms are sums over the
    images divided by the size of the batch, as in the authors' code, also where an image counts in the first alone: one
    whose soft answer is wrong, or whose hinge is 0. The m draws of all images are one pass.

    p₁ and p₂ are clipped to [ε, 1 − ε], ε the machine's at the images' precision, so that Φ⁻¹ and its gradient are
    finite; the authors leave out images where it is not. What is clipped differs by more than 8.8 probits in single
    precision at up to 1,000 classes, so at γ = 8 its hinge is 0 either way. The first term is computed from logarithms;
    the authors add 1e-10 to the probability.

    λ is the paper's on CIFAR-10 unless given: 12 at σ = 0.25, 4 at 0.5 and 12 at 1. At σ = 1 theirs sets in with the
    first drop of the learning rate only: `warmup` = 200 epochs.
    """

    summary = "ascent of the certified radius (MACER, Zhai et al. 2020); voted"

    # `lambda` is a word of Python's own: a field may be called so, but not declared in a class
    Parameters: ClassVar[type[MacerSettings]] = create_model("Parameters", __base__=MacerSettings, **LAMBDA_FIELD)

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        # λ = 12 asks for more than a short training can learn beside the classes
        "demo": {"training": {"epochs": 10}, "parameters": {"m": 4, "lambda": 2}},
        "quick": {"training": {"epochs": 2}, "parameters": {"m": 4, "lambda": 2}},  # as long as 8 of the baseline's
        "paper/cifar10": ZHAI_CIFAR,
        "paper/cifar100": ZHAI_CIFAR,
        "paper/imagenet": {"parameters": {"m": 2, "lambda": 6}},
    }
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "1e-3:0.5:log", "m": "2:16", "lambda": "1:20:log", "gamma": "1:8",
    }  # fmt: skip

    @property
    def paper_weight(self) -> float:
        return 4.0 if 0.25 < self.sigma <= 0.5 else 12.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        p = self.parameters
        z = self.draw_logits(model, x, step)
        nll = F.nll_loss(z.log_softmax(dim=2).logsumexp(dim=0) - math.log(p.m), y)
        if step.epoch < p.warmup:
            return nll
        top, classes = (p.beta * z).softmax(dim=2).mean(dim=0).topk(2, dim=1)
        smallest = torch.finfo(top.dtype).eps
        probits = torch.special.ndtri(top.clamp(smallest, 1 - smallest))
        hinge = (p.gamma - (probits[:, 0] - probits[:, 1])).clamp(min=0)
        right = (classes[:, 0] == y).to(hinge.dtype)
        robustness: Tensor = self.sigma / 2 * (right * hinge).mean()
        return nll + self.weight * robustness
