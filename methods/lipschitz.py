"""Lipschitz: a network whose margins certify the single pass, trained for margins: the loss in the manner of EMMA.

Hu, Zou, Wang, Leino and Fredrikson, "Unlocking deterministic robustness certification on ImageNet" (2023), section 4.
The network's features F are 1-Lipschitz by construction (`suite.networks.lipschitz`), and what is deployed is one pass.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from methods.method import Method, P, Settings, Step
from suite.networks.margins import head_of, lipschitz_bound
from suite.ranges import Radius

QUICK: dict[str, Any] = {
    "arch": "lipschitz-small",
    "training": {
        "epochs": 8, "batch_size": 256, "optimizer": "adamw", "lr": 8e-3, "schedule": "one-cycle", "weight_decay": 0.0,
        "augmentation": "flip",
    },
    "parameters": {"rho": 0.35},
}  # fmt: skip
DEMO: dict[str, Any] = {
    "arch": "lipschitz-small-w16",
    "training": {"optimizer": "adamw", "lr": 0.03, "schedule": "one-cycle", "weight_decay": 0.0},
}
PAPER: dict[str, Any] = {
    "arch": "lipschitz-large",
    "training": {
        "epochs": 200, "batch_size": 256, "optimizer": "adamw", "lr": 3e-3, "schedule": "cosine", "weight_decay": 0.0,
    },
}  # fmt: skip


class LipschitzSettings(Settings):
    """The radius that training is for."""

    rho: Radius = Field(0.2, description="ρ, the radius at whose worst point the loss is taken, pixels in [0,1]")


def worst_logits(logits: Tensor, labels: Tensor, head: nn.Linear, reach: float) -> Tensor:
    """u_j + reach·‖w_y − w_j‖₂ for j ≠ y, and u_y: the logits where another class has come nearest, (B, K).

    `reach` is the radius times the Lipschitz constant of what the head gets, y (B,) the classes that are to lead.
    """
    apart = torch.linalg.vector_norm(head.weight[labels, None] - head.weight, dim=2)  # 0 at j = y
    worst: Tensor = logits + reach * apart
    return worst


class Margin(Method[P]):
    """What trains a network for its margins: min E cross-entropy(u_j + ρL‖w_y − w_j‖₂, y) over images x.

    u = WF(x) + c are the logits, w_j the rows of W and L the Lipschitz constant of F; the sum is an upper bound on how
    near class j can come to y within the radius ρ. A subclass says what y is.
    """

    needs_lipschitz = True

    def begin(self, model: nn.Module, start: nn.Module | None = None) -> None:
        self.bound, self.head = lipschitz_bound(model), head_of(model)

    def margin_loss(self, model: nn.Module, x: Tensor, classes: Tensor, rho: float) -> Tensor:
        worst = worst_logits(model(x), classes, self.head, rho * self.bound)
        return F.cross_entropy(worst, classes)


class Lipschitz(Margin[LipschitzSettings]):
    """y are the labels; see `Margin`."""

    summary = "1-Lipschitz features, trained for margins; one pass, certified by its margin"

    Parameters = LipschitzSettings

    recipes: ClassVar[dict[str, dict[str, Any]]] = {
        "demo": DEMO | {"training": DEMO["training"] | {"epochs": 10, "batch_size": 64}},
        "quick": QUICK,
        "paper": PAPER,
    }
    tunable: ClassVar[dict[str, str]] = {"lr": "1e-3:2e-2:log", "rho": "0.05:0.5", "epochs": "1:16"}

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        return self.margin_loss(model, x, y, self.parameters.rho)
