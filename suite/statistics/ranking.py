"""Ranks as far as they are certain: a rank is a range, and rows whose difference is within noise share it.

Simultaneous confidence sets for ranks (Mogstad, Romano, Shaikh and Wilhelm, "Inference for ranks with applications to
mobility across neighbourhoods and academic achievement across countries", Review of Economic Studies 2024, section 3),
with Holm's step-down procedure (1979) for the family of all pairs, whatever the dependence between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from suite.statistics.intervals import FEWEST


def rank_ranges(z: ArrayLike, level: float = 0.95) -> list[tuple[int, int]]:
    """The best and the worst rank that each of K rows can have, all of them together at `level`.

    `z` (K, K) is how many standard errors row i is better than row j, with z[j, i] = −z[i, j]; NaN where two cannot be
    compared. A row's range begins after those that are significantly better and ends before those that are worse.
    """
    scores: NDArray[np.float64] = np.nan_to_num(np.asarray(z, float))
    first, second = np.triu_indices(len(scores), 1)
    p = 2 * ndtr(-np.abs(scores[first, second]))
    low = np.flatnonzero(p <= 1 - level)  # no other is ever refused
    order = low[np.argsort(p[low])]
    refused = np.zeros(len(p), bool)
    refused[order] = np.cumprod(p[order] <= (1 - level) / (len(p) - np.arange(len(order)))).astype(bool)
    differs = np.zeros(scores.shape, bool)
    differs[first, second] = differs[second, first] = refused
    better, worse = (differs & (scores < 0)).sum(axis=1), (differs & (scores > 0)).sum(axis=1)
    return [(1 + int(b), len(scores) - int(w)) for b, w in zip(better, worse, strict=True)]


def z_of_means(values: ArrayLike) -> NDArray[np.float64]:
    """The z of the differences of K means over the same N images, from each image's value (K, N).

    NaN for fewer than FEWEST images, and where the difference hardly varies beside its terms: rounding hides how much.
    """
    each = np.asarray(values, float)
    if each.shape[1] < FEWEST:
        return np.full((len(each), len(each)), np.nan)
    covariance = np.atleast_2d(np.cov(each)) / each.shape[1]
    variance = np.diag(covariance)
    terms = variance[:, None] + variance
    return quotient(each.mean(axis=1), np.where(terms - 2 * covariance > 1e-12 * terms, terms - 2 * covariance, np.nan))


def z_of_shares(hits: ArrayLike) -> NDArray[np.float64]:
    """Likewise of K shares of the same N images (K, N), with Bonett and Price's two images added to each pair (2012).

    An image's value may lie between 0 and 1: its mean over seeds.
    """
    each = np.asarray(hits, float)
    n = each.shape[1] + 2
    products, sums = each @ each.T, each.sum(axis=1)
    squares = np.diag(products)
    spread = squares[:, None] + squares - 2 * products + 2  # the sum of the squared differences, the two images' too
    share = (sums[:, None] - sums) / n
    z: NDArray[np.float64] = share / np.sqrt((spread / n - share**2) / n)
    return z


def z_of_estimates(estimates: ArrayLike, errors: ArrayLike) -> NDArray[np.float64]:
    """Likewise of K estimates (K) on different images, or of images unknown, from their standard errors (K).

    On the same images this takes the differences to be less certain than they are, as far as the rows go together.
    """
    variance = np.square(np.asarray(errors, float))
    return quotient(np.asarray(estimates, float), variance[:, None] + variance)


def quotient(means: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Differences over standard errors: 0 between equal means, infinite where others are known not to vary at all."""
    difference = means[:, None] - means
    with np.errstate(divide="ignore", invalid="ignore"):
        z: NDArray[np.float64] = np.where(difference == 0, 0.0, difference / np.sqrt(variance.clip(0)))
    return z
