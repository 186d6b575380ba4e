"""HopSkipJump (Chen, Jordan and Wainwright 2020): a search that asks for answers alone, and sees no gradient."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from suite.attacks.target import HALVINGS, Target, bisected, norm, unit
from suite.smoothing.noise import draws

NOISE_IMAGES = 20  # that it tries where no other search has found a hit
PROBE = 0.1  # of the distance: how far from the boundary hopskipjump asks which side a point is on

PROBES = 50  # points that it asks about in its first step

REACHES = (3.0, 0.5, 0.1)  # of the distance: how far it jumps


def hop_skip_jump(
    target: Target, x: Tensor, nearest: Tensor, length: Tensor, radius: Tensor, *, queries: int
) -> tuple[Tensor, Tensor]:
    """Hop-skip-jump (Chen, Jordan and Wainwright 2020): hits, x where there is none or it did not search.

    It asks for answers alone, so no gradient can mislead it. It goes on from the hits `nearest` at the distances
    `length` (B,) where those are outside of `radius` (B,), and from the first hit among keyed images of noise where
    there is none. At a hit on the boundary, the answers at `probes` points around estimate the normal; jumps along it,
    far and near, and the ways back to the boundary follow. It asks for at most `queries` answers an image.
    """

    def hits(points: Tensor, rows: Tensor) -> Tensor:
        asked = zip(points.split(target.batch_size), rows.split(target.batch_size), strict=True)
        return torch.cat([target.see(*ask).hit for ask in asked])

    near, found = torch.where(length.isfinite().view(-1, 1, 1, 1), nearest, x), length.isfinite()
    for row in (~found).nonzero().flatten():
        block = next(draws(target.seed, "audit noise images", target.numbers[int(row)], NOISE_IMAGES, like=x[row]))
        images = (0.5 + block / 4).clamp(0, 1)
        if len(hit := hits(images, row.expand(len(images))).nonzero().flatten()):
            near[row], found[row] = images[hit[0]], True
    rows, step, spent = (found & (length >= radius)).nonzero().flatten(), 1, NOISE_IMAGES + HALVINGS
    searched = torch.zeros_like(found).index_fill(0, rows, True)
    near = bisected(hits, x, near, searched)
    out = torch.zeros_like(x, dtype=torch.float64)
    while len(rows) and (spent := spent + probes(step) + len(REACHES) * (1 + HALVINGS)) <= queries:
        distance = norm(near.double() - x.double())
        for row in rows:
            out[row] = normal(target, hits, near[row], row, step, PROBE * float(distance[row]))
        begin = near
        for reach in REACHES:
            jumps = (begin + reach * distance * out).to(x.dtype).clamp(0, 1)
            jumped = torch.zeros_like(found)
            jumped[rows] = hits(jumps[rows], rows)
            back = bisected(hits, x, jumps, jumped)
            closer = norm(back.double() - x.double()) < norm(near.double() - x.double())
            near = torch.where(jumped.view(-1, 1, 1, 1) & closer, back, near)
        step += 1
    return torch.where(searched.view(-1, 1, 1, 1), near, x), searched


def probes(step: int) -> int:
    """How many points hop-skip-jump asks about in a step."""
    return math.ceil(PROBES * math.sqrt(step))


def normal(
    target: Target, hits: Callable[[Tensor, Tensor], Tensor], at: Tensor, row: Tensor, step: int, reach: float
) -> Tensor:
    """The direction in which the answer changes at `at` (C, H, W), estimated from answers at the distance `reach`.

    Probes are random, keyed, and in turn of full, half and a quarter of the resolution: coarse ones, of fewer
    dimensions, say more where what changes an answer is smooth.
    """
    channels, height, width = at.shape
    scale = min(2 ** ((step - 1) % 3), height, width)
    like = at.new_empty(channels, height // scale, width // scale)
    u = torch.cat(list(draws(target.seed, f"audit probes {step}", target.numbers[int(row)], probes(step), like=like)))
    u = unit(nn.functional.interpolate(u, size=(height, width), mode="bilinear"))
    side = 2.0 * hits((at + reach * u).to(at.dtype).clamp(0, 1), row.expand(len(u))) - 1
    side = side - side.mean() if side.unique().numel() > 1 else side
    return unit((side.view(-1, 1, 1, 1) * u).sum(dim=0, keepdim=True))[0]
