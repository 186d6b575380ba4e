"""FMN (Pintor et al. 2021): a minimum-norm attack that follows the boundary."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.attacks.target import Target, norm


def fmn(
    target: Target,
    x: Tensor,
    start: Tensor,
    found: Tensor,
    *,
    epsilon: Tensor,
    steps: int,
    max_norm: float = math.inf,
) -> tuple[Tensor, Tensor]:
    """Fast minimum norm (Pintor et al. 2021), with steps in proportion to the norm: (x', found), as the others.

    It sets out from the hits `start` (B, C, H, W) where `found` (B,) says so, elsewhere from x with ε = `epsilon` (B,).
    δ ← δ + αεg/‖g‖₂, cut to the norm ε and to the box; ε shrinks by γ after a hit, and to that of the nearest, else it
    grows. α falls from 1 to 0.01 and γ from 0.05 to 0.001 along a cosine. In the original the length of a step is α:
    where distances are far below 1, most of its steps forget where they set out from. Makes `steps` looks.
    """
    x_adv, found = start.clone(), found.clone()
    best = torch.where(found.view(-1, 1, 1, 1), norm(start.double() - x.double()), math.inf)
    left = (best > 0).flatten().nonzero().flatten()
    best, centre = best[left], x[left]
    norms = torch.where(best.isfinite(), best, epsilon[left].view(-1, 1, 1, 1))
    limit = norm(torch.maximum(centre, 1 - centre)).clamp(max=max_norm)
    if len(left):
        now = target.see(start[left], left, "fmn 0")
        now = now._replace(hit=now.hit & found[left])
    for step in range(1, steps if len(left) else 0):
        fall = (1 + math.cos(math.pi * step / steps)) / 2
        alpha, gamma = 0.01 + 0.99 * fall, 0.001 + 0.049 * fall
        hit = now.hit.view(-1, 1, 1, 1)
        norms = torch.where(hit, (norms * (1 - gamma)).minimum(best), norms * (1 + gamma)).minimum(limit)
        delta = now.points - centre + alpha * norms * now.direction
        points = centre + delta * (norms / norm(delta).clamp(min=1e-300)).clamp(max=1)
        now = target.see(points.to(x.dtype).clamp(0, 1), left, f"fmn {step}" if step + 1 < steps else "")
        length = norm(now.points.double() - centre.double())
        nearer = now.hit & (length < best).flatten()
        best[nearer] = length[nearer]
        x_adv[left[nearer]], found[left[nearer]] = now.points[nearer], True
    return x_adv, found
