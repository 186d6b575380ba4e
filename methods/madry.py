"""Madry: Madry et al., "Towards deep learning models resistant to adversarial attacks" (2018), in the ℓ2 norm.

Adversarial training: each step trains on the images that an attacker makes of the batch. What is deployed is one pass.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.baseline import PAPER_CIFAR
from methods.method import Method, Settings, Step
from suite.attacks.pgd import pgd
from suite.ranges import Radius, Steps


class MadrySettings(Settings):
    """The settings of the attack, in the paper's symbols."""

    epsilon: Radius = Field(0.5, description="ε, radius of the attack in pixel units")
    steps: Steps = Field(7, description="steps of PGD per batch")
    step_factor: float = Field(2.5, gt=0, le=1_000, description="a step is step_factor · ε/steps long")


class Madry(Method[MadrySettings]):
    """min E max over ‖δ‖₂ ≤ ε of cross-entropy(v(x + δ), y): their equation 2.1, the maximum sought by PGD.

    The attack starts in a uniformly random direction at distance ε, near which almost all of a ball's volume lies in
    as many dimensions as an image has; the model that it attacks is the current v in evaluation mode.
    """

    summary = "ℓ2 adversarial training (Madry et al. 2018); one pass"

    Parameters = MadrySettings

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"parameters": {"steps": 3}},
        # as long as 7 epochs of the baseline
        "quick": {"training": {"epochs": 3}, "parameters": {"epsilon": 0.25, "steps": 2}},
        "paper/cifar10": PAPER_CIFAR,
        "paper/cifar100": PAPER_CIFAR,
        "paper/imagenet": {"parameters": {"epsilon": 3.0}},
    }
    tunable: ClassVar[dict[str, str]] = {
        "lr": "0.01:0.5:log", "epsilon": "0.1:4:log", "steps": "1:10", "weight_decay": "1e-5:1e-2:log",
    }  # fmt: skip

    @property
    def passes(self) -> float:
        return 2.0 * self.parameters.steps + 3.0

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        p = self.parameters
        start = torch.empty_like(x).normal_(generator=step.generator)
        start *= p.epsilon / torch.linalg.vector_norm(start, dim=(1, 2, 3), keepdim=True)
        model.eval()  # batch norm's running statistics are those of the images trained on, not of PGD's iterates
        x_adv = pgd(
            lambda x: F.cross_entropy(model(x), y, reduction="none"),
            x, epsilon=p.epsilon, steps=p.steps, step_size=p.step_factor * p.epsilon / p.steps, start=start,
        )  # fmt: skip
        model.train()
        return F.cross_entropy(model(x_adv), y)
