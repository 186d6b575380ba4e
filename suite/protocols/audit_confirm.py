"""What a search has really found: images asked again for the answer of what the row deploys.

A single pass is asked once. A vote is asked by Cohen et al.'s Predict, with fresh noise for each question, so that an
image counts only where another class significantly outvotes the certified one.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

import numpy as np
import torch
from torch import Tensor

from suite.attacks.certified import Certified
from suite.attacks.inside import candidates
from suite.attacks.target import bisected, distances, keyed_noise, unit
from suite.protocols.protocol import Subject
from suite.smoothing.noise import draws
from suite.smoothing.voting import top_classes
from suite.statistics.bounds import predict

EDGE = 0.9999  # of the radius: how far a search inside it goes, so that rounding does not take it outside
BEYOND = 1.5  # of the distance of an image to which the vote has not changed: how much farther it is asked
HALVINGS = 3  # of the interval in which a vote changes

Finding = tuple[float, str] | None  # the distance, and the search that found it


def examine(
    subject: Subject,
    numbers: list[int],
    x: Tensor,
    chosen: Tensor,
    radius: list[float],
    *,
    whole: bool,
    searches: Sequence[str],
) -> list[Finding]:
    """The nearest finding of each of the images x (B, C, H, W) with a radius (B) above 0.

    `numbers` are their indices in the test set and `chosen` (B, k) the answers certified. With `whole` another answer
    is one of k classes that are not these, else a likeliest class that is none of these.
    """
    spec, deterministic = subject.spec, subject.spec.deployed == "pass"
    rows = [row for row, r in enumerate(radius) if r > 0]
    found: list[Finding] = [None] * len(radius)
    if not rows:
        return found
    x, chosen, numbers = x[rows], chosen[rows], [numbers[row] for row in rows]
    edge = EDGE * torch.tensor([radius[row] for row in rows], dtype=torch.float64, device=x.device)
    m = 0 if deterministic else spec.audit.draws
    noise = keyed_noise(x, numbers, m, sigma=spec.sigma or 0.0, seed=spec.seed, purpose="audit")
    target = Certified(
        subject.model, chosen, noise, numbers, seed=spec.seed, whole=whole, batch_size=m or subject.batch_size
    )
    near = candidates(
        target, x, edge, starts(subject, numbers, x, edge),
        searches=searches, steps=spec.audit.steps, queries=spec.audit.queries,
    )  # fmt: skip
    if deterministic:
        confirmed = by_pass(subject, x, chosen, near, whole=whole)
    else:
        confirmed = [
            by_vote(subject, index, x[i], chosen[i].tolist(), {name: x_adv[i] for name, x_adv in near.items()}, r)
            for i, (index, r) in enumerate(zip(numbers, edge.tolist(), strict=True))
        ]
    for row, finding in zip(rows, confirmed, strict=True):
        found[row] = finding
    return found


def starts(subject: Subject, numbers: list[int], x: Tensor, radius: Tensor) -> Tensor:
    """Where PGD starts again, and APGD: x moved by its radius in random directions, clipped, (restarts, B, C, H, W)."""
    total = subject.spec.audit.restarts
    moved = x.new_empty(total, *x.shape)
    for i, index in enumerate(numbers):
        directions = torch.cat(list(draws(subject.spec.seed, "audit start", index, total, like=x[i])))
        moved[:, i] = (x[i] + radius[i] * unit(directions)).clamp(0, 1)
    return moved


def by_pass(subject: Subject, x: Tensor, chosen: Tensor, near: dict[str, Tensor], *, whole: bool) -> list[Finding]:
    """The nearest of the candidates to which a clean pass gives another answer, moved to x by bisection."""

    def changes(points: Tensor, rows: Tensor) -> Tensor:
        answers = top_classes(subject.model, points, chosen.shape[1] if whole else 1)
        return (answers[:, :, None] != chosen[rows, None]).all(dim=2).any(dim=1)

    found: list[Finding] = [None] * len(x)
    for name, x_adv in near.items():
        changed = changes(x_adv, torch.arange(len(x), device=x.device))
        nearest = bisected(changes, x, x_adv, changed)
        for row, (length, other) in enumerate(zip(distances(nearest, x), changed.tolist(), strict=True)):
            best = found[row]
            if other and (best is None or length < best[0]):
                found[row] = (length, name)
    return found


def by_vote(
    subject: Subject, index: int, x: Tensor, chosen: list[int], near: dict[str, Tensor], edge: float
) -> Finding:
    """The nearest image x' (C, H, W) found to change the vote, on the ways from x through the candidates.

    A candidate hardly changes the average, which no vote can confirm, so the vote is asked farther on: at the edge of
    the radius for each candidate inside; if the answer stays the same, outside past the nearest candidate. Where it
    changes, halving the interval shows from what distance on.
    """
    questions = count()

    def at(direction: Tensor, length: float) -> Tensor:
        return (x + length * direction).clamp(0, 1).to(x.dtype)

    def changes(direction: Tensor, length: float) -> bool:
        return another_wins(subject, index, at(direction, length), chosen, f"audit vote {next(questions)}")

    def nearest(name: str, direction: Tensor, low: float, high: float) -> Finding:
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (low, middle) if changes(direction, middle) else (middle, high)
        return distances(at(direction, high)[None], x[None])[0], name

    lengths = {name: distances(x_adv[None], x[None])[0] for name, x_adv in near.items()}
    ways = [(name, unit((near[name] - x)[None])[0]) for name in sorted(near, key=lengths.__getitem__) if lengths[name]]
    for name, direction in ways:
        if lengths[name] < edge and changes(direction, edge):
            return nearest(name, direction, lengths[name], edge)
    for name, direction in ways[:1]:
        low = max(lengths[name], edge)
        if changes(direction, BEYOND * low):
            return nearest(name, direction, low, BEYOND * low)
    return None


def another_wins(subject: Subject, index: int, point: Tensor, chosen: list[int], purpose: str) -> bool:
    """Whether Predict names a class that is none of `chosen`, whose votes count as one class's.

    It has `audit.n` noisy passes, and certify's α and arithmetic: of discrete noise the noisy images are rounded to
    1/255, which is x + η rounded for an x of whole levels and for any other. The count stops as soon as the others
    cannot win any more.
    """
    spec, votes = subject.spec, list[int]()
    assert spec.sigma is not None
    for block in draws(spec.seed, purpose, index, spec.audit.n, like=point):
        block.mul_(spec.sigma).add_(point)
        if spec.certify.noise == "discrete":
            block.mul_(255).round_().div_(255)
        for noisy in block.split(subject.batch_size):
            answers = top_classes(subject.model, noisy, precision=spec.certify.precision)[:, 0].tolist()
            votes += [chosen[0] if answer in chosen else answer for answer in answers]
        if 2 * votes.count(chosen[0]) > spec.audit.n:
            return False
    return predict(np.bincount(votes), spec.certify.alpha) not in (-1, chosen[0])
