"""Several draws of Gaussian noise for each image of a batch: what methods that average over draws have in common."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn

from methods.method import Method, Settings, Step


class DrawSettings(Settings):
    """How many draws there are."""

    m: int = Field(2, ge=1, le=1_000, description="m, noise draws per image")


D = TypeVar("D", bound=DrawSettings)


class Draws(Method[D]):
    """A vote trained at m draws of the run's noise, all in one pass, by a loss with the weight λ.

    A subclass says by `paper_weight` what λ is where the setting `lambda` is not given.
    """

    deployed = "vote"
    uses_sigma = True

    @property
    def passes(self) -> float:
        return 3.0 * self.parameters.m

    @property
    def weight(self) -> float:
        """λ."""
        given: float | None = getattr(self.parameters, "lambda")
        return self.paper_weight if given is None else given

    @property
    @abstractmethod
    def paper_weight(self) -> float:
        """The paper's λ at this σ."""

    def draw_logits(self, model: nn.Module, x: Tensor, step: Step) -> Tensor:
        """v(x + η_i), shape (m, B, K), at fresh draws."""
        return logits_at(model, x, draw_noise(x, self.parameters.m, self.sigma, step.generator))


def draw_noise(x: Tensor, m: int, sigma: float, generator: torch.Generator) -> Tensor:
    """η_1, …, η_m ~ N(0, σ²I) for each image of x (B, C, H, W): shape (m, B, C, H, W)."""
    return sigma * torch.randn(m, *x.shape, generator=generator, device=x.device, dtype=x.dtype)


def logits_at(model: nn.Module, x: Tensor, eta: Tensor) -> Tensor:
    """v(x + η_i), shape (m, B, K), in the precision of x: all draws are one pass, and one batch for batch norm."""
    points = (x + eta).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    logits: Tensor = model(points)
    return logits.view(len(eta), len(x), -1).to(x.dtype)
