"""The statistics behind a certificate and behind a board: pure functions of numbers and arrays, no torch.

Symbols follow Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing" (2019):
n draws, of which `count` voted for the class ĉ_A; α the failure probability; σ the noise's standard deviation and R
the ℓ2 radius, both in pixel units ([0,1] images).
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Convention = Literal["standard", "paper"]


def lower_confidence_bound(count: ArrayLike, n: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """One-sided Clopper–Pearson lower bound on a binomial proportion, holding with probability 1 − α.

    The α-quantile of Beta(count, n − count + 1), and 0 where count = 0 (Clopper and Pearson 1934). Broadcasts.
    """
    count, n = np.asarray(count, dtype=float), np.asarray(n, dtype=float)
    return np.where(count > 0, stats.beta.ppf(alpha, np.maximum(count, 1), n - count + 1), 0.0)


def certified_radius(count: ArrayLike, n: ArrayLike, alpha: float, sigma: float) -> NDArray[np.float64]:
    """R = σ Φ⁻¹(p_A) where the lower bound p_A exceeds ½, else 0: abstain (Cohen et al. 2019, Theorem 1, eq. 3)."""
    p_a = lower_confidence_bound(count, n, alpha)
    return np.where(p_a > 0.5, sigma * stats.norm.ppf(np.maximum(p_a, 0.5)), 0.0)


def smallest_n(alpha: float) -> int:
    """The fewest draws that can certify anything: the least n with α^(1/n) > ½, the bound when all n votes agree."""
    return math.floor(math.log(alpha) / math.log(0.5)) + 1


def largest_radius(n: int, alpha: float, sigma: float) -> float:
    """The radius when all n votes agree; no certificate from n draws at level α is larger."""
    return float(certified_radius(n, n, alpha, sigma))


def certified_accuracy(
    radius: ArrayLike, correct: ArrayLike, abstained: ArrayLike, r: float, convention: Convention = "standard"
) -> float:
    """Certified accuracy at radius r from per-image arrays of equal length; NaN where there is nothing to count.

    `standard` (Cohen et al.): correct and R ≥ r, abstentions count as wrong. `paper` (Adversarial Boot Camp,
    Figure 1): abstentions leave the denominator, and R > r.
    """
    radius, correct, abstained = np.asarray(radius), np.asarray(correct, bool), np.asarray(abstained, bool)
    if convention == "standard":
        hits, total = correct & ~abstained & (radius >= r), len(radius)
    else:
        hits, total = correct & ~abstained & (radius > r), int((~abstained).sum())
    return float(hits.sum() / total) if total else math.nan


def average_certified_radius(radius: ArrayLike, correct: ArrayLike) -> float:
    """ACR, the mean of R · [correct] over all images, abstentions at 0 (Zhai et al., MACER, 2020)."""
    return float(np.mean(np.asarray(radius, float) * np.asarray(correct, bool)))


def proportion_interval(hits: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share measured on `total` test images (Wilson 1927)."""
    interval = stats.binomtest(round(hits), total).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)
