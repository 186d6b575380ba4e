"""Ranks as ranges: Holm's procedure by hand, known z, and coverage under no difference at all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.intervals import paired_interval
from scipy import stats

from suite.statistics.ranking import rank_ranges, z_of_estimates, z_of_means, z_of_shares


def test_holms_thresholds_by_hand() -> None:
    """Three pairs at 95 %: the smallest p must be at most 0.05/3, the next 0.05/2, the last 0.05."""

    def z_of(p: float) -> float:
        return float(stats.norm.isf(p / 2))

    def ranges(first: float, second: float, last: float) -> list[tuple[int, int]]:
        """Of rows A, B, C, from the p of A–C, A–B and B–C."""
        ab, ac, bc = z_of(second), z_of(first), z_of(last)
        return rank_ranges([[0, ab, ac], [-ab, 0, bc], [-ac, -bc, 0]])

    assert ranges(0.0166, 0.0249, 0.0499) == [(1, 1), (2, 2), (3, 3)]
    assert ranges(0.0166, 0.0249, 0.0501) == [(1, 1), (2, 3), (2, 3)]
    assert ranges(0.0166, 0.0251, 0.0499) == [(1, 2), (1, 3), (2, 3)]  # B–C passes its own, but not after A–B has not
    assert ranges(0.0167, 0.0001, 0.0001) == [(1, 1), (2, 2), (3, 3)]  # sorted before they are compared
    assert ranges(0.0168, 0.0169, 0.0170) == [(1, 3)] * 3


def test_rows_that_cannot_be_compared_share_every_rank() -> None:
    nothing = math.nan
    assert rank_ranges([[0, nothing, 9], [nothing, 0, nothing], [-9, nothing, 0]]) == [(1, 2), (1, 3), (2, 3)]
    assert rank_ranges([[0.0]]) == [(1, 1)]
    assert rank_ranges(np.zeros((0, 0))) == []


def test_z_of_means_is_that_of_the_paired_test() -> None:
    values = np.random.default_rng(0).normal(size=(4, 300)) + np.linspace(0, 0.5, 4)[:, None]
    z = z_of_means(values)
    for i in range(4):
        for j in range(4):
            if i != j:
                assert z[i, j] == pytest.approx(stats.ttest_rel(values[i], values[j]).statistic)
    assert not z.diagonal().any()


def test_z_of_shares_is_that_of_the_paired_interval() -> None:
    """The interval excludes 0 by as much as z exceeds the normal quantile, whichever images are added."""
    hits = np.random.default_rng(1).random((3, 250)) < np.array([[0.2], [0.5], [0.55]])
    z = z_of_shares(hits)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        only_i, only_j = int((hits[i] & ~hits[j]).sum()), int((hits[j] & ~hits[i]).sum())
        low, high = paired_interval(only_i, only_j, 250)
        assert z[i, j] == pytest.approx((low + high) / (high - low) * stats.norm.ppf(0.975))
    assert z_of_shares(np.zeros((2, 9))).tolist() == [[0, 0], [0, 0]]  # no image tells them apart
    assert 0 < z_of_shares([[1] * 5, [0] * 5])[0, 1] < math.inf  # five images are not certainty


def test_z_of_estimates_is_the_difference_in_standard_errors() -> None:
    z = z_of_estimates([0.7, 0.4, 0.4], [0.03, 0.04, 0.0])
    assert z[0, 1] == pytest.approx(0.3 / 0.05) == -z[1, 0]
    assert z[1, 2] == 0
    assert z_of_estimates([1.0, 0.0], [0, 0])[0, 1] == math.inf


@pytest.mark.parametrize("rows", [2, 6])
def test_equal_rows_share_all_ranks_in_at_least_95_of_100_cases(rows: int) -> None:
    """Correlated, as rows on the same images are. Of 2,000 cases 95 % within three standard deviations, or more."""
    generator = np.random.default_rng(2)
    wrong = 0
    for _ in range(2_000):
        values = generator.normal(size=(rows, 120)) + generator.normal(size=120)
        wrong += rank_ranges(z_of_means(values)) != [(1, rows)] * rows
    assert 2_000 * 0.01 < wrong < 2_000 * 0.05 + 3 * math.sqrt(2_000 * 0.05 * 0.95)
