"""Searches for an image as near as possible to a certified one, to which the certified answer is not given."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from suite.attacks import HALVINGS, Seen, Target, bisected, ddn, first_success_pgd, fmn, norm, unit
from suite.errors import UserError
from suite.noise import draws

OF_A_PASS = ("apgd-ce", "apgd-t", "hopskipjump")  # which search what one pass answers, and no vote
TARGETS = 9  # classes that apgd-t goes for, AutoAttack's number
PROBE = 0.1  # of the distance: how far from the boundary hopskipjump asks which side a point is on
PROBES = 50  # points that it asks about in its first step
REACHES = (3.0, 0.5, 0.1)  # of the distance: how far it jumps
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


def apgd(
    target: Certified, x: Tensor, radius: Tensor, start: Tensor, *, steps: int, targeted: bool
) -> tuple[Tensor, Tensor]:
    """APGD of AutoAttack (Croce and Hein 2020), its authors' code, on one pass: hits inside the ball, x where none is.

    It ascends the cross-entropy, or with `targeted` the difference-of-logits ratio for each of the likeliest other
    classes. An image's logits are divided by their standard deviation at x, which changes no answer: a scale of theirs,
    which could make the cross-entropy's gradient round to 0, then changes nothing. Raises UserError where APGD cannot
    be imported.
    """
    try:
        from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
    except ImportError as error:
        raise UserError(
            f"""the audit's searches 'apgd-ce' and 'apgd-t' need pyautoattack ({error}): pip install pyautoattack, """
            """or leave them out with --set 'audit.searches=["pgd","ddn","fmn","hopskipjump"]'"""
        ) from error
    rows = torch.arange(len(x), device=x.device)
    with torch.no_grad():
        clean = target.scores(x, rows, target.noise)[:, 0]
    deviation = clean.std(dim=1, keepdim=True)

    def predict(points: Tensor) -> Tensor:
        scores = target.scores(points, rows, target.noise)[:, 0] / deviation
        return scores + 0 * points.sum()  # which has a gradient in any case

    attack = (APGDAttack_targeted if targeted else APGDAttack)(
        predict, n_iter=steps, norm="L2", eps=radius.to(x.dtype).view(-1, 1, 1, 1)
    )
    attack.init_hyperparam(x)
    x_adv, found, aims = x.clone(), torch.zeros_like(radius, dtype=torch.bool), [None]
    if targeted:
        others = clean[:, 1:].scatter(1, target.classes, -torch.inf)
        total = min(TARGETS, others.shape[1] - target.classes.shape[1])
        aims = list(1 + others.topk(total).indices.T) if others.shape[1] > 2 else []  # its ratio is of four columns
    for aim in aims:
        attack.y_target = aim
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that some gradients are 0
            _, robust, _, points = attack.attack_single_run(x, target.labels, start)
        new = ~robust & ~found
        x_adv[new], found[new] = points[new].detach(), True
    return x_adv, found


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
