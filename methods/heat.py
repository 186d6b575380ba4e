"""HeatSmoothing: "Adversarial Boot Camp: label free certified robustness in one epoch", Algorithm 1.

From a trained classifier f a model v is fine-tuned, without labels, to be what f becomes when it is averaged over
Gaussian noise: v ≈ E[f(x + η)]. One pass of v then stands for many noisy passes of f.
"""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, Settings
from methods.penalty import gradient_penalty


class Heat(Method):
    """min E D(v(x'), f(x)) + λ·(σ²/2)·P(v, x') over one epoch, v starting at f's weights (equations 3 and 10).

    D is ½‖·‖² between softmax outputs (eq. 10) or logits (eq. 15); x' is x, or x + η for a random part of the batch
    while f still sees the clean x; P estimates ‖∇v(x')‖²_F (`gradient_penalty`). No label is read.
    """

    summary = "label-free Gaussian averaging of a baseline (Adversarial Boot Camp); one pass"
    uses_labels = False
    uses_sigma = True
    starts_from = "baseline"

    class Parameters(Settings):
        """The settings of Algorithm 1, in the paper's symbols."""

        kappa: int = Field(10, ge=1, description="κ, random projections per image")
        delta: float = Field(0.1, gt=0, description="δ, finite-difference step in pixel units")
        normalise: Literal["paper", "unbiased"] = Field("paper", description="P as printed, or times K/κ")
        weight: float = Field(1.0, gt=0, description="multiplies the penalty (the paper's CIFAR runs used 5)")
        distance: Literal["softmax", "logits"] = Field("softmax", description="where D is measured")
        noisy: float = Field(0.5, ge=0, le=1, description="share of the batch that v sees with noise")
        frozen_norm: bool = Field(False, description="batch norm keeps f's statistics instead of the batch's")

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {
            "training": {"epochs": 1, "batch_size": 8, "lr": 0.01, "schedule": "one-cycle"},
            "parameters": {"distance": "logits"},
        },
        "quick": {
            "training": {
                "epochs": 1, "batch_size": 128, "lr": 0.03, "schedule": "one-cycle", "weight_decay": 0.0, "clip": 5.0,
            },
            "parameters": {"kappa": 1, "normalise": "unbiased", "distance": "logits", "frozen_norm": True},
        },
        "paper": {
            "training": {"epochs": 1, "lr": 0.01, "schedule": "constant", "momentum": 0.9, "weight_decay": 0.0},
        },
    }  # fmt: skip

    @property
    def passes(self) -> float:
        return 4.0 + 5.0 * self.parameters.kappa

    def begin(self, model: nn.Module) -> None:
        self.f = copy.deepcopy(model).eval().requires_grad_(False)

    def loss(self, model: nn.Module, x: Tensor, y: None, generator: torch.Generator) -> Tensor:
        p = self.parameters
        model.train(not p.frozen_norm)
        with torch.no_grad():
            fx = self.f(x)
        if p.noisy > 0:
            shuffled = torch.rand(len(x), generator=generator, device=x.device).argsort()
            chosen = (shuffled < round(p.noisy * len(x))).view(-1, 1, 1, 1)
            x = x + chosen * self.sigma * torch.empty_like(x).normal_(generator=generator)
        x.requires_grad_()
        vx = model(x)
        outputs = (vx, fx) if p.distance == "logits" else (vx.softmax(dim=1), fx.softmax(dim=1))
        distance = 0.5 * F.mse_loss(*outputs, reduction="none").sum(dim=1)
        penalty = gradient_penalty(
            model, x, vx, kappa=p.kappa, delta=p.delta, generator=generator, normalise=p.normalise
        )
        return (distance + p.weight * self.sigma**2 / 2 * penalty).mean()
