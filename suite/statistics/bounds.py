"""Bounds on probabilities, and the radii that follow from them.

Cohen, Rosenfeld and Kolter (2019): Clopper-Pearson bounds, certified radii, Predict. "Adversarial Boot Camp", Theorem
3: the L-bound, its probit form, and a certificate of an average from finitely many draws.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaincinv, ndtr, ndtri

Convention = Literal["standard", "paper"]


def lower_confidence_bound(count: ArrayLike, n: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """One-sided Clopper–Pearson lower bound on a binomial proportion, holding with probability 1 − α.

    The α-quantile of Beta(count, n − count + 1), and 0 where count = 0 (Clopper and Pearson 1934). Broadcasts.
    """
    count, n = np.asarray(count, dtype=float), np.asarray(n, dtype=float)
    return np.where(count > 0, betaincinv(np.maximum(count, 1), n - count + 1, alpha), 0.0)


def upper_confidence_bound(count: ArrayLike, n: ArrayLike, alpha: float) -> NDArray[np.float64]:
    """One-sided Clopper–Pearson upper bound on a binomial proportion, holding with probability 1 − α.

    The (1 − α)-quantile of Beta(count + 1, n − count), and 1 where count = n. Broadcasts.
    """
    return 1 - lower_confidence_bound(np.asarray(n) - np.asarray(count), n, alpha)


def certified_radius(count: ArrayLike, n: ArrayLike, alpha: float, sigma: float) -> NDArray[np.float64]:
    """R = σ Φ⁻¹(p_A) where the lower bound p_A exceeds ½, else 0: abstain (Cohen et al. 2019, Theorem 1, eq. 3)."""
    p_a = lower_confidence_bound(count, n, alpha)
    return np.where(p_a > 0.5, sigma * ndtri(np.maximum(p_a, 0.5)), 0.0)


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
    from scipy import stats  # takes seconds, which whoever reads rows does not need

    below = stats.binom.isf(alpha, n, ndtr(np.asarray(radius, float) / sigma))
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


def mean_p_a(radius: ArrayLike, correct: ArrayLike, sigma: float) -> float:
    """The mean of p_A · [correct] over all images, p_A = Φ(R/σ) the bound of a certificate; abstentions are wrong.

    No image counts for more than 1, whereas R is unbounded: why ACR can be led by few images (Sun et al., "Average
    certified radius is a poor metric for randomized smoothing", 2025).
    """
    return float(np.mean(ndtr(np.asarray(radius, float) / sigma) * np.asarray(correct, bool)))


def l_bound(v: ArrayLike, k: int, sigma: float) -> NDArray[np.float64]:
    """The radius σ√(π/2)·(v_(k) − v_(k+1)), v_(i) the i-th largest of v (..., K): "Adversarial Boot Camp", Theorem 3.

    Where v is the average over N(0, σ²I) noise of a function into [0,1]^K, no perturbation of a smaller ℓ2 norm
    changes which k classes lead.
    """
    ordered = np.sort(np.asarray(v, float), axis=-1)[..., ::-1]
    found: NDArray[np.float64] = sigma * math.sqrt(math.pi / 2) * (ordered[..., k - 1] - ordered[..., k])
    return found


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


def fewest_votes(alpha: float) -> int:
    """The fewest votes of which `predict` names a class where all agree: n equal ones have the p-value 2·½ⁿ."""
    return math.ceil(1 - math.log2(alpha))


def predict(counts: ArrayLike, alpha: float) -> int:
    """Cohen et al.'s Predict (2019, section 3.2.1): the class with the most votes, or −1, abstain.

    `counts` (K,) are the votes by class. It abstains where the two-sided binomial test at level α does not tell the
    leading class from the second; an answer is the class most probable under noise with probability 1 − α at least.
    """
    counts = np.asarray(counts)
    first = int(counts.argmax())
    second = int(np.delete(counts, first).max(initial=0))
    from scipy.stats import binomtest

    test = binomtest(int(counts[first]), int(counts[first]) + second, 0.5)
    return first if test.pvalue <= alpha else -1
