"""SmoothAdv: Salman et al., "Provably robust deep learning via adversarially trained smoothed classifiers" (2019).

Randomized smoothing whose training images are adversarial, and adversarial to the smoothed classifier rather than to
the network behind it. What is deployed is the vote under noise; it is what the certificate holds for.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.attack import pgd
from methods.method import Method, Settings
from methods.randomized_smoothing import COHEN_CIFAR
from suite.ranges import Radius, Steps


class SmoothAdv(Method):
    """min E cross-entropy(v(x' + η_i), y) over m draws η_i ~ N(0, σ²I), where x' attacks their average::

        x' = argmax over ‖x' − x‖₂ ≤ ε of −log (1/m) Σ_{i ≤ m} softmax(v(x' + η_i))_y

    This is their objective (S) with m draws in the expectation's place, the same in every step of the attack and in
    the training pass. x' is sought by PGD from x, v being in evaluation mode, with steps of 2ε/steps; x' stays in
    [0,1], x' + η_i need not. ε grows linearly from 0 over the first `warmup` epochs.
    """

    summary = "adversarial training of the smoothed classifier (Salman et al. 2019); voted"
    deterministic = False
    uses_sigma = True

    class Parameters(Settings):
        """The settings of SmoothAdv-PGD, in the paper's symbols."""

        epsilon: Radius = Field(0.5, description="ε, radius of the attack in pixel units")
        steps: Steps = Field(4, description="T, steps of PGD per batch")
        m: int = Field(
            2, ge=1, le=1_000, description="m, noise draws per image, in the attack and in the training pass"
        )
        warmup: float = Field(10.0, ge=0, le=100_000, description="epochs over which ε grows from 0")

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"parameters": {"steps": 2, "warmup": 5}},
        # as long as 7 epochs of the baseline; ε is about the largest radius that 1,000 draws at σ = 0.1 can certify
        "quick": {"training": {"epochs": 3}, "parameters": {"epsilon": 0.25, "steps": 2, "m": 1, "warmup": 1}},
        "paper/cifar10": COHEN_CIFAR,
        "paper/cifar100": COHEN_CIFAR,
        "paper/imagenet": {"parameters": {"steps": 1}},
    }
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "0.01:0.5:log", "epsilon": "0.1:2:log", "steps": "1:4", "m": "1:4",
    }  # fmt: skip

    @property
    def passes(self) -> float:
        return self.parameters.m * (2.0 * self.parameters.steps + 3.0)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        p = self.parameters
        epsilon = p.epsilon * min(1.0, self.epoch / p.warmup) if p.warmup else p.epsilon
        eta = self.sigma * torch.randn(p.m, *x.shape, generator=generator, device=x.device, dtype=x.dtype)

        def nll(x: Tensor) -> Tensor:
            """−log softmax(v(x + η_i))_y, shape (m, B)."""
            points = (x + eta).flatten(0, 1).contiguous(memory_format=torch.channels_last)
            return F.cross_entropy(model(points), y.repeat(p.m), reduction="none").view(p.m, -1)

        model.eval()  # batch norm's running statistics are those of the images trained on, not of PGD's iterates
        x_adv = pgd(
            lambda x: math.log(p.m) - (-nll(x)).logsumexp(dim=0),
            x, epsilon=epsilon, steps=p.steps, step_size=2 * epsilon / p.steps,
        )  # fmt: skip
        model.train()
        return nll(x_adv).mean()
