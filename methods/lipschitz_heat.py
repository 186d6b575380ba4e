"""LipschitzHeat: the promise of "Adversarial Boot Camp", kept by a network whose certificate of its pass is true.

Of the paper it has what its title says: no label is read, one epoch is enough, and what comes out is certified,
deterministic, and a single pass. It does not average: a 1-Lipschitz network learns the answers of the trained
classifier f, with the loss of `methods.lipschitz`, and its margins, not Gaussian noise, are what certifies it.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from methods.lipschitz import DEMO, PAPER, QUICK, LipschitzSettings, Margin
from methods.method import Step


class LipschitzHeat(Margin[LipschitzSettings]):
    """y = argmax f(x) at each image x as it is trained on, in the loss of `Margin`; f is the model it starts from."""

    summary = "1-Lipschitz features that learn a baseline's answers, label-free; one pass, certified by its margin"
    uses_labels = False
    starts_from = "baseline"
    start_is_teacher = True

    Parameters = LipschitzSettings

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": DEMO | {"training": DEMO["training"] | {"epochs": 1, "batch_size": 8}},
        "quick": QUICK | {"training": QUICK["training"] | {"epochs": 1}, "parameters": {"rho": 0.4}},
        "paper": PAPER | {"training": PAPER["training"] | {"epochs": 1}},
    }
    tunable: ClassVar[dict[str, str]] = {"lr": "1e-3:2e-2:log", "rho": "0.05:0.5"}

    def begin(self, model: nn.Module, start: nn.Module | None = None) -> None:
        super().begin(model)
        assert start is not None
        self.f = start.requires_grad_(False)

    @property
    def passes(self) -> float:
        return 4.0

    def loss(self, model: nn.Module, x: Tensor, y: None, step: Step) -> Tensor:
        with torch.no_grad():
            classes = self.f(x).argmax(dim=1)
        return self.margin_loss(model, x, classes, self.parameters.rho)
