"""Bounds, radii and shares against closed forms, an independent library and published logs."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from suite.statistics import (
    average_certified_radius,
    certified_accuracy,
    certified_radius,
    largest_radius,
    lower_confidence_bound,
    proportion_interval,
    smallest_n,
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
