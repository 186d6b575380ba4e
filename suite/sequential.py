"""Deciding certified radii with as few draws as they need: pure functions of counts, no torch.

An image's draws come in rounds. After each, R ≥ r is decided for the radii r of interest, that is p_A ≥ Φ(r/σ), and
drawing stops once no such decision is open. Two lower bounds on p_A share the failure probability α:

- a confidence sequence at SHARE · α, valid at every number of draws at once. Against P(vote for ĉ_A) ≤ p stands the
  mixture ∫ q^S (1 − q)^F dπ(q) / (p^S (1 − p)^F) of S votes for ĉ_A and F others, π a Beta(1, ½) law cut to q > p. For
  every P ≤ p it is a supermartingale that starts at 1, so that with probability at most a it ever reaches 1/a
  (Ville 1939; Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic
  confidence sequences"). The bound is the least p that it has not refuted;
- Clopper and Pearson's bound at (1 − SHARE) · α, made once: when all n draws are in.

By the union bound each certificate holds with probability at least 1 − α, whatever decides when to stop. Stopping early
with a radius undecided can only cost that radius, never truth: it happens when the remaining draws would certify it
with a chance below GIVE_UP, given the draws so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special, stats

from suite.statistics import lower_confidence_bound, smallest_n

SHARE = 0.3  # of α, for the sequence: enough to stop early, while n draws keep nearly their full power
GIVE_UP = 0.005
ROUND = 64  # draws, at least; later rounds are 2 % of the draws before


def rounds(n: int) -> Iterator[int]:
    """How many draws there are after each round, up to n."""
    drawn = 0
    while drawn < n:
        drawn = min(n, drawn + max(ROUND, drawn // 50 // ROUND * ROUND))
        yield drawn


def log_evidence(count: ArrayLike, drawn: ArrayLike, p: ArrayLike) -> NDArray[np.float64]:
    """Logarithm of the mixture against P ≤ p after `count` votes of `drawn` draws; 0 < p < 1. Broadcasts."""
    s, p = np.asarray(count, float), np.asarray(p, float)
    f = np.asarray(drawn, float) - s
    with np.errstate(divide="ignore"):
        above = np.log(special.betainc(0.5 + f, 1 + s, 1 - p))
    # of the law itself, the part above p is (1 − p)^½
    mixture = special.betaln(1 + s, 0.5 + f) - special.betaln(1, 0.5) + above - 0.5 * np.log1p(-p)
    return mixture - s * np.log(p) - f * np.log1p(-p)


def refuted(count: ArrayLike, drawn: int, n: int, alpha: float, p: ArrayLike) -> NDArray[np.bool_]:
    """Whether p_A > p is certified after this many draws of at most n. Broadcasts."""
    by_now = np.asarray(log_evidence(count, drawn, p) >= -np.log(SHARE * alpha))
    if drawn < n:
        return by_now
    return by_now | (lower_confidence_bound(count, n, (1 - SHARE) * alpha) >= np.asarray(p, float))


def lower_bound(count: int, drawn: int, n: int, alpha: float) -> float:
    """The lower bound on p_A after `count` votes of `drawn` draws, of at most n; 0 where it is not above ½."""
    bound = lower_confidence_bound(count, n, (1 - SHARE) * alpha) if drawn == n else 0.0
    best = count / (drawn + 0.5)  # the evidence falls in p up to here
    wanted = -np.log(SHARE * alpha)
    if best > 0.5 and log_evidence(count, drawn, 0.5) >= wanted > log_evidence(count, drawn, best):
        root = optimize.brentq(lambda p: float(log_evidence(count, drawn, p)) - wanted, 0.5, best, xtol=1e-12)
        bound = max(float(bound), float(root) - 1e-12)
    return float(bound) if bound > 0.5 else 0.0


def prospect(count: ArrayLike, drawn: int, n: int, alpha: float, p: float) -> NDArray[np.float64]:
    """About the chance that p_A > p will be certified at n, for `drawn` < n draws so far. Broadcasts over counts.

    The share of the votes among the draws to come is taken as beta-distributed, with the mean that Jeffreys' prior
    gives and the variance of both its estimate and its own sampling.
    """
    s = np.asarray(count, float)
    left = n - drawn
    share = np.clip((fewest(n, alpha, p) - s) / left, 0, 1 + 1e-9)
    mean, size = (s + 0.5) / (drawn + 1), 1 / (1 / drawn + 1 / left)
    chance = special.betainc((1 - mean) * size, mean * size, np.maximum(1 - share, 0))
    return np.where(share > 1, 0.0, chance)


@cache
def fewest(n: int, alpha: float, p: float) -> int:
    """The fewest votes of n with which Clopper and Pearson's bound here reaches p; n + 1 where none do."""
    level = (1 - SHARE) * alpha
    count = int(stats.binom.ppf(1 - level, n, p)) + 1  # the least count whose chance of being reached at p is ≤ level
    return count - 1 if stats.binom.sf(count - 2, n, p) <= level else count


def decided(
    count: int, drawn: int, n: int, alpha: float, thresholds: Sequence[float], certified: int
) -> tuple[int, bool]:
    """How many of the rising `thresholds` on p_A are certified now, `certified` of them before; whether to stop."""
    while certified < len(thresholds) and refuted(count, drawn, n, alpha, thresholds[certified]):
        certified += 1
    if certified == len(thresholds) or drawn == n:
        return certified, True
    return certified, bool(prospect(count, drawn, n, alpha, thresholds[certified]) < GIVE_UP)


def smallest_adaptive_n(alpha: float) -> int:
    """The least n that can certify anything."""
    return smallest_n((1 - SHARE) * alpha)
