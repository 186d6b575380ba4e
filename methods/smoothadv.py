"""SmoothAdv: Salman et al., "Provably robust deep learning via adversarially trained smoothed classifiers" (2019).

Randomized smoothing whose training images are adversarial, and adversarial to the smoothed classifier rather than to
the network behind it. What is deployed is the vote under noise; it is what the certificate holds for.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, Settings, Step
from methods.noise_draws import draw_noise, logits_at
from suite.attacks.pgd import pgd
from suite.ranges import Radius, Steps

# the batch of 256 is cut into m = 2 parts, and each, at its m draws, is one step
SALMAN_CIFAR = {
    "arch": "resnet110",
    "training": {
        "epochs": 150, "batch_size": 128, "lr": 0.1, "schedule": "steps", "milestones": (50, 100), "factor": 0.1,
        "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4,
    },
}  # fmt: skip


class SmoothAdvSettings(Settings):
    """The settings of SmoothAdv-PGD, in the paper's symbols."""

    epsilon: Radius = Field(0.5, description="ε, radius of the attack in pixel units")
    steps: Steps = Field(4, description="T, steps of PGD per batch")
    m: int = Field(2, ge=1, le=1_000, description="m, noise draws per image, in the attack and in the training pass")
    warmup: float = Field(10.0, ge=0, le=100_000, description="epochs over which ε grows from 0")
    noisy_training: bool = Field(True, description="the training pass sees x' at the draws, not x' itself")


class SmoothAdv(Method[SmoothAdvSettings]):
    """min E cross-entropy(v(x' + η_i), y) over m draws η_i ~ N(0, σ²I), where x' attacks their average::

        x' = argmax over ‖x' − x‖₂ ≤ ε of −log (1/m) Σ_{i ≤ m} softmax(v(x' + η_i))_y

    This is their objective (S) with m draws in the expectation's place, the same in every step of the attack and in
    the training pass. x' is sought by PGD from x, v being in evaluation mode, with steps of 2ε/steps, each clipped to
    [0,1] and then projected, as in their code; x' + η_i need not stay in [0,1]. ε grows linearly from 0 over the first
    `warmup` epochs. A step takes `batch_size` images at m draws each; theirs has 256/m images.
    """

    summary = "adversarial training of the smoothed classifier (Salman et al. 2019); voted"
    deployed = "vote"
    uses_sigma = True

    Parameters = SmoothAdvSettings

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": {"parameters": {"steps": 2, "warmup": 5}},
        # as long as 7 epochs of the baseline
        "quick": {"training": {"epochs": 3}, "parameters": {"epsilon": 0.25, "steps": 2, "m": 1, "warmup": 1}},
        "paper/cifar10": SALMAN_CIFAR,
        "paper/cifar100": SALMAN_CIFAR,
        "paper/imagenet": {"training": {"batch_size": 128}, "parameters": {"steps": 1}},
    }
    tunable: ClassVar[dict[str, str]] = {
        "sigma": "0.05:1:log", "lr": "0.01:0.5:log", "epsilon": "0.1:2:log", "steps": "1:4", "m": "1:4",
    }  # fmt: skip

    @property
    def passes(self) -> float:
        p = self.parameters
        return 2.0 * p.m * p.steps + 3.0 * (p.m if p.noisy_training else 1)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        p = self.parameters
        epsilon = p.epsilon * min(1.0, step.epoch / p.warmup) if p.warmup else p.epsilon
        eta = draw_noise(x, p.m, self.sigma, step.generator)

        def nll(x: Tensor) -> Tensor:
            """−log softmax(v(x + η_i))_y, shape (m, B)."""
            logits = logits_at(model, x, eta).flatten(0, 1)
            return F.cross_entropy(logits, y.repeat(p.m), reduction="none").view(p.m, -1)

        model.eval()  # batch norm's running statistics are those of the images trained on, not of PGD's iterates
        x_adv = pgd(
            lambda x: math.log(p.m) - (-nll(x)).logsumexp(dim=0),
            x, epsilon=epsilon, steps=p.steps, step_size=2 * epsilon / p.steps, clip_first=True,
        )  # fmt: skip
        model.train()
        return nll(x_adv).mean() if p.noisy_training else F.cross_entropy(model(x_adv), y)
