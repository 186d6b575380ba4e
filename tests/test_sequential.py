"""Adaptive sampling: the confidence sequence against what it must be, its coverage, and what it saves."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from suite.sequential import (
    GIVE_UP,
    decided,
    fewest,
    log_evidence,
    lower_bound,
    prospect,
    refuted,
    rounds,
    smallest_adaptive_n,
)
from suite.statistics import lower_confidence_bound


@pytest.mark.parametrize(("count", "drawn", "p"), [(5, 5, 0.5), (60, 64, 0.8), (64, 64, 0.99), (120, 200, 0.7)])
def test_the_evidence_is_the_mixture_that_it_says(count: int, drawn: int, p: float) -> None:
    law = stats.beta(1, 0.5)

    def ratio(q: float) -> float:
        return float(law.pdf(q) * (q / p) ** count * ((1 - q) / (1 - p)) ** (drawn - count))

    mixture = integrate.quad(ratio, p, 1, limit=500)[0] / law.sf(p)
    assert float(log_evidence(count, drawn, p)) == pytest.approx(np.log(mixture), abs=1e-5)


@pytest.mark.parametrize("p", [0.5, 0.84, 0.999])
def test_the_evidence_is_a_martingale_at_p_and_falls_below_it(p: float) -> None:
    for drawn in (1, 64, 500):
        counts = np.arange(drawn + 1)
        evidence = np.exp(log_evidence(counts, drawn, p))
        assert float(stats.binom.pmf(counts, drawn, p) @ evidence) == pytest.approx(1, rel=1e-6)
        assert float(stats.binom.pmf(counts, drawn, p - 0.05) @ evidence) < 1


def simulate(
    p: NDArray[np.float64], thresholds: list[float], n: int, alpha: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For images whose votes have probability p: how many thresholds are certified, and after how many draws."""
    random = np.random.default_rng(0)
    certified, draws = np.zeros(len(p), int), np.zeros(len(p), int)
    for i, probability in enumerate(p):
        count = before = 0
        for drawn in rounds(n):
            count, before = count + random.binomial(drawn - before, probability), drawn
            certified[i], stop = decided(count, drawn, n, alpha, thresholds, certified[i])
            if stop:
                break
        draws[i] = before
    return certified, draws


@pytest.mark.parametrize("threshold", [0.5, 0.9, 0.995])
def test_wrong_certificates_stay_below_alpha_at_the_threshold_itself(threshold: float) -> None:
    alpha, total = 0.05, 2_000
    certified, draws = simulate(np.full(total, threshold - 1e-9), [threshold], 2_000, alpha)
    assert certified.sum() <= stats.binom.ppf(0.999, total, alpha)
    assert certified.sum() > 0.1 * alpha * total  # α is used, not wasted
    assert draws.mean() < 2_000


def test_a_certificate_of_one_threshold_is_one_of_all_below_it() -> None:
    certified, draws = simulate(np.full(50, 0.97), [0.5, 0.8, 0.9, 0.99], 5_000, 0.001)
    assert (certified == 3).all()
    assert draws.mean() < 1_500


def test_clear_images_take_few_draws_and_unclear_ones_all() -> None:
    assert simulate(np.array([0.05]), [0.5], 100_000, 0.001)[1][0] == 64
    assert simulate(np.array([1.0]), [0.5], 100_000, 0.001)[1][0] == 64
    assert simulate(np.full(20, 0.515), [0.5], 10_000, 0.001)[1].mean() > 4_000
    # four standard errors above what n draws need: nothing may be given up
    needed = fewest(10_000, 0.001, 0.9) / 10_000
    certified, _ = simulate(np.full(20, needed + 0.012), [0.9], 10_000, 0.001)
    assert certified.all()


def test_the_bound_is_where_refutation_ends() -> None:
    for count, drawn in [(64, 64), (190, 200), (1_500, 2_000), (1_990, 2_000)]:
        bound = lower_bound(count, drawn, 2_000, 0.001)
        assert refuted(count, drawn, 2_000, 0.001, bound - 1e-6)
        assert not refuted(count, drawn, 2_000, 0.001, bound + 1e-6)
    assert lower_bound(30, 64, 2_000, 0.001) == 0
    # all n draws in: never below Clopper and Pearson's at its share of α, never above theirs at all of it
    for count in (1_100, 1_900, 2_000):
        bound = lower_bound(count, 2_000, 2_000, 0.001)
        assert lower_confidence_bound(count, 2_000, 0.0007) - 1e-9 <= bound
        assert bound <= lower_confidence_bound(count, 2_000, 0.001)


def test_the_fewest_votes_that_certify() -> None:
    for p in (0.5, 0.9, 0.99):
        count = fewest(1_000, 0.001, p)
        assert lower_confidence_bound(count, 1_000, 0.0007) >= p > lower_confidence_bound(count - 1, 1_000, 0.0007)
    assert fewest(10, 0.001, 0.9) == 11


def test_the_prospect_is_the_chance_that_sampling_on_certifies() -> None:
    random = np.random.default_rng(1)
    for count, drawn, p in [(850, 1_000, 0.84), (590, 640, 0.9), (190, 192, 0.99)]:
        chance = float(prospect(count, drawn, 10_000, 0.001, p))
        posterior = random.beta(count + 0.5, drawn - count + 0.5, 200_000)
        final = count + random.binomial(10_000 - drawn, posterior)
        assert chance == pytest.approx(float((final >= fewest(10_000, 0.001, p)).mean()), abs=0.02)
    assert prospect(300, 640, 10_000, 0.001, 0.9) < GIVE_UP
    assert prospect(9_999, 9_999, 10_000, 0.001, 0.9) == 1


def test_rounds_end_at_n_and_are_blocks_before() -> None:
    for n in (1, 64, 100, 100_000):
        ends = list(rounds(n))
        assert ends[-1] == n
        assert all(end % 64 == 0 for end in ends[:-1])
        assert ends == sorted(set(ends))


def test_the_least_n_certifies_when_all_votes_agree_and_one_fewer_does_not() -> None:
    n = smallest_adaptive_n(0.001)
    assert lower_bound(n, n, n, 0.001) > 0.5
    assert lower_bound(n - 1, n - 1, n - 1, 0.001) == 0
