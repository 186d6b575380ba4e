"""The nearest adversarial image of several searches, each of which goes on from what was found before."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from suite.attacks.ddn import ddn
from suite.attacks.fmn import fmn
from suite.attacks.target import Seen, Target, bisected, distances, norm


def lengths_of(x: Tensor, x_adv: Tensor, found: Tensor) -> list[float | None]:
    return [length if hit else None for length, hit in zip(distances(x_adv, x), found.tolist(), strict=True)]


def smallest(
    target: Target, x: Tensor, clean: Seen, found: dict[str, tuple[Tensor, Tensor]], *, steps: int, max_norm: float
) -> tuple[list[float | None], list[str | None]]:
    """The smallest distance of each image, and what found it: PGD, DDN or FMN.

    What was `found` of an image is moved towards it by bisection. From the norm of the nearest, DDN takes `steps`; then
    FMN from the nearest of all.
    """
    near, best = x, torch.where(clean.hit, 0.0, math.inf).double().view(-1, 1, 1, 1)
    searches: list[str | None] = [None] * len(x)

    def take(name: str, x_adv: Tensor, hit: Tensor) -> None:
        nonlocal near, best
        x_adv = bisected(lambda points, rows: target.see(points, rows).hit, x, x_adv, hit & ~clean.hit)
        length = torch.where(hit.view(-1, 1, 1, 1), norm(x_adv.double() - x.double()), math.inf)
        nearer = length < best
        near, best = torch.where(nearer, x_adv, near), length.minimum(best)
        for row in nearer.flatten().nonzero().flatten().tolist():
            searches[row] = name

    for name, hits in found.items():
        take(name, *hits)
    norms = best.flatten().nan_to_num(posinf=1.0)
    take("ddn", *ddn(target, x, clean, epsilon=norms, steps=steps, max_norm=max_norm))
    hit = best.isfinite().flatten()
    take("fmn", *fmn(target, x, near, hit, epsilon=norms, steps=steps, max_norm=max_norm))
    return lengths_of(x, near, best.isfinite().flatten()), searches
