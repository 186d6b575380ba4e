"""Searches for an image as near as possible to a certified one, to which the certified answer is not given."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suite.attacks.ddn import ddn
from suite.attacks.fmn import fmn
from suite.attacks.hop_skip_jump import hop_skip_jump
from suite.attacks.library import apgd
from suite.attacks.pgd import first_success_pgd
from suite.attacks.target import Seen, Target, norm

OF_A_PASS = ("apgd-ce", "apgd-t", "hopskipjump")  # which search what one pass answers, and no vote

NOISE_IMAGES = 20  # that it tries where no other search has found a hit


class Certified(Target):
    """Images with the k classes (B, k) that are certified of them; what gives another answer is a hit.

    With `whole` that is an answer of k classes that are not these, else a likeliest class that is none of these. The k
    classes, which may repeat, stand as one, the label 0, with the smallest (`whole`) or the largest of their logits.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: Tensor,
        noise: Tensor,
        numbers: Sequence[int],
        *,
        seed: int,
        whole: bool,
        batch_size: int,
    ):
        labels = torch.zeros_like(classes[:, 0])
        super().__init__(model, labels, noise, numbers, seed=seed, purpose="audit", top=1, batch_size=batch_size)
        self.classes, self.whole = classes, whole

    def scores(self, points: Tensor, rows: Tensor, eta: Tensor) -> Tensor:
        """Those of the certified classes as one, then of each other class: (B, m, 1 + K).

        The places of the certified classes among the others are taken by a constant as far below the least as that is
        below the largest.
        """
        scores = super().scores(points, rows, eta)
        inside = torch.zeros_like(scores[:, 0]).scatter(1, self.classes[rows], 1.0).bool()[:, None]
        own = scores.masked_fill(~inside, torch.inf if self.whole else -torch.inf)
        ours = own.amin(dim=2) if self.whole else own.amax(dim=2)
        least, largest = scores.detach().amin(dim=2, keepdim=True), scores.detach().amax(dim=2, keepdim=True)
        return torch.cat((ours[..., None], torch.where(inside, 2 * least - largest, scores)), dim=2)


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
    before it. Hop-skip-jump searches where the others have found nothing inside. The answer at x does not count: x is
    certified.
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
        take("pgd", *pgd(target, x, clean, starts[:-1], epsilon=radius, steps=steps))
    if "ddn" in searches:
        take("ddn", *ddn(target, x, clean, epsilon=radius, steps=steps))
    if "fmn" in searches:
        take("fmn", *fmn(target, x, nearest, length.isfinite(), epsilon=radius, steps=steps))
    for name in ("apgd-ce", "apgd-t"):
        if name in searches:
            take(name, *apgd(target, x, radius, starts[-1], steps=steps, targeted=name == "apgd-t"))
    if "hopskipjump" in searches:
        take("hopskipjump", *hop_skip_jump(target, x, nearest, length, radius, queries=queries))
    return found


def pgd(
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
