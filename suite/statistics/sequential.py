"""Adaptive sampling: deciding certified radii with as few draws as they need. Functions of counts, no torch.

An image is certified at the radius r if p_A > Φ(r/σ). For one such threshold p, a group-sequential test of P(vote for
ĉ_A) ≤ p looks at the count of votes after some of the n draws (`looks`) and certifies p_A > p as soon as the count
reaches the boundary of that look. The boundaries spend the failure probability α bit by bit (Lan and DeMets 1983,
"Discrete sequential boundaries for clinical trials"): each is the least count with which the chance of having
certified by then, computed exactly for votes of probability p, stays within α·`spending`. A smaller probability
certifies less often, so the test errs with probability at most α, whenever drawing stops.

Several thresholds are tested on the same draws, each at level α, with boundaries that rise with the threshold: a count
that certifies one certifies all below it. A false certificate is then also one of the least threshold that is not below
p_A, so that all certificates of an image hold together with probability at least 1 − α.

Drawing stops when every threshold of interest is certified, or when the chance that the next one will be is below
HOPELESS: exact as well, with the votes to come distributed as the votes so far predict from Jeffreys' prior. Stopping
can cost a radius and never truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from suite.statistics.bounds import largest_radius

Integers = NDArray[np.int64]

HOPELESS = 0.005
FINER = 10
EDGE = 1e-9
STEP = 64  # draws from one look to the next, at least; later it is 2 % of the draws before
NEGLIGIBLE = 1e-12  # a chance, or a share of α, that is left out of the computations, on the safe side


@cache
def looks(n: int) -> tuple[int, ...]:
    """The numbers of draws after which the count is looked at; the last is n."""
    ends = [0]
    while ends[-1] < n:
        ends.append(min(n, ends[-1] + max(STEP, ends[-1] // 50 // STEP * STEP)))
    return tuple(ends[1:])


def spending(t: float) -> float:
    """The share of α that may be spent once a share t of the n draws is made; from 0 to 1.

    One half is Lan and DeMets' form of Pocock's boundaries, which stops early; the other, t², keeps the power of n.
    """
    return 0.5 * math.log1p((math.e - 1) * t) + 0.5 * t**2


@cache
def certifying_counts(n: int, alpha: float, p: float) -> Integers:
    """The fewest votes at each look that certify p_A > p, at level α; one more than the draws where none do."""
    from scipy import stats

    boundaries, spent, drawn = [], 0.0, 0
    law, least = np.ones(1), 0  # of the counts least, least + 1, … of an image not certified so far
    for look in looks(n):
        votes, first, lost = trim(stats.binom.pmf(np.arange(look - drawn + 1), look - drawn, p), NEGLIGIBLE * alpha)
        law, second, also_lost = trim(np.convolve(law, votes), NEGLIGIBLE * alpha)
        least, drawn, spent = least + first + second, look, spent + lost + also_lost
        reached = law[::-1].cumsum()[::-1]  # the chance of each count or more
        open_to = int((spent + reached > alpha * spending(look / n)).sum())
        boundaries.append(min(least + open_to, look + 1))
        spent += float(reached[open_to]) if open_to < len(law) else 0.0
        law = law[:open_to]
    return np.array(boundaries)


def trim(law: NDArray[np.float64], least: float) -> tuple[NDArray[np.float64], int, float]:
    """A law without tails of chances below `least`; how many counts it lost at its beginning, and how much chance."""
    kept = np.flatnonzero(law >= least)
    first, end = int(kept[0]), int(kept[-1]) + 1
    return law[first:end], first, float(law[:first].sum() + law[end:].sum())


@cache
def hopeless_counts(n: int, alpha: float, p: float) -> Integers:
    """The most votes at each look with which p_A > p has a chance below HOPELESS to be certified later; −1 for none.

    After s of d votes the next draw is one for ĉ_A with the chance (s + ½)/(d + 1), the mean of Jeffreys' posterior. So
    the chance C_d(s) of a certificate after d draws is C_{d+1}(s + 1) with that chance, else C_{d+1}(s); it is 1 from a
    look's boundary on.
    """
    ends, boundaries = looks(n), certifying_counts(n, alpha, p)
    most = [n]  # after the last look there is no later one
    chance, least = np.zeros(0), int(boundaries[-1])  # of the counts least, least + 1, …; 0 below, 1 above
    for look, boundary, after in zip(ends[-2::-1], boundaries[-2::-1], ends[:0:-1], strict=True):
        for end in range(after, look, -STEP):
            made = min(STEP, end - look)
            chance, least = np.concatenate([np.zeros(made), chance, np.ones(made)]), least - made
            weight = np.arange(least, least + len(chance)) + 0.5
            for later in range(end, end - made, -1):
                rise = chance[1:] - chance[:-1]
                rise *= weight[: len(rise)]
                chance = chance[:-1] + rise / later
            low, high = int((chance < NEGLIGIBLE).sum()), int((chance <= 1 - NEGLIGIBLE).sum())
            chance, least = chance[low:high], least + low
        chance = chance[: max(0, boundary - least)]
        least = min(least, int(boundary))
        most.append(least + int((chance < HOPELESS).sum()) - 1)  # the chance rises with the count
    return np.array(most[::-1])


@dataclass(frozen=True)
class Schedule:
    """What a count of votes decides at each look: the radius that is certified, and whether drawing stops."""

    looks: tuple[int, ...]
    radii: tuple[float, ...]
    """what is certified with so many of the rising thresholds reached, 0 with none; (thresholds + 1)"""
    certifying: Integers
    """the fewest votes at a look that reach a threshold, (looks, thresholds)"""
    hopeless: Integers
    """the most votes at a look that end the drawing with so many thresholds reached, (looks, thresholds + 1)"""

    def decide(self, look: int, count: ArrayLike, reached: ArrayLike) -> tuple[Integers, NDArray[np.bool_]]:
        """How many thresholds are reached at look number `look`, `reached` of them before; whether drawing stops.

        Broadcasts over the counts and what was reached before.
        """
        now = np.maximum(reached, self.certifying[look].searchsorted(count, side="right"))
        return now, np.asarray(count) <= self.hopeless[look, now]


def make_schedule(radii: Iterable[float], *, sigma: float, n: int, alpha: float) -> Schedule:
    """The schedule of at most n draws that decides 0 and the `radii`, in the units of σ.

    FINER radii per σ are decided besides, as far as the draws for those of interest suffice: no image waits for them. A
    certificate at r says p_A > Φ(r/σ), so that R > r: the radius recorded is r + EDGE, which is what is tested.
    """
    largest = largest_radius(n, alpha, sigma) - EDGE
    of_interest = {0.0, *radii}
    finer = (round(step * sigma / FINER, 12) for step in range(1, int(FINER * largest / sigma) + 1))
    rising = sorted(r for r in of_interest.union(finer) if r < largest)
    thresholds = [float(special.ndtr((r + EDGE) / sigma)) for r in rising]
    certifying = np.maximum.accumulate([certifying_counts(n, alpha, p) for p in thresholds])
    hopeless = [np.full(len(looks(n)), n)]  # beyond the last radius of interest all counts end the drawing
    for r, p in zip(reversed(rising), reversed(thresholds), strict=True):
        hopeless.append(hopeless_counts(n, alpha, p) if r in of_interest else hopeless[-1])
    return Schedule(looks(n), (0.0, *(r + EDGE for r in rising)), certifying.T, np.array(hopeless[::-1]).T)
