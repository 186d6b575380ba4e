"""What the paper says of its rows, judged by records whose answer is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from leaderboards.claims import CLAIMS, Claim, answered, attacked, bounded, certified, judged, verdicts
from suite.statistics import paired_interval

AT = Claim("Figure 1a", "certified accuracy at 0.1", "heat", "smoothadv", "certify", partial(certified, r=0.1))


def certificates(radius: list[float]) -> pd.DataFrame:
    """Correct where the radius is not 0, which stands for wrong."""
    correct = [int(r > 0) for r in radius]
    return pd.DataFrame({"idx": range(len(radius)), "radius": radius, "correct": correct, "predict": 1})


def test_the_values_are_those_of_the_images_that_count() -> None:
    records = pd.DataFrame({"radius": [0.3, 0.1, 0.2, 0.0], "correct": [1, 1, 0, 0], "predict": [0, 1, 2, -1]})
    np.testing.assert_equal(certified(records, 0.1).to_numpy(), [1, 0, 0, np.nan])  # R > r, the abstention left out
    np.testing.assert_equal(answered(records).to_numpy(), [0.3, 0.1, 0.2, np.nan])
    np.testing.assert_equal(bounded(records).to_numpy(), [0.3, 0.1, np.nan, np.nan])
    found = pd.DataFrame({"correct": [1, 1, 0], "pgd": [0.5, None, 0.0]})
    np.testing.assert_equal(attacked(found, "pgd").to_numpy(), [0.5, np.nan, np.nan])
    np.testing.assert_equal(attacked(found, "pgd", np.inf).to_numpy(), [0.5, np.inf, np.nan])


def test_a_difference_on_every_image_is_borne_out_and_its_mirror_is_the_other_way_round() -> None:
    all_of_them, none = certificates([0.2] * 40), certificates([0.0] * 40)
    verdict = judged(AT, [all_of_them], [none])
    assert verdict is not None
    assert (verdict.more, verdict.less, verdict.low, verdict.high, verdict.outcome) == (1, 0, 1, 1, "borne out")
    mirror = judged(AT, [none], [all_of_them])
    assert mirror is not None
    assert (mirror.difference, mirror.outcome) == (-1, "the other way round")
    same = judged(AT, [none], [none])
    assert same is not None
    assert same.outcome == "undecided"


def test_the_interval_is_the_paired_one() -> None:
    """Of 400 images 120 are certified by both, 60 by the first alone and 30 by the second alone."""
    first = certificates([0.2] * 180 + [0.0] * 220)
    second = certificates([0.2] * 120 + [0.0] * 60 + [0.2] * 30 + [0.0] * 190)
    verdict = judged(AT, [first], [second])
    assert verdict is not None
    assert verdict.difference == pytest.approx(30 / 400)
    assert (verdict.low, verdict.high) == pytest.approx(paired_interval(60, 30, 400), abs=0.006)
    assert verdict.outcome == "borne out"


def test_seeds_are_averaged_and_images_of_one_row_alone_do_not_count() -> None:
    seeds = [certificates([0.2] * 40), certificates([0.0] * 40)]
    verdict = judged(AT, seeds, [certificates([0.0] * 60)])
    assert verdict is not None
    assert (verdict.more, verdict.less) == (0.5, 0)
    assert judged(AT, [certificates([0.2] * 5)], [certificates([0.0] * 60)]) is None  # five are too few


def test_a_median_that_was_not_found_is_not_judged() -> None:
    median = partial(attacked, attack="pgd", missed=np.inf)
    claim = Claim("Table 5", "median PGD distance", "heat", "smoothadv", "attack", median, "median")
    never = pd.DataFrame({"idx": range(30), "correct": 1, "pgd": None, "ddn": 1.0})
    assert judged(claim, [never], [never.assign(pgd=0.5)]) is None
    verdict = judged(claim, [never.assign(pgd=np.linspace(1, 2, 30))], [never.assign(pgd=0.5)])
    assert verdict is not None
    assert (verdict.more, verdict.less, verdict.outcome) == (pytest.approx(1.5), 0.5, "borne out")


def test_only_claims_on_methods_that_have_records_are_judged() -> None:
    records = {method: {"certify": [certificates([0.12, 0.3] * 20)]} for method in ("madry", "madry-heat")}
    assert {verdict.claim.item for verdict in verdicts(records)} == {"Table 4"}
    assert verdicts({"heat": records["madry"]}) == []
    assert {claim.item for claim in CLAIMS} == {"Figure 1a", "Table 4", "Table 5"}
