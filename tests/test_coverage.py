"""What the intervals that the suite prints cover, in simulations whose truth is known; 95 % is what they promise.

| interval | where it is printed |
| --- | --- |
| Wilson's of a share | `suite run`'s table, clean accuracy on boards, agreement, rows of figures without radii |
| a share averaged over seeds | certified accuracy and abstentions on boards, in exports and pages; bands of curves |
| of a mean | ACR on boards, averaging error |
| bounds averaged over seeds | clean accuracy and averaging error of rows of several seeds |
| paired, of two shares | the app's Compare page |
| of a difference of shares, means or medians | the report's verdicts |
| Clopper and Pearson's lower bound | every radius of fixed sampling |
| Clopper and Pearson's upper bound | audits: the rate of violations, in tables and the report |

(The range beside a timing is its quartiles.) Where counts can be enumerated coverage is computed exactly. Images are
drawn with a difficulty that all rows and seeds share; means are of values as skewed as distances of adversarial
examples, which not every image has.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from helpers.intervals import paired_interval
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from leaderboards.estimates import bounds_of, certificate_intervals
from leaderboards.paper.statements import Statement, median_verdict
from suite.protocols.accuracy import CLEAN
from suite.statistics.bounds import lower_confidence_bound, upper_confidence_bound
from suite.statistics.intervals import FEWEST, averaged_share, mean_difference, mean_interval, wilson
from suite.store.result import Result

LARGE = 1_000_000  # images that stand for all, where the truth has no closed form
MEDIAN = Statement("", "", "", "", "", lambda records: records["value"], "median")


def covered(low: ArrayLike, high: ArrayLike, truth: float) -> float:
    return float(np.mean((np.asarray(low) <= truth) & (truth <= np.asarray(high))))


def difficulties(generator: np.random.Generator, *shape: int) -> NDArray[np.float64]:
    """Standard normal, with one axis more for seeds, which a seed's own luck on an image is added to."""
    return generator.standard_normal(shape)[..., None, :]


def distances(
    generator: np.random.Generator, hard: NDArray[np.float64], spread: float, known: float
) -> NDArray[np.float64]:
    """Log-normal distances that fall with difficulty; NaN where an image has none: more often the harder it is."""
    own = 0.8 * hard + 0.6 * generator.standard_normal(hard.shape)
    there = hard + generator.standard_normal(hard.shape) < 2**0.5 * stats.norm.ppf(known)
    return np.where(there, np.exp(-spread * own), np.nan)


# Bounds on a binomial proportion: exact


@pytest.mark.parametrize("alpha", [0.05, 0.001])
@pytest.mark.parametrize("n", [10, 100, 1_000])
def test_clopper_and_pearsons_bounds_hold_at_their_level_for_every_proportion(n: int, alpha: float) -> None:
    """Never less than 1 − α; and not needlessly more: just below some proportions α is all but used up."""
    counts, p = np.arange(n + 1), np.linspace(0.001, 0.999, 500)[:, None]
    chance = stats.binom.pmf(counts, n, p)
    for missed in (lower_confidence_bound(counts, n, alpha) > p, upper_confidence_bound(counts, n, alpha) < p):
        wrong = (chance * missed).sum(axis=1)
        assert wrong.max() <= alpha * (1 + 1e-9)
        assert wrong.max() > 0.8 * alpha


@pytest.mark.parametrize(("n", "least"), [(50, 0.92), (300, 0.93), (1_000, 0.935)])
def test_wilsons_interval_of_a_share(n: int, least: float) -> None:
    """It keeps its level on average over proportions, and nowhere between 5 and 95 % falls far short of it."""
    counts, p = np.arange(n + 1), np.linspace(0.05, 0.95, 901)[:, None]
    low, high = wilson(counts / n, n, 0.95)
    coverage = (stats.binom.pmf(counts, n, p) * ((low <= p) & (p <= high))).sum(axis=1)
    assert 0.948 < coverage.mean() < 0.956
    assert coverage.min() > least


# A row: seeds on the same images


@pytest.mark.parametrize("seeds", [1, 3, 5])
@pytest.mark.parametrize("images", [50, 300])
def test_a_share_averaged_over_seeds(images: int, seeds: int) -> None:
    generator = np.random.default_rng(seeds)
    hard = difficulties(generator, 4_000, images)
    right = hard + generator.standard_normal((4_000, seeds, images)) < 0.4
    _, low, high = averaged_share(right, np.ones_like(right))
    assert 0.935 < covered(low, high, stats.norm.cdf(0.4 / 2**0.5)) < 0.965


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_share_averaged_over_seeds_of_what_is_not_abstained_on(seeds: int) -> None:
    """The paper's convention: a ratio of two shares, which the harder images are missing from."""
    generator = np.random.default_rng(seeds)

    def drawn(total: int, images: int, seeds: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        margin = 1 - difficulties(generator, total, images) + generator.standard_normal((total, seeds, images))
        return margin > 1, np.abs(margin) > 0.5  # hits, and what is counted

    hits, counted = drawn(1, LARGE, 1)
    _, low, high = averaged_share(*drawn(4_000, 300, seeds))
    assert 0.935 < covered(low, high, hits.sum() / counted.sum()) < 0.965


@pytest.mark.parametrize("certified", [0.6, 0.2])
def test_the_intervals_of_a_row_of_three_seeds(certified: float) -> None:
    """The ACR at the fewest images that have an interval: R·[correct] is 0 on all images but a share `certified`.

    Clean accuracy averages the seeds' own intervals: no narrower than the truth, and so safe.
    """
    generator = np.random.default_rng(0)

    def margins(images: int) -> NDArray[np.float64]:
        hard = 0.7**0.5 * difficulties(generator, images)[0]
        return stats.norm.ppf(certified) + hard + 0.3**0.5 * generator.standard_normal((3, images))

    truth = float(margins(LARGE).clip(0).mean())
    acr, clean = [], []
    for _ in range(1_000):
        results = [
            Result(
                run_id="", method="", dataset="", deployed="vote", images=FEWEST,
                image_radii=np.where(margin > 0, margin, -1).tolist(), clean_accuracy=float((margin > 0).mean()),
            )
            for margin in margins(FEWEST)
        ]  # fmt: skip
        acr.append(certificate_intervals(results, ())[0]["acr"])
        clean.append(bounds_of(results, CLEAN))
    assert 0.935 < covered(*np.transpose(acr), truth) < 0.97
    assert covered(*np.transpose(clean), certified) > 0.94


@pytest.mark.parametrize(
    "values", [stats.beta(2, 3), stats.expon(), stats.lognorm(0.5)], ids=["even", "exponential", "log-normal"]
)
def test_the_interval_of_a_mean_at_the_fewest_values(values: Any) -> None:
    found = [mean_interval(sample) for sample in values.rvs((4_000, FEWEST), random_state=0)]
    assert 0.935 < covered(*np.transpose(found), values.mean()) < 0.965


# Two rows on the same images


@pytest.mark.parametrize("images", [50, 300])
@pytest.mark.parametrize(("a", "b"), [(0.6, 0.5), (0.9, 0.85), (0.98, 0.98), (0.97, 0.5)])
def test_the_paired_interval_of_two_shares(images: int, a: float, b: float) -> None:
    generator = np.random.default_rng(0)
    hard = difficulties(generator, 4_000, images)
    one, two = ((hard + generator.standard_normal(hard.shape) < 2**0.5 * stats.norm.ppf(p))[:, 0] for p in (a, b))
    only = np.c_[(one & ~two).sum(axis=1), (two & ~one).sum(axis=1)]
    known, times = np.unique(only, axis=0, return_counts=True)
    low, high = np.transpose([paired_interval(int(n), int(m), images) for n, m in known])
    assert np.average((low <= a - b + 1e-12) & (a - b - 1e-12 <= high), weights=times) > 0.94


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.5), (0.9, 0.97), (0.98, 0.98)])
def test_a_verdict_on_shares_of_different_images(a: float, b: float) -> None:
    """Of 60 images a row abstains on one in seven, of two seeds of the one and of one seed of the other."""
    generator = np.random.default_rng(0)
    hard = difficulties(generator, 1_000, 60)

    def shares(p: float, seeds: int) -> NDArray[np.float64]:
        own = hard + generator.standard_normal((1_000, seeds, 60)) < 2**0.5 * stats.norm.ppf(p)
        return np.where(generator.random(own.shape) < 1 / 7, np.nan, own)

    found = [mean_difference(*both, shares=True)[1:] for both in zip(shares(a, 2), shares(b, 1), strict=True)]
    assert covered(*np.transpose(found), a - b) > 0.94


@pytest.mark.parametrize("spread", [0.3, 0.55])  # skewness 0.95 and 2.0
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_verdict_on_means_at_the_fewest_images(spread: float, seeds: int) -> None:
    """Of 70 images that 5 in 7 and 6 in 7 have a value of; the other row's distances are a quarter larger."""
    generator = np.random.default_rng(seeds)

    def drawn(total: int, images: int, seeds: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        hard = np.repeat(difficulties(generator, total, images), seeds, axis=1)
        return distances(generator, hard, spread, 5 / 7), 1.25 * distances(generator, hard[:, :1], spread, 6 / 7)

    truth = mean_difference(*(own[0] for own in drawn(1, LARGE, 1)))[0]
    found = [mean_difference(*both)[1:] for both in zip(*drawn(1_500, 70, seeds), strict=True)]
    assert 0.93 < covered(*np.transpose(found), truth) < 0.965


@pytest.mark.slow
def test_a_verdict_on_medians_at_the_fewest_images() -> None:
    generator = np.random.default_rng(0)
    draw = partial(distances, generator, spread=0.55)
    hard = difficulties(generator, 1, LARGE)
    truth = np.nanmedian(draw(hard, known=5 / 7)) - np.nanmedian(draw(hard, known=6 / 7))
    found = []
    for _ in range(200):
        hard = difficulties(generator, 1, 70)[0]
        verdict = median_verdict(MEDIAN, draw(hard, known=5 / 7), draw(hard, known=6 / 7))
        assert verdict is not None
        found.append(verdict.interval)
    assert 0.92 < covered(*np.transpose(found), truth) <= 0.996
