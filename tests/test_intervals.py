"""Confidence intervals, against statsmodels, closed forms and the papers that they are from."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.intervals import paired_interval
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from suite.statistics.intervals import (
    FEWEST,
    averaged_share,
    mean_difference,
    mean_interval,
    proportion_interval,
    share,
)


def test_interval_is_wilsons() -> None:
    z, p, n = stats.norm.ppf(0.975), 0.3, 200
    centre, half = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert proportion_interval(60, 200) == pytest.approx(expected)


def test_the_interval_of_the_mean_of_symmetric_values_equals_statsmodels() -> None:
    half = np.random.default_rng(0).exponential(size=FEWEST // 2)
    values = np.r_[half, 3 - half]
    assert mean_interval(values) == pytest.approx(DescrStatsW(values).tconfint_mean(0.05))
    assert mean_interval(values, 0.8) == pytest.approx(DescrStatsW(values).tconfint_mean(0.2))
    assert mean_interval(values[1:]) is None
    assert mean_interval(np.full(100, 0.1)) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_the_interval_of_the_mean_of_skewed_values_has_halls_pivot_at_students_quantiles(sign: int) -> None:
    values = sign * np.random.default_rng(0).exponential(size=FEWEST)
    interval = mean_interval(values)
    assert interval is not None
    n, deviations = FEWEST, values - values.mean()
    c = np.mean(deviations**3) / np.mean(deviations**2) ** 1.5 / math.sqrt(n)
    pivots = [(values.mean() - bound) / (values.std(ddof=1) / math.sqrt(n)) for bound in interval]
    quantile = stats.t.ppf(0.975, n - 1)
    assert [T + c * T**2 / 3 + c**2 * T**3 / 27 + c / 6 for T in pivots] == pytest.approx([quantile, -quantile])
    assert (interval[1] - values.mean() > values.mean() - interval[0]) == (sign == 1)  # longer where the tail is


def test_the_interval_of_a_difference_is_students_where_every_image_has_a_value() -> None:
    a, b = np.random.default_rng(0).exponential(size=(2, 60))
    theirs = stats.ttest_rel(a, b).confidence_interval(0.9)
    assert mean_difference([a], [b], 0.9) == pytest.approx((a.mean() - b.mean(), theirs.low, theirs.high))


def test_the_interval_of_a_difference_where_some_images_have_no_value_is_that_of_the_jackknife() -> None:
    """Two seeds of one side and one of the other: each image in turn is left out, and all computed again."""
    generator = np.random.default_rng(0)
    a, b = generator.exponential(size=(2, 400)), generator.exponential(size=(1, 400))
    a[generator.random(a.shape) < 0.3], b[generator.random(b.shape) < 0.2] = np.nan, np.nan

    def difference(kept: np.ndarray) -> float:
        return float(np.nanmean(a[0, kept]) + np.nanmean(a[1, kept])) / 2 - float(np.nanmean(b[0, kept]))

    without = np.array([difference(np.arange(400) != i) for i in range(400)])
    half = stats.t.ppf(0.975, 399) * math.sqrt(399 / 400 * np.sum((without - without.mean()) ** 2))
    found, low, high = mean_difference(a, b)
    assert found == pytest.approx(difference(np.arange(400) >= 0))
    assert (low, high) == pytest.approx((found - half, found + half), rel=0.01)


def test_the_interval_of_a_difference_of_shares_is_bonett_and_prices() -> None:
    for both, only_a, only_b, neither in [(20, 9, 3, 28), (60, 0, 0, 0), (0, 60, 0, 0)]:
        a = np.repeat([1.0, 1, 0, 0], [both, only_a, only_b, neither])
        b = np.repeat([1.0, 0, 1, 0], [both, only_a, only_b, neither])
        difference, *interval = mean_difference([a], [b], shares=True)
        assert difference == pytest.approx((only_a - only_b) / a.size)
        assert interval == pytest.approx(paired_interval(only_a, only_b, a.size))


def test_a_share_averaged_over_seeds_is_known_no_better_than_from_as_many_test_sets() -> None:
    """Two seeds that err on different images: the variance of their mean is that of 20 images, of 8 that were seen."""
    hits = np.array([[1, 1, 0, 0], [0, 0, 1, 0]])
    share, low, high = averaged_share(hits, np.ones_like(hits))
    assert (share, low, high) == pytest.approx((3 / 8, *proportion_confint(3, 8, method="wilson")))
    opposite = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])  # no variance at all: as one seed's four images
    _, low, high = averaged_share(opposite, np.ones_like(opposite))
    assert (low, high) == pytest.approx(proportion_confint(2, 4, method="wilson"))


def test_a_share_comes_with_its_interval() -> None:
    low, high = proportion_confint(3, 4, method="wilson")
    assert share([True, False, True, True]) == pytest.approx({"share": 0.75, "low": low, "high": high})
    assert share([]) is None


def test_a_difference_of_means_beyond_one_is_no_share() -> None:
    a, b = np.linspace(5, 7, 60)[None], np.linspace(0, 1, 60)[None]
    difference, low, high = mean_difference(a, b)
    assert difference == pytest.approx(5.5)
    assert low > 5
    assert high > low


def test_each_seed_counts_the_images_that_it_has_from_its_own_mean() -> None:
    """An image moves the mean of a seed by its distance from it, over the number of images that the seed has."""
    whole = np.random.default_rng(0).normal(size=80)
    half = np.where(np.arange(80) < 20, whole + 3, np.nan)
    moves = [(whole - whole.mean()) / 80 / 2 + np.where(np.isnan(half), 0, half - half[:20].mean()) / 20 / 2]
    error = math.sqrt(np.square(moves).sum() * 80 / 79)
    difference, low, high = mean_difference(np.stack([whole, half]), np.zeros((2, 80)))
    assert difference == pytest.approx((whole.mean() + half[:20].mean()) / 2)
    t = stats.t.ppf(0.975, 79)
    assert (low, high) == pytest.approx((difference - t * error, difference + t * error))


def test_a_difference_of_shares_stays_above_minus_one() -> None:
    assert paired_interval(0, 50, 50)[0] == mean_difference(np.zeros((1, 50)), np.ones((1, 50)), shares=True)[1] == -1
