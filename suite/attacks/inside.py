"""Searches for an image as near as possible to a certified one, to which the certified answer is not given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attacks.certified import Certified
from suite.attacks.ddn import ddn
from suite.attacks.fmn import fmn
from suite.attacks.hop_skip_jump import hop_skip_jump
from suite.attacks.library import apgd, fab, square
from suite.attacks.pgd import first_success_pgd
from suite.attacks.target import Seen, Target, norm


def candidates(
    target: Certified,
    x: Tensor,
    radius: Tensor,
    starts: Tensor,
    *,
    searches: Sequence[str],
    steps: int,
    queries: int,
) -> dict[str, Tensor]:
    """What each search finds nearest to the images x (B, C, H, W); x itself where it finds nothing, by search.

    PGD and APGD search the ball of `radius` (B,): PGD from x and, where it finds nothing, from `starts`, (…, B, C, H,
    W), APGD from the last of them. DDN and FMN search everywhere, DDN from that norm on and FMN from the nearest hit
    before it; so does FAB, on its own. Square searches the ball. Hop-skip-jump searches where the others have found
    nothing inside. The answer at x does not count: x is certified.
    """
    rows = torch.arange(len(x), device=x.device)
    clean = target.see(x, rows, "clean")
    clean = clean._replace(hit=torch.zeros_like(clean.hit))
    found: dict[str, Tensor] = {}
    nearest, length = x.clone(), torch.full_like(radius, math.inf)

    def take(name: str, x_adv: Tensor, hit: Tensor) -> None:
        nonlocal nearest, length
        found[name] = x_adv
        own = torch.where(hit, norm(x_adv.double() - x.double()).flatten(), math.inf)
        nearest = torch.where((own < length).view(-1, 1, 1, 1), x_adv, nearest)
        length = length.minimum(own)

    if "pgd" in searches:
        take("pgd", *restarted_pgd(target, x, clean, starts[:-1], epsilon=radius, steps=steps))
    if "ddn" in searches:
        take("ddn", *ddn(target, x, clean, epsilon=radius, steps=steps))
    if "fmn" in searches:
        take("fmn", *fmn(target, x, nearest, length.isfinite(), epsilon=radius, steps=steps))
    for name in ("apgd-ce", "apgd-t"):
        if name in searches:
            take(name, *apgd(target, x, radius, starts[-1], steps=steps, targeted=name == "apgd-t"))
    if "fab-t" in searches:
        take("fab-t", *fab(target, x, steps=steps))
    if "square" in searches:
        take("square", *square(target, x, radius, queries=queries))
    if "hopskipjump" in searches:
        take("hopskipjump", *hop_skip_jump(target, x, nearest, length, radius, queries=queries))
    return found


def restarted_pgd(
    target: Target, x: Tensor, clean: Seen, starts: Tensor, *, epsilon: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """The first hit of PGD inside the ball, from x and then from each of `starts`; x where there is none."""
    x_adv, found = first_success_pgd(target, x, clean, epsilon=epsilon, steps=steps)
    for number, start in enumerate(starts):
        left, name = (~found).nonzero().flatten(), f"pgd {number}"
        if len(left):
            seen = target.see(start[left], left, name)
            x_adv[left], found[left] = first_success_pgd(
                target, x[left], seen, epsilon=epsilon[left], steps=steps, name=name
            )
    return x_adv, found
