"""Confidence intervals over test sets: of shares, of means, of paired differences, and over seeds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtrit

FEWEST = 50  # values, for an interval of a mean or a median: of fewer skewed ones it falls short of its level


def proportion_interval(hits: float, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval for a share measured on `total` test images (Wilson 1927)."""
    low, high = wilson(round(hits) / total, total, level)
    return float(low), float(high)


def wilson(share: ArrayLike, n: ArrayLike, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The bounds of Wilson's score interval for a share of n trials; n need not be whole. Broadcasts."""
    p, n, z = np.asarray(share, float), np.asarray(n, float), ndtri((1 + level) / 2)
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.where(p > 0, centre - half, p), np.where(p < 1, centre + half, p)


def share(hits: ArrayLike) -> dict[str, float] | None:
    """The share of true values with its Wilson interval at 95 %: share, low, high. None where there is no value."""
    hits = np.asarray(hits, bool)
    if not hits.size:
        return None
    low, high = proportion_interval(int(hits.sum()), hits.size)
    return {"share": float(hits.mean()), "low": low, "high": high}


def mean_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float] | None:
    """The interval of the mean of N values: Student's, mean ± t·s/√N, with the skewness removed from its pivot.

    Both ±t go through the inverse of T + cT²/3 + c²T³/27 + c/6, c = skewness/√N (Hall 1992, "On the removal of skewness
    by transformation"). None for fewer than FEWEST values, or where all are equal.
    """
    values = np.asarray(values, float)
    if values.size < FEWEST or np.ptp(values) == 0:
        return None
    n, mean = values.size, float(values.mean())
    rest = values - mean
    deviation = math.sqrt(rest @ rest / n)
    error = deviation / math.sqrt(n - 1)
    c = float(((rest / deviation) ** 3).mean()) / math.sqrt(n)
    t = stdtrit(n - 1, (1 + level) / 2)
    low, high = (3 / c * (np.cbrt(1 + c * (y - c / 6)) - 1) if abs(c) > 1e-6 else y for y in (-t, t))
    return mean - float(high) * error, mean - float(low) * error


def mean_difference(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, *, shares: bool = False
) -> tuple[float, float, float]:
    """The mean of `a` minus that of `b`, each (seeds, N) on the same N images, and its interval for a finite test set.

    NaN where an image has no value: a mean is over the images that have one, then over the seeds. The interval is over
    test sets, for these seeds: Student's, with the standard error by linearisation, each mean being a ratio (Särndal et
    al. 1992, section 5.6). With `shares` the values are 0 or 1, and Bonett and Price's two images are added, one that
    each side alone has (2012): with one seed and no NaN it is their adjusted Wald interval.
    """
    sides = np.asarray(a, float), np.asarray(b, float)
    quantile = stdtrit(sides[0].shape[1] - 1, (1 + level) / 2)
    difference = centre = _mean(sides[0]) - _mean(sides[1])
    if shares:
        added = ([1, 0], [0, 1])
        sides = tuple(np.c_[own, np.tile(two, (len(own), 1))] for own, two in zip(sides, added, strict=True))
        quantile, centre = ndtri((1 + level) / 2), _mean(sides[0]) - _mean(sides[1])
    each = _influence(sides[0]) - _influence(sides[1])
    half = float(quantile) * math.sqrt(np.sum(each**2) / (each.size - (not shares)) / each.size)
    most = 1.0 if shares else math.inf
    return difference, max(centre - half, -most), min(centre + half, most)


def _mean(values: NDArray[np.float64]) -> float:
    """The mean of the values that are there (seeds, N), averaged over seeds."""
    return float(np.nanmean(values, axis=1).mean())


def _influence(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much each image moves the mean of the values that are there (seeds, N), times N; averaged over seeds."""
    rest = np.nan_to_num(values - np.nanmean(values, axis=1, keepdims=True))
    found: NDArray[np.float64] = (rest / (~np.isnan(values)).mean(axis=1, keepdims=True)).mean(axis=0)
    return found


def averaged_share(
    hits: ArrayLike, counted: ArrayLike, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The share of hits among what is counted, averaged over S seeds, with its interval for a finite test set.

    `hits` (..., S, N) and `counted` (..., S, N) say for each seed and each of the same N images whether it is one; a
    hit is counted. Gives share, low and high (...); NaN where a seed counts nothing. The interval is over test sets,
    for these seeds: each image's value is its mean over the seeds. It is Wilson's score interval with the number of
    images that would give the variance found (effective sample size: Dean and Pagano 2015; for a ratio by
    linearisation, Särndal et al. 1992, section 5.6), at most that of S independent test sets. With one seed it is
    Wilson's own.
    """
    hits, counted = np.asarray(hits, float), np.asarray(counted, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = hits.sum(-1) / counted.sum(-1)
        p = shares.mean(-1)
        rest = (hits - shares[..., None] * counted) / counted.mean(-1)[..., None]
        variance = (rest.mean(-2) ** 2).mean(-1)
        least = counted.sum(-1).mean(-1)
        alike = np.where(variance > 0, hits.shape[-1] * p * (1 - p) / variance, least)
        return p, *wilson(p, np.minimum(alike, hits.shape[-2] * least), level)
