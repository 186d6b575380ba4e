"""Which rows of a table can be told apart: image by image where records are here, else by intervals."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from leaderboards.estimates import CURVES
from leaderboards.rows import Estimate
from leaderboards.significance import z_scores

STANDARD, PAPERS = CURVES["standard"], CURVES["paper"]
GENERATOR = np.random.default_rng(0)
A, B = GENERATOR.choice([-1, 0.1, 0.4, 0.8], (2, 200), p=[0.2, 0.2, 0.2, 0.4])
B[:20] = np.nan  # abstentions


def row(radii: Any, acr: Estimate, clean: Estimate | None = None, at_a_half: Estimate | None = None) -> Any:
    curve = {"0.5": at_a_half or Estimate()}
    return SimpleNamespace(
        radii=None if radii is None else np.atleast_2d(radii),
        metrics={"acr": acr, "clean_accuracy": clean or Estimate()},
        curves={STANDARD: curve, PAPERS: curve},
    )


def test_rows_with_records_are_compared_image_by_image() -> None:
    rows = [row(radii, Estimate(np.nan_to_num(radii).clip(0).mean(), (0, 1))) for radii in (A, B)]
    expected = stats.ttest_rel(A.clip(0), np.nan_to_num(B).clip(0)).statistic
    assert z_scores(rows, "acr", STANDARD)[0, 1] == pytest.approx(expected)


def test_seeds_are_averaged_over_for_each_image() -> None:
    both = row(np.array([A, np.nan_to_num(B)]), Estimate(0.5, (0, 1)))
    z = z_scores([both, row(A, Estimate(0.5, (0, 1)))], "acr", STANDARD)
    mean = (A.clip(0) + np.nan_to_num(B).clip(0)) / 2
    assert z[0, 1] == pytest.approx(stats.ttest_rel(mean, A.clip(0)).statistic)


def test_shares_at_a_radius_are_compared_by_the_images_that_one_row_has() -> None:
    rows = [row(radii, Estimate(), None, Estimate(0.5, (0.4, 0.6))) for radii in (A, B)]
    only_a, only_b = ((A >= 0.5) & ~(B >= 0.5)).sum(), ((B >= 0.5) & ~(A >= 0.5)).sum()
    a, b = (only_a + 1) / 202, (only_b + 1) / 202
    z = z_scores(rows, "0.5", STANDARD)[0, 1]
    assert z == pytest.approx((a - b) / np.sqrt((a + b - (a - b) ** 2) / 202))
    assert (
        z_scores(rows, "0.5", PAPERS)[0, 1] == 0
    )  # whose abstentions are not paired: equal shares, by their intervals


def test_figures_without_records_are_compared_by_their_intervals() -> None:
    """Intervals of ±0.03 and ±0.04: the difference has 0.05 / 1.96."""
    rows = [row(None, Estimate(0.60, (0.57, 0.63))), row(A, Estimate(0.50, (0.46, 0.54))), row(None, Estimate(0.7))]
    z = z_scores(rows, "acr", STANDARD)
    assert z[0, 1] == pytest.approx(0.1 / 0.05 * stats.norm.ppf(0.975))
    assert np.isnan(z[2, :2]).all()  # no interval
    clean = [row(A, Estimate(), Estimate(0.8, (0.7, 0.9))), row(B, Estimate(), Estimate(0.8, (0.7, 0.9)))]
    assert z_scores(clean, "clean", STANDARD)[0, 1] == 0
