"""Small networks that attacks are tried on."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from helpers.known import digits_spec
from helpers.planes import Planes
from suite.networks.architectures import build


def smooth_model(dtype: torch.dtype = torch.float64) -> nn.Module:
    """A network with batch norm and no kinks, its running statistics those of some images."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Tanh(), nn.Conv2d(8, 8, 3, 2), nn.Tanh(), nn.Flatten(),
        nn.Linear(32, 5),
    )  # fmt: skip
    for _ in range(20):
        model(torch.rand(64, 3, 8, 8))
    return model.to(dtype).eval()


class Scaled(nn.Module):
    """A model with its logits multiplied."""

    def __init__(self, model: nn.Module, factor: float):
        super().__init__()
        self.model, self.factor = model, factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * self.model(x)


class Answers(Planes):
    """Nothing but the answer, whose gradient is 0."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.one_hot(super().forward(x).argmax(dim=1), len(self.u)).float()


def small_case(method: str, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, Any, Tensor, list[int]]:
    """In float64 what batches leave in the last digits of a gradient does not grow to a difference one can see."""
    torch.manual_seed(0)
    model = build("cnn", 10, (1, 8, 8), (0.5,), (0.3,)).eval().to(dtype)
    images = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(2)).to(dtype)
    labels = model(images).argmax(dim=1).tolist()
    labels[4] = (labels[4] + 1) % 10
    return model, digits_spec(method, **{"attack.draws": 12, "attack.best_steps": 5}), images, labels
