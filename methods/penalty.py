"""The gradient penalty of HeatSmoothing: an estimate of ‖∇ₓv(x)‖²_F that never forms the Jacobian."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn


def gradient_penalty(
    v: nn.Module,
    x: Tensor,
    vx: Tensor,
    *,
    kappa: int,
    delta: float,
    generator: torch.Generator,
    normalise: Literal["paper", "unbiased"] = "paper",
) -> Tensor:
    """P(v, x) per image, shape (B,): the regulariser of "Adversarial Boot Camp", equations 16 to 18.

    x is (B, C, H, W) with requires_grad set, vx = v(x) its logits (B, K) with their graph. With projections
    w_j = g_j/√K, g_j ~ N(0, I_K), and ĝ_j the normalised gradient of w_j·v at x (0 where that gradient is 0; eq. 18),
    treated as a constant::

        P = Σ_{j ≤ κ} ((w_j·v(x + δĝ_j) − w_j·v(x)) / δ)²

    E[P] = (κ/K)·‖∇v(x)‖²_F as δ → 0: unbiased at κ = K, and with `normalise="unbiased"` (×K/κ) at every κ. Both
    terms of the difference carry gradient to v's weights; ĝ_j carries none.

    The κ vector-Jacobian products are one batched backward pass over the graph of vx, and the κ points x + δĝ_j go
    through v as one batch of κB images. In training mode batch norm therefore normalises those points by the
    statistics of their own batch; with v in evaluation mode each image is on its own and P is exact in that respect.
    """
    batch, classes = vx.shape
    w = torch.randn(kappa, batch, classes, generator=generator, device=vx.device) / classes**0.5
    (g,) = torch.autograd.grad(vx, x, w.to(vx.dtype), retain_graph=True, is_grads_batched=True)
    norm = g.flatten(2).norm(dim=2).view(kappa, batch, 1, 1, 1)
    direction = torch.where(norm > 0, g / norm, torch.zeros_like(g))
    points = (x.detach() + delta * direction).flatten(0, 1)
    shifted = v(points.contiguous(memory_format=torch.channels_last)).view(kappa, batch, classes)
    difference = (w * (shifted.float() - vx.float())).sum(dim=2) / delta
    total = difference.square().sum(dim=0)
    return total * classes / kappa if normalise == "unbiased" else total
