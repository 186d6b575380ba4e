"""What the paper says of its rows, judged by records whose answer is known."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest
from helpers.intervals import paired_interval

from leaderboards.paper.statements import (
    STATEMENTS,
    Statement,
    bound,
    certified,
    certified_radius,
    distance,
    judge,
    verdicts,
)

AT = Statement(
    "Figure 1a", "certified accuracy at 0.1", "heat", "smoothadv", "certify", partial(certified, r=0.1), "share"
)


def certificates(radius: list[float]) -> pd.DataFrame:
    """Correct where the radius is not 0, which stands for wrong."""
    correct = [int(r > 0) for r in radius]
    return pd.DataFrame({"idx": range(len(radius)), "radius": radius, "correct": correct, "predict": 1})


def test_the_values_are_those_of_the_images_that_count() -> None:
    records = pd.DataFrame({"radius": [0.3, 0.1, 0.2, 0.0], "correct": [1, 1, 0, 0], "predict": [0, 1, 2, -1]})
    np.testing.assert_equal(certified(records, 0.1).to_numpy(), [1, 0, 0, np.nan])  # R > r, the abstention left out
    np.testing.assert_equal(certified_radius(records).to_numpy(), [0.3, 0.1, 0.2, np.nan])
    np.testing.assert_equal(bound(records).to_numpy(), [0.3, 0.1, np.nan, np.nan])
    found = pd.DataFrame({"correct": [1, 1, 0], "pgd": [0.5, None, 0.0]})
    np.testing.assert_equal(distance(found, "pgd").to_numpy(), [0.5, np.nan, np.nan])
    np.testing.assert_equal(distance(found, "pgd", np.inf).to_numpy(), [0.5, np.inf, np.nan])


def test_a_difference_on_every_image_is_borne_out_and_its_mirror_is_the_other_way_round() -> None:
    all_of_them, none = certificates([0.2] * 60), certificates([0.0] * 60)
    verdict = judge(AT, [all_of_them], [none])
    assert verdict is not None
    assert (verdict.more, verdict.less, verdict.outcome) == (1, 0, "borne out")
    assert verdict.interval == pytest.approx(paired_interval(60, 0, 60))
    mirror = judge(AT, [none], [all_of_them])
    assert mirror is not None
    assert (mirror.difference, mirror.outcome) == (-1, "the other way round")
    same = judge(AT, [none], [none])
    assert same is not None
    assert same.outcome == "undecided"
    assert same.interval == pytest.approx(paired_interval(0, 0, 60))  # none of 60 is not none of all


def test_the_interval_is_the_paired_one() -> None:
    """Of 400 images 120 are certified by both, 60 by the first alone and 30 by the second alone."""
    first = certificates([0.2] * 180 + [0.0] * 220)
    second = certificates([0.2] * 120 + [0.0] * 60 + [0.2] * 30 + [0.0] * 190)
    verdict = judge(AT, [first], [second])
    assert verdict is not None
    assert verdict.difference == pytest.approx(30 / 400)
    assert verdict.interval == pytest.approx(paired_interval(60, 30, 400))
    assert verdict.outcome == "borne out"


def test_seeds_are_averaged_and_images_of_one_row_alone_do_not_count() -> None:
    seeds = [certificates([0.2] * 50), certificates([0.0] * 50)]
    verdict = judge(AT, seeds, [certificates([0.0] * 60)])
    assert verdict is not None
    assert (verdict.more, verdict.less) == (0.5, 0)
    assert judge(AT, [certificates([0.2] * 49)], [certificates([0.0] * 60)]) is None  # too few
    mostly = certificates([0.2] * 60).assign(predict=[1] * 49 + [-1] * 11)
    assert judge(AT, [mostly], [certificates([0.0] * 60)]) is None  # too few of them have the figure


def test_a_median_that_was_not_found_is_not_judged() -> None:
    median = partial(distance, attack="pgd", missed=np.inf)
    statement = Statement("Table 5", "median PGD distance", "heat", "smoothadv", "attack", median, "median")
    never = pd.DataFrame({"idx": range(60), "correct": 1, "pgd": None, "ddn": 1.0})
    assert judge(statement, [never], [never.assign(pgd=np.linspace(0.4, 0.6, 60))]) is None
    verdict = judge(statement, [never.assign(pgd=np.linspace(1, 2, 60))], [never.assign(pgd=np.linspace(0.4, 0.6, 60))])
    assert verdict is not None
    assert (verdict.more, verdict.less, verdict.outcome) == (pytest.approx(1.5), pytest.approx(0.5), "borne out")
    assert verdict.interval is not None
    assert verdict.interval[0] < 1 < verdict.interval[1]


def test_a_median_of_ties_has_no_interval() -> None:
    """PGD's first step is 0.4 long: 30 of 60 images that it changes at once share the median, but for rounding."""
    statement = Statement(
        "Table 5", "median PGD distance", "heat", "smoothadv", "attack", partial(distance, attack="pgd"), "median"
    )
    smooth = pd.DataFrame({"idx": range(60), "correct": 1, "pgd": np.linspace(0.3, 0.9, 60)})
    steps = smooth.assign(pgd=[*np.linspace(0.39999, 0.40001, 35), *np.linspace(0.5, 2, 25)])
    for seeds in ([steps], [smooth, steps]):
        verdict = judge(statement, seeds, [smooth])
        assert verdict is not None
        assert verdict.difference == verdict.more - verdict.less
        assert (verdict.interval, verdict.outcome) == (None, "a median of ties")
    few = smooth.assign(pgd=[*np.linspace(0.1, 0.3, 28), 0.4, 0.4, 0.4, *np.linspace(0.5, 2, 29)])
    verdict = judge(statement, [few], [smooth])  # three of 60: the median's rank is uncertain by √60/2 = 3.9
    assert verdict is not None
    assert verdict.interval is not None


def test_only_claims_on_methods_that_have_records_are_judged() -> None:
    records = {method: {"certify": [certificates([0.12, 0.3] * 30)]} for method in ("madry", "madry-heat")}
    assert {verdict.statement.item for verdict in verdicts(records)} == {"Table 4"}
    assert verdicts({"heat": records["madry"]}) == []
    assert {statement.item for statement in STATEMENTS} == {"Figure 1a", "Table 4", "Table 5"}
