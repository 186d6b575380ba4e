"""Bounds and radii against closed forms, an independent library and published logs."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from suite.statistics.bounds import (
    BOLDEST,
    average_certified_radius,
    certified_accuracy,
    certified_radius,
    l_bound,
    largest_radius,
    least_mean_bound,
    lower_confidence_bound,
    predict,
    probit_bound,
    smallest_n,
    soft_certificate,
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
    assert predict([0, 5], 2 / 2**5) == 1  # the p-value may be the level itself


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


def test_the_l_bound_is_the_gap_behind_the_kth_class() -> None:
    v = [[0.1, 0.5, 0.2, 0.2], [0.7, 0.1, 0.2, 0.0]]
    assert l_bound(v, 1, 0.5) == pytest.approx(0.5 * 1.2533141373155003 * np.array([0.3, 0.5]))
    assert l_bound(v, 2, 0.5) == pytest.approx(0.5 * 1.2533141373155003 * np.array([0.0, 0.1]))


def test_the_probit_form_is_the_distance_to_the_plane_on_half_spaces() -> None:
    """Where the L-bound says less: 0.214 of 0.25 and 0.313 of 1."""
    t = np.array([0.01, 0.1, 0.25, 1.0])
    v = np.stack([stats.norm.cdf(t / 0.25), stats.norm.cdf(-t / 0.25)], axis=-1)
    assert probit_bound(v, 1, 0.25) == pytest.approx(t, rel=1e-9)
    assert l_bound(v, 1, 0.25)[2:] == pytest.approx([0.2139, 0.3133], abs=1e-4)


def test_the_probit_form_is_never_below_the_l_bound_and_always_finite() -> None:
    generator = np.random.default_rng(0)
    sharp = generator.dirichlet([0.01] * 10, 1_000)  # with zeros, and components that round to 1
    for v in (generator.dirichlet([1.0] * 10, 1_000), sharp, generator.random((1_000, 10)), np.eye(3), np.ones((1, 3))):
        for k in (1, 2):
            found = probit_bound(v, k, 0.5)
            assert np.isfinite(found).all()
            assert (found >= l_bound(v, k, 0.5)).all()
    assert (sharp.max(axis=1) == 1).any()


def test_what_rounds_to_certainty_is_held_back() -> None:
    """At 1 − 10⁻¹² and 10⁻¹², below what any v nearer to 1 would give."""
    assert probit_bound([0.0, 1.0, 0.0], 1, 2.0) == pytest.approx(2 * 7.0345, abs=1e-3)
    assert probit_bound([1e-9, 1 - 1e-9], 1, 2.0) == pytest.approx(2 * 5.9978, abs=1e-3)
    assert probit_bound([0.2, 0.0, 0.8], 2, 1.0) == pytest.approx((stats.norm.ppf(0.2) + 7.0345) / 2, abs=1e-3)


def capital(x: np.ndarray, m: float, alpha: float) -> float:
    """The most that one who bets on each draw that the mean is above m ever has, beginning with 1: in plain steps."""
    held = most = 1.0
    for i in range(len(x)):
        # one draw of mean ½ and variance ¼ is taken to have been seen already
        means = [(0.5 + x[: j + 1].sum()) / (j + 2) for j in range(i)]
        variance = (0.25 + sum((x[j] - means[j]) ** 2 for j in range(i))) / (i + 1)
        bet = min(math.sqrt(2 * math.log(1 / alpha) / (len(x) * variance)), BOLDEST / m)
        held *= 1 + bet * (x[i] - m)
        most = max(most, held)
    return most


def test_the_lower_bound_on_a_mean_is_the_largest_mean_that_betting_rejects() -> None:
    generator = np.random.default_rng(0)
    for x, alpha in [
        (generator.beta(9, 1, 60), 0.001),
        (generator.beta(0.5, 0.5, 40), 0.05),
        (np.r_[np.ones(20), np.zeros(10)], 0.05),  # it counts what was held before the last draws
    ]:
        bound = least_mean_bound(x[None], alpha)
        assert 0.2 < bound < 0.9
        assert capital(x, bound - 1e-6, alpha) >= 1 / alpha > capital(x, bound + 1e-6, alpha)


def test_the_lower_bound_when_all_draws_are_one() -> None:
    """With the share b at stake each time, (1 − b + b/m)ⁿ = 1/α; Clopper and Pearson's has m⁻ⁿ = 1/α."""
    for n, alpha in [(10, 0.001), (5, 0.05)]:
        expected = BOLDEST / (alpha ** (-1 / n) - 1 + BOLDEST)
        assert least_mean_bound(np.ones((1, n)), alpha) == pytest.approx(expected, abs=1e-8)
        assert expected < lower_confidence_bound(n, n, alpha)
    assert least_mean_bound(np.zeros((1, 50)), 0.05) == 0


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_the_lower_bound_errs_with_probability_alpha_at_most_on_any_bernoulli_mean(alpha: float) -> None:
    """Exactly, over all sequences of 9 draws; also with p right below values that the bound takes."""
    n = 9
    sequences = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    bounds = np.array([least_mean_bound(x[None], alpha) for x in sequences])
    errors = []
    for p in np.r_[np.linspace(0.02, 0.98, 13), np.quantile(bounds, [0.5, 0.9, 0.99]) - 1e-8]:
        chance = np.where(sequences, p, 1 - p).prod(axis=1)
        errors.append(chance[bounds > p].sum())
    assert max(errors) <= alpha
    assert max(errors) > alpha / 3


@pytest.mark.parametrize(
    ("law", "mean"),
    [("beta", 0.9), ("U-shaped beta", 0.6), ("three points", 0.82), ("rarely nothing", 0.98)],
)
def test_the_lower_bound_holds_at_its_level(law: str, mean: float) -> None:
    """400 simulated sets of 60 draws: 20 errors are expected at most, 33 with three standard deviations."""
    generator, size = np.random.default_rng(1), (400, 1, 60)
    x = {
        "beta": lambda: generator.beta(9, 1, size),
        "U-shaped beta": lambda: generator.beta(0.3, 0.2, size),
        "three points": lambda: generator.choice([0.0, 0.6, 1.0], size, p=[0.06, 0.3, 0.64]),
        "rarely nothing": lambda: (generator.random(size) < 0.98).astype(float),
    }[law]()
    bounds = np.array([least_mean_bound(own, 0.05) for own in x])
    assert (bounds > mean).sum() <= 33
    hoeffding = x.mean(axis=2)[:, 0] - math.sqrt(math.log(1 / 0.05) / (2 * 60))
    assert bounds.mean() > hoeffding.mean() + 0.01


def test_the_lower_bound_is_above_maurer_and_pontils() -> None:
    """Empirical Bernstein (2009, Theorem 4), on draws as softmax gives them; and Hoeffding's."""
    for n in (180, 900):
        x = np.random.default_rng(2).beta(4, 0.4, n)
        log = math.log(2 / 0.001)
        bernstein = x.mean() - math.sqrt(2 * x.var(ddof=1) * log / n) - 7 * log / (3 * (n - 1))
        hoeffding = x.mean() - math.sqrt(math.log(1 / 0.001) / (2 * n))
        assert least_mean_bound(x[None], 0.001) > max(bernstein, hoeffding) + 0.01


def test_of_several_means_the_least_is_bounded() -> None:
    x = np.random.default_rng(3).beta([[9], [4], [6], [3]], 1, (4, 100))
    own = [least_mean_bound(row[None], 0.01) for row in x]
    assert least_mean_bound(x, 0.01) == pytest.approx(min(own), abs=1e-8)
    assert min(own) == own[3]


def soft(means: list[float], n: int, seed: int) -> np.ndarray:
    """n draws of probabilities with these means: Dirichlet, as spread out as softmax under noise."""
    return np.random.default_rng(seed).dirichlet(2 * np.array(means), n)


def test_the_soft_certificate_is_below_the_exact_radius_and_nears_it() -> None:
    means = [0.1, 0.7, 0.15, 0.05]
    exact = 0.25 / 2 * (stats.norm.ppf(0.7) - stats.norm.ppf(0.15))
    of_lead = 0.25 * stats.norm.ppf((1 + 0.7 - 0.15) / 2)
    assert 0.95 * exact < of_lead < exact
    for n, part in ((200, 0.6), (5_000, 0.93)):
        radius, chosen = soft_certificate(soft(means, n, 0), 1, 0.001, 0.25)
        assert chosen == [1]
        assert part * of_lead < radius < of_lead
    assert soft_certificate(soft(means, 20, 0), 1, 0.001, 0.25)[0] == 0  # too few draws show nothing
    radius, chosen = soft_certificate(soft([0.4, 0.05, 0.5, 0.05], 2_000, 1), 2, 0.001, 0.25)
    assert sorted(chosen) == [0, 2]
    assert 0.85 < radius / (0.25 * stats.norm.ppf((1 + 0.4 - 0.05) / 2)) < 1


def test_the_soft_certificate_of_whole_votes_is_that_of_their_share() -> None:
    """With probabilities 0 and 1 and two classes the lead is the leader's share, of which 9 in 10 draws count."""
    votes = (np.random.default_rng(0).random(500) < 0.9).astype(int)
    radius, chosen = soft_certificate(np.eye(2)[1 - votes], 1, 0.01, 0.25)
    assert chosen == [0]
    assert radius == pytest.approx(0.25 * stats.norm.ppf(least_mean_bound(votes[None, 50:], 0.01)))
    assert 0.9 < radius / float(certified_radius(votes[50:].sum(), 450, 0.01, 0.25)) < 1


def test_classes_far_behind_count_as_one() -> None:
    """At each draw the likeliest of them, which is 0.02 here, where each of them is it in turn."""
    behind = np.eye(40)[np.arange(400) % 40] * 0.02
    p = np.hstack([np.full((400, 1), 0.9), np.full((400, 20), 0.004), behind])
    assert p.sum(axis=1) == pytest.approx(1)
    alone = least_mean_bound(np.full((1, 360), (1 + 0.9 - 0.02) / 2), 0.05)
    assert soft_certificate(p, 1, 0.05, 1.0)[0] == pytest.approx(stats.norm.ppf(alone))


@pytest.mark.parametrize(
    ("means", "k", "shown"),
    [
        ([0.52, 0.48], 1, 0.01),
        ([0.6, 0.2, 0.1, 0.1], 1, 0.8),
        ([0.45, 0.35, 0.1, 0.1], 2, 0.5),
        ([0.7, *[0.3 / 39] * 39], 1, 0.8),
    ],
)
def test_the_soft_certificate_is_wrong_with_probability_alpha_at_most(means: list[float], k: int, shown: float) -> None:
    """200 simulated ones at α = 0.05; 10 errors are expected at most, 19 with three standard deviations.

    An error is a radius for other classes than those that lead the average, or one above the exact radius.
    """
    ordered = np.sort(means)[::-1]
    exact = 0.5 * (stats.norm.ppf(ordered[k - 1]) - stats.norm.ppf(ordered[k]))
    wrong = certified = 0
    for seed in range(200):
        radius, chosen = soft_certificate(soft(means, 60, seed), k, 0.05, 1.0)
        certified += radius > 0
        wrong += radius > (exact if set(chosen) == set(range(k)) else 0)
    assert wrong <= 19
    assert certified >= 200 * shown
