"""Adaptive sampling: its boundaries against exact chances computed otherwise, and what it saves and costs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from suite.statistics.bounds import certified_radius, largest_radius, smallest_count, smallest_n
from suite.statistics.sequential import (
    EDGE,
    HOPELESS,
    certifying_counts,
    hopeless_counts,
    looks,
    make_schedule,
    spending,
)

THRESHOLDS = (0.5, 0.6, 0.8413, 0.9772, 0.9987)


def chance_of_certifying(n: int, alpha: float, threshold: float, p: float) -> NDArray[np.float64]:
    """That an image whose votes have probability p is certified by each look: by a recursion over single draws."""
    chances, total, drawn = [], 0.0, 0
    alive, lowest = np.ones(1), 0  # the chance of the counts lowest, lowest + 1, … without a certificate so far
    for look, boundary in zip(looks(n), certifying_counts(n, alpha, threshold), strict=True):
        while drawn < look:
            alive, drawn = np.append(alive * (1 - p), 0) + np.insert(alive * p, 0, 0), drawn + 1
        total += float(alive[max(0, boundary - lowest) :].sum())
        alive = alive[: max(0, boundary - lowest)]
        possible = int((alive < 1e-25).argmin())
        alive, lowest = alive[possible:], lowest + possible
        chances.append(total)
    return np.array(chances)


@pytest.mark.parametrize("alpha", [0.001, 0.05])
@pytest.mark.parametrize("n", ["smallest", 64, 65, 100, 500, 1_000, 4_000])
def test_a_wrong_certificate_has_a_chance_of_at_most_alpha(n: int | str, alpha: float) -> None:
    n = smallest_n(alpha) if isinstance(n, str) else n
    allowed = alpha * np.array([spending(look / n) for look in looks(n)])
    for p in THRESHOLDS:
        by_look = chance_of_certifying(n, alpha, p, p)
        assert (by_look <= allowed * (1 + 1e-9)).all()
        assert by_look[-1] <= alpha


def test_many_draws_use_alpha_up() -> None:
    assert 0.9 < chance_of_certifying(20_000, 0.001, 0.9987, 0.9987)[-1] / 0.001 <= 1
    assert 0.9 < chance_of_certifying(10_000, 0.05, 0.5, 0.5)[-1] / 0.05 <= 1


def test_half_of_alpha_is_spent_early_half_late() -> None:
    assert spending(0) == 0
    assert spending(1) == pytest.approx(1)
    assert spending(0.5) == pytest.approx(0.5 * np.log(1 + (np.e - 1) / 2) + 0.125)


def test_with_a_single_look_the_boundary_is_that_of_all_draws() -> None:
    for r in (0.0, 0.1, 0.3):
        expected = smallest_count(r, 64, 0.001, 0.25)
        assert certifying_counts(64, 0.001, float(special.ndtr(r / 0.25))).tolist() == [min(int(expected), 65)]


def chance_to_come(n: int, alpha: float, p: float) -> list[NDArray[np.float64]]:
    """Of each count at each look but the last, the chance that the image is certified later, the votes to come being
    beta-binomial with Jeffreys' prior: by products of whole transition matrices."""
    ends, boundaries = looks(n), certifying_counts(n, alpha, p)
    found: list[NDArray[np.float64]] = []
    later = (np.arange(n + 1) >= boundaries[-1]).astype(float)
    for i in range(len(ends) - 2, -1, -1):
        d, m = ends[i], ends[i + 1] - ends[i]
        s, new = np.arange(d + 1)[:, None], np.arange(m + 1)[None]
        transition = stats.betabinom.pmf(new, m, s + 0.5, d - s + 0.5)
        own = (transition * later[s + new]).sum(1)
        found.insert(0, own)
        later = np.where(np.arange(d + 1) >= boundaries[i], 1.0, own)
    return found


@pytest.mark.parametrize(("n", "alpha", "p"), [(128, 0.001, 0.5), (500, 0.001, 0.9772), (500, 0.05, 0.8413)])
def test_an_image_is_given_up_where_the_chance_to_come_is_below_half_a_percent(n: int, alpha: float, p: float) -> None:
    most, boundaries = hopeless_counts(n, alpha, p), certifying_counts(n, alpha, p)
    assert most[-1] == n
    for look, chance in enumerate(chance_to_come(n, alpha, p)):
        below = chance[: boundaries[look]]
        assert (below[: most[look] + 1] < HOPELESS).all()
        assert (below[most[look] + 1 :] >= HOPELESS).all()


def test_boundaries_rise_with_the_radius_and_none_waits_for_a_finer_one() -> None:
    schedule = make_schedule([0.25, 0.5], sigma=0.25, n=1_000, alpha=0.001)
    assert (np.diff(schedule.certifying, axis=1) >= 0).all()
    assert len(schedule.radii) == schedule.certifying.shape[1] + 1 == schedule.hopeless.shape[1]
    last = schedule.radii.index(0.5 + EDGE)
    assert (schedule.hopeless[:, last:] == 1_000).all()  # nothing of interest beyond: any count ends it
    first_finer = schedule.radii.index(0.025 + EDGE)
    assert (schedule.hopeless[:, first_finer] == hopeless_counts(1_000, 0.001, special.ndtr(1 + EDGE / 0.25))).all()


def simulate(
    p: NDArray[np.float64], radii: list[float], n: int, alpha: float, *, give_up: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """For images whose votes have probability p, at σ = 1: the radius, the draws made, and the votes of all n."""
    schedule, random = make_schedule(radii, sigma=1.0, n=n, alpha=alpha), np.random.default_rng(0)
    count, reached = np.zeros(len(p), int), np.zeros(len(p), int)
    draws, left, before = np.zeros(len(p)), np.ones(len(p), bool), 0
    for look, drawn in enumerate(schedule.looks):
        count += random.binomial(drawn - before, p)
        before, draws[left] = drawn, drawn
        now, stop = schedule.decide(look, count, reached)
        reached = np.where(left, now, reached)
        left &= ~stop | (not give_up)
    return np.array(schedule.radii)[reached], draws, count


@pytest.mark.parametrize("p", [0.5, 0.8, 0.8413, 0.95])
def test_all_certificates_of_an_image_hold_together(p: float) -> None:
    alpha, total = 0.05, 20_000
    radius, draws, _ = simulate(np.full(total, p), [0.5, 1.0, 1.5], 2_000, alpha)
    wrong = int((radius > special.ndtri(p) + 2 * EDGE).sum())
    assert wrong <= stats.binom.ppf(0.999, total, alpha)
    assert draws.mean() < 2_000


@pytest.mark.slow
def test_without_radii_it_is_decided_whether_the_answer_is_certified_at_all() -> None:
    radius, draws, _ = simulate(np.array([0.3, 1.0]), [], 20_000, 0.001)
    assert radius[0] == 0
    assert radius[1] > 0
    assert draws.tolist() == [64, 64]
    assert simulate(np.full(20, 0.515), [], 10_000, 0.001)[1].mean() > 4_000


def test_a_certificate_at_a_radius_counts_by_both_conventions() -> None:
    radius, _, _ = simulate(np.full(50, 0.97), [0.5, 1.0, 1.5, 3.0], 5_000, 0.001)
    assert ((radius > 1.5) & (radius < special.ndtri(0.97))).all()
    assert (radius - EDGE).round(12).tolist() == (radius - EDGE).round(1).tolist()  # a radius of interest, or finer


def test_draws_and_certificates_beside_fixed_sampling() -> None:
    """On p_A spread as on CIFAR-10 at σ = 0.25 (R/σ about normal around 2): see benchmarks/adaptive.py."""
    p = special.ndtr(np.random.default_rng(1).normal(1.5, 1.2, 4_000))
    for n, fewer, loss in ((500, 1.5, 0.6), (10_000, 3.5, 0.4)):
        radius, draws, count = simulate(p, [1.0, 2.0], n, 0.001)
        patient = simulate(p, [1.0, 2.0], n, 0.001, give_up=False)[0]
        fixed = certified_radius(count, n, 0.001, 1.0)
        assert n / draws.mean() > fewer
        for r in (0.0, 1.0, 2.0):
            assert 100 * ((patient > r).mean() - (radius > r).mean()) < 0.1
            assert 100 * ((fixed > r).mean() - (radius > r).mean()) < loss


def test_no_radius_is_decided_that_the_draws_cannot_certify() -> None:
    for n in (smallest_n(0.001), 100, 1_000):
        largest = largest_radius(n, 0.001, 0.25)
        radii = make_schedule([0.1, 0.5, 1.0], sigma=0.25, n=n, alpha=0.001).radii
        assert radii[0] == 0
        assert radii[1] == EDGE
        assert radii[-1] <= largest


def test_the_smallest_n_certifies_when_all_votes_agree_and_none_else() -> None:
    for alpha in (0.001, 0.05, 1e-25):
        n = smallest_n(alpha)
        assert certifying_counts(n, alpha, 0.5)[-1] == n
        assert (certifying_counts(n - 1, alpha, 0.5) == np.array(looks(n - 1)) + 1).all()


def test_looks_end_at_n_and_are_blocks_before() -> None:
    for n in (1, 64, 100, 100_000):
        ends = looks(n)
        assert ends[-1] == n
        assert all(end % 64 == 0 for end in ends[:-1])
        assert list(ends) == sorted(set(ends))
    assert len(looks(100_000)) < 300
