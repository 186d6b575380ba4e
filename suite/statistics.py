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
from scipy.special import ndtri, stdtrit

Convention = Literal["standard", "paper"]
FEWEST = 50  # values, for an interval of a mean or a median: of fewer skewed ones it falls short of its level


def lower_confidence_bound(count: ArrayLike, n: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """One-sided Clopper–Pearson lower bound on a binomial proportion, holding with probability 1 − α.

    The α-quantile of Beta(count, n − count + 1), and 0 where count = 0 (Clopper and Pearson 1934). Broadcasts.
    """
    count, n = np.asarray(count, dtype=float), np.asarray(n, dtype=float)
    return np.where(count > 0, stats.beta.ppf(alpha, np.maximum(count, 1), n - count + 1), 0.0)


def upper_confidence_bound(count: ArrayLike, n: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """One-sided Clopper–Pearson upper bound on a binomial proportion, holding with probability 1 − α.

    The (1 − α)-quantile of Beta(count + 1, n − count), and 1 where count = n. Broadcasts.
    """
    return 1 - lower_confidence_bound(np.asarray(n) - np.asarray(count), n, alpha)


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


def smallest_count(radius: ArrayLike, n: int, alpha: float, sigma: float) -> NDArray[np.int64]:
    """The fewest of n votes that certify a radius ≥ 0; above n where no count does.

    `certified_radius` the other way round. The bound on k votes reaches p = Φ(R/σ) where P(Bin(n, p) ≥ k) ≤ α, so k is
    one more than the binomial's upper α-quantile.
    """
    below = stats.binom.isf(alpha, n, stats.norm.cdf(np.asarray(radius, float) / sigma))
    return np.asarray(below, np.int64) + 1


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
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size)
    c = float(((values - mean) ** 3).mean() / values.std() ** 3) / math.sqrt(values.size)
    t = stdtrit(values.size - 1, (1 + level) / 2)
    low, high = (3 / c * (np.cbrt(1 + c * (y - c / 6)) - 1) if abs(c) > 1e-6 else y for y in (-t, t))
    return mean - float(high) * error, mean - float(low) * error


def mean_difference(
    a: ArrayLike, b: ArrayLike, level: float = 0.95, *, shares: bool = False
) -> tuple[float, float, float]:
    """The mean of `a` minus that of `b`, each (seeds, N) on the same N images, and its interval for a finite test set.

    NaN where an image has no value: a mean is over the images that have one, then over the seeds. The interval is over
    test sets, for these seeds: Student's, with the standard error by linearisation, each mean being a ratio (Särndal et
    al. 1992, section 5.6). With `shares` the values are 0 or 1, and Bonett and Price's two images are added, one that
    each side alone has: with one seed and no NaN it is `paired_interval`.
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
    return (rest / (~np.isnan(values)).mean(axis=1, keepdims=True)).mean(axis=0)


def paired_interval(only_a: int, only_b: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The interval for the difference p_A − p_B of two shares measured on the same `total` > 0 images.

    Only `only_a` and `only_b` count, the images that one has and the other does not. Adjusted Wald interval (Bonett and
    Price 2012): each discordant count gets one more, the total two, so that it keeps its level for small counts too.
    """
    a, b = (only_a + 1) / (total + 2), (only_b + 1) / (total + 2)
    half = float(stats.norm.ppf((1 + level) / 2)) * math.sqrt((a + b - (a - b) ** 2) / (total + 2))
    return max(a - b - half, -1.0), min(a - b + half, 1.0)


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


def l_bound(v: ArrayLike, k: int, sigma: float) -> NDArray[np.float64]:
    """The radius σ√(π/2)·(v_(k) − v_(k+1)), v_(i) the i-th largest of v (..., K): "Adversarial Boot Camp", Theorem 3.

    Where v is the average over N(0, σ²I) noise of a function into [0,1]^K, no perturbation of a smaller ℓ2 norm
    changes which k classes lead.
    """
    ordered = np.sort(np.asarray(v, float), axis=-1)[..., ::-1]
    return sigma * math.sqrt(math.pi / 2) * (ordered[..., k - 1] - ordered[..., k])


NEAREST = 1e-12  # to 0 and 1: nearer to 1 the rounding of float64 shows in Φ⁻¹
BOLDEST = 0.9  # share of the capital that a bet risks, at most
RIVALS = 20  # classes whose lead is bounded one by one; those behind them count as one, at each draw the likeliest


def probit_bound(v: ArrayLike, k: int, sigma: float) -> NDArray[np.float64]:
    """The radius σ/2·(Φ⁻¹(v_(k)) − Φ⁻¹(v_(k+1))): the same premise as `l_bound`, never smaller, exact on half-spaces.

    Φ⁻¹ of a component is 1/σ-Lipschitz (Salman et al. 2019, Lemma 2; Levine et al. 2020), so that none of the k leading
    ones meets one of the others nearer. Probabilities are held within [10⁻¹², 1 − 10⁻¹²], which only lowers the radius:
    at most 7.03σ.
    """
    ordered = np.sort(np.asarray(v, float), axis=-1)[..., ::-1]
    z = ndtri(ordered[..., k - 1 : k + 1].clip(NEAREST, 1 - NEAREST))
    return np.maximum(sigma / 2 * (z[..., 0] - z[..., 1]), l_bound(v, k, sigma))


def least_mean_bound(values: ArrayLike, alpha: float) -> float:
    """A lower confidence bound on the least of J means, holding with probability 1 − α, whatever J is.

    `values` (J, n) are n independent draws of J numbers in [0,1], which may depend on each other. Each mean is bounded
    by betting on its draws: that it is m is rejected if a capital that grows by 1 + λᵢ(xᵢ − m) has ever been 1/α, with
    λᵢ chosen from the draws before (Waudby-Smith and Ramdas 2023, the lower side of hedged capital for a fixed n). The
    least of these bounds exceeds the least mean only if that mean's own bound does.
    """
    x = np.asarray(values, float)
    count = np.arange(1, x.shape[1] + 1)
    mean = (0.5 + x.cumsum(axis=1)) / (count + 1)
    variance = (0.25 + ((x - mean) ** 2).cumsum(axis=1)) / (count + 1)
    before = np.insert(variance, 0, 0.25, axis=1)[:, :-1]
    bets = np.sqrt(2 * math.log(1 / alpha) / (x.shape[1] * before))
    low, high = 0.0, 1.0
    for _ in range(30):
        m = (low + high) / 2
        capital = np.log1p(np.minimum(bets, BOLDEST / m) * (x - m)).cumsum(axis=1).max(axis=1)
        rejected = capital >= math.log(1 / alpha)
        if rejected.all():
            low = m
        else:
            high, x, bets = m, x[~rejected], bets[~rejected]  # the others' bounds are above
    return low


def soft_certificate(p: ArrayLike, k: int, alpha: float, sigma: float) -> tuple[float, list[int]]:
    """A radius within which the same k classes lead the average of softmax, with probability 1 − α, and these classes.

    `p` (n, K) are the probabilities, of sum 1, at n > 1 independent draws x + η, K > k; the radius is 0 where none is
    shown. A tenth of the draws chooses the classes, and the others bound their lead, so that no α is spent on the
    choice. For i among them and j among the rest Φ⁻¹(E pᵢ) − Φ⁻¹(E pⱼ) ≥ 2 Φ⁻¹(E (1 + pᵢ − pⱼ)/2), as E pᵢ + E pⱼ ≤ 1
    and Φ⁻¹ is flattest at ½. So the radius of `probit_bound` is at least σ Φ⁻¹ of the least of these means.
    """
    p = np.asarray(p, float)
    first = math.ceil(len(p) / 10)
    order = np.argsort(-p[:first].mean(axis=0), kind="stable")
    chosen, rivals, rest = np.split(p[first:, order].T, [k, k + RIVALS])
    rivals = np.vstack([rivals, rest.max(axis=0, keepdims=True)]) if len(rest) else rivals
    leads = chosen[:, None] - rivals
    mean = least_mean_bound((1 + leads.reshape(-1, leads.shape[-1])) / 2, alpha)
    return sigma * float(ndtri(max(mean, 0.5))), order[:k].tolist()


def predict(counts: ArrayLike, alpha: float) -> int:
    """Cohen et al.'s Predict (2019, section 3.2.1): the class with the most votes, or −1, abstain.

    `counts` (K,) are the votes by class. It abstains where the two-sided binomial test at level α does not tell the
    leading class from the second; an answer is the class most probable under noise with probability 1 − α at least.
    """
    counts = np.asarray(counts)
    first = int(counts.argmax())
    second = int(np.delete(counts, first).max(initial=0))
    test = stats.binomtest(int(counts[first]), int(counts[first]) + second, 0.5)
    return first if test.pvalue <= alpha else -1
