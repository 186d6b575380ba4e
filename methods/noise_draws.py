"""Several draws of Gaussian noise for each image of a batch: what methods that average over draws have in common."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def draw_noise(x: Tensor, m: int, sigma: float, generator: torch.Generator) -> Tensor:
    """η_1, …, η_m ~ N(0, σ²I) for each image of x (B, C, H, W): shape (m, B, C, H, W)."""
    return sigma * torch.randn(m, *x.shape, generator=generator, device=x.device, dtype=x.dtype)


def logits_at(model: nn.Module, x: Tensor, eta: Tensor) -> Tensor:
    """v(x + η_i), shape (m, B, K), in the precision of x: all draws are one pass, and one batch for batch norm."""
    points = (x + eta).flatten(0, 1).contiguous(memory_format=torch.channels_last)
    logits: Tensor = model(points)
    return logits.view(len(eta), len(x), -1).to(x.dtype)
