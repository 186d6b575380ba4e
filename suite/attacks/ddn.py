"""DDN (Rony et al. 2019): the direction and the norm of a perturbation are searched apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.attacks.target import Seen, Target, norm, unit

GAMMA = 0.05  # of DDN: by what the radius grows or shrinks in a step


def ddn(
    target: Target,
    x: Tensor,
    seen: Seen,
    *,
    epsilon: Tensor,
    steps: int,
    max_norm: float = math.inf,
    levels: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Decoupled direction and norm (Rony et al. 2019, Algorithm 1): (x', found), (B, C, H, W) and bool (B,).

    δ ← δ + αg/‖g‖₂, α falling from 1 to 0.01 along a cosine, scaled to the norm ε, which is `epsilon` (B,) at first and
    shrinks by γ after a hit, else grows; x + δ is rounded to `levels` values per pixel and clipped to [0,1]. `seen`, at
    x, is the first of `steps` looks at the model. x' is the hit nearest to x, x where there is none. ε stays within
    `max_norm` and the distance of the farthest image. An image with a hit at x is left alone.
    """
    x_adv, found = x.clone(), seen.hit.clone()
    left, now = (~seen.hit).nonzero().flatten(), seen.only(~seen.hit)
    centre = x[left]
    limit = norm(torch.maximum(centre, 1 - centre)).clamp(max=max_norm)
    norms, best = epsilon[left].view(-1, 1, 1, 1), torch.full_like(limit, math.inf)
    for step in range(steps - 1 if len(left) else 0):
        alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2
        norms = (norms * torch.where(now.hit, 1 - GAMMA, 1 + GAMMA).view(-1, 1, 1, 1)).minimum(limit)
        points = centre + norms * unit(now.points - centre + alpha * now.direction)
        if levels:
            points = (points * (levels - 1)).round() / (levels - 1)
        now = target.see(points.to(x.dtype).clamp(0, 1), now.rows, f"ddn {step + 1}" if step + 2 < steps else "")
        length = norm(now.points - centre)
        nearer = now.hit & (length < best).flatten()
        best[nearer] = length[nearer]
        x_adv[left[nearer]], found[left[nearer]] = now.points[nearer], True
    return x_adv, found
