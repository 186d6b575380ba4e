"""Bounds, radii and shares against closed forms, an independent library and published logs."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from suite.statistics import (
    FEWEST,
    average_certified_radius,
    averaged_share,
    certified_accuracy,
    certified_radius,
    l_bound,
    largest_radius,
    lower_confidence_bound,
    mean_difference,
    mean_interval,
    paired_interval,
    predict,
    proportion_interval,
    share,
    smallest_n,
    upper_confidence_bound,
)

PUBLISHED = Path(__file__).parents[2] / "shared" / "data" / "published"


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("n", [1, 10, 1_000, 100_000])
def test_clopper_pearson_equals_statsmodels(n: int, alpha: float) -> None:
    counts = np.unique(np.linspace(0, n, 101).astype(int))
    theirs = [proportion_confint(int(k), n, alpha=2 * alpha, method="beta")[0] for k in counts]
    theirs = np.nan_to_num(theirs)  # statsmodels gives NaN at count 0, where the bound is 0
    np.testing.assert_allclose(lower_confidence_bound(counts, n, alpha), theirs, rtol=1e-9)


def test_clopper_pearson_is_the_proportion_under_which_the_count_has_probability_alpha() -> None:
    for count, n in [(1, 10), (60, 100), (998, 1_000)]:
        bound = lower_confidence_bound(count, n, 0.01)
        assert stats.binom.sf(count - 1, n, bound) == pytest.approx(0.01, rel=1e-6)
    assert lower_confidence_bound(1_000, 1_000, 0.001) == pytest.approx(0.001 ** (1 / 1_000), rel=1e-12)


def test_the_upper_bound_is_the_proportion_over_which_the_count_has_probability_alpha() -> None:
    for count, n in [(0, 50), (3, 50), (49, 50)]:
        bound = upper_confidence_bound(count, n, 0.05)
        assert stats.binom.cdf(count, n, bound) == pytest.approx(0.05, rel=1e-6)
        theirs = proportion_confint(count, n, alpha=0.1, method="beta")[1]
        assert bound == pytest.approx(1 - 0.05 ** (1 / 50) if count == 0 else theirs, rel=1e-9)
    assert upper_confidence_bound(7, 7, 0.05) == 1


def test_predict_answers_where_the_two_leaders_differ_significantly() -> None:
    assert predict([1, 0, 20, 3], 0.001) == 2  # 3 or fewer of 23: 2 · 2,048/2²³ = 0.0005
    assert predict([1, 0, 19, 3], 0.001) == 2  # 2 · 1,794/2²² = 0.0009
    assert predict([1, 0, 18, 3], 0.001) == -1  # 2 · 1,562/2²¹ = 0.0015
    assert predict([11], 0.001) == 0  # 2/2¹¹
    assert predict([10], 0.001) == -1  # 2/2¹⁰


def test_radius_is_sigma_times_the_normal_quantile_and_zero_from_one_half_down() -> None:
    bound = 0.001 ** (1 / 100)
    assert certified_radius(100, 100, 0.001, 0.5) == pytest.approx(0.5 * math.sqrt(2) * _erfinv(2 * bound - 1))
    assert certified_radius(50, 100, 0.001, 0.5) == 0
    assert largest_radius(100_000, 0.001, 1.0) == pytest.approx(3.811, abs=5e-4)  # Cohen's ceiling, in units of σ


def _erfinv(y: float) -> float:
    from scipy.special import erfinv

    return float(erfinv(y))


@pytest.mark.parametrize("alpha", [0.5, 0.25, 0.05, 0.001])
def test_smallest_n_is_the_first_that_certifies(alpha: float) -> None:
    n = smallest_n(alpha)
    assert largest_radius(n, alpha, 1.0) > 0
    assert n == 1 or largest_radius(n - 1, alpha, 1.0) == 0


def test_the_two_conventions_of_certified_accuracy() -> None:
    radius = [0.5, 0.25, 0.3, 0.0, 0.9]
    correct = [True, True, False, False, True]
    abstained = [False, False, False, True, False]
    assert certified_accuracy(radius, correct, abstained, 0.25) == 3 / 5
    assert certified_accuracy(radius, correct, abstained, 0.25, "paper") == 2 / 4
    assert certified_accuracy(radius, correct, abstained, 0.9, "standard") == 1 / 5
    assert certified_accuracy(radius, correct, abstained, 0.9, "paper") == 0
    assert math.isnan(certified_accuracy([0.0], [False], [True], 0.1, "paper"))
    assert average_certified_radius(radius, correct) == pytest.approx((0.5 + 0.25 + 0.9) / 5)


def test_interval_is_wilsons() -> None:
    z, p, n = stats.norm.ppf(0.975), 0.3, 200
    centre, half = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)]
    assert proportion_interval(60, 200) == pytest.approx(expected)


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published logs do not lie beside this checkout")
@pytest.mark.parametrize("log", sorted(PUBLISHED.glob("*/*/*.tsv")), ids=lambda log: f"{log.parts[-3]}-{log.stem}")
def test_every_published_radius_is_that_of_a_whole_number_of_counts(log: Path) -> None:
    """n = 100,000 and α = 0.001, but for Cohen et al.'s ImageNet logs: those radii are α = 0.01's, to the last one.

    Their largest, 0.978 at σ = 0.25, is 3.91σ; α = 0.001 allows 3.81σ at most.
    """
    alpha, other = (0.01, 0.001) if log.parts[-3:-1] == ("cohen2019", "imagenet") else (0.001, 0.01)
    assert misfits(log, alpha) == []
    assert misfits(log, other) != []


def misfits(log: Path, alpha: float) -> list[str]:
    """The printed radii (to three significant digits, or to four decimals) that no count of 100,000 rounds to."""
    sigma = float(log.stem.rpartition("_")[2])
    possible = certified_radius(np.arange(50_000, 100_001), 100_000, alpha, sigma)
    with log.open() as file:
        printed = {row["radius"] for row in csv.DictReader(file, delimiter="\t")} - {"0.0", "0.0000"}
    assert len(printed) > 150
    return [text for text in printed if np.abs(possible - float(text)).min() > half_unit(text) * (1 + 1e-6)]


def half_unit(text: str) -> float:
    """Half a unit of the last digit; a number with fewer than four decimals may have lost zeros off three digits."""
    decimals = len(text.partition(".")[2])
    if decimals < 4:
        decimals = max(decimals, 2 - math.floor(math.log10(float(text))))
    return 0.5 * 10.0**-decimals


def test_predict_answers_where_the_binomial_test_tells_the_leader_from_the_second() -> None:
    for first, second in [(100, 0), (60, 40), (70, 30), (8, 2), (30, 10)]:
        total = first + second
        p_value = min(1.0, 2 * sum(math.comb(total, k) for k in range(first, total + 1)) / 2**total)
        for alpha in (0.001, 0.01, 0.05, 0.3):
            # a third class with fewer votes changes nothing
            assert predict([second, first, second // 2], alpha) == (1 if p_value <= alpha else -1)
    assert predict([50, 50], 0.999) == -1
    assert predict([20], 0.001) == 0


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


def test_the_l_bound_is_the_gap_behind_the_kth_class() -> None:
    v = [[0.1, 0.5, 0.2, 0.2], [0.7, 0.1, 0.2, 0.0]]
    assert l_bound(v, 1, 0.5) == pytest.approx(0.5 * 1.2533141373155003 * np.array([0.3, 0.5]))
    assert l_bound(v, 2, 0.5) == pytest.approx(0.5 * 1.2533141373155003 * np.array([0.0, 0.1]))
