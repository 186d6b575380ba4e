"""Votes and margins on one board: which stand together, how they are ranked, and what each is worth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.rows import margin, result, store

from leaderboards import envelopes, groups, table
from leaderboards.board import select_rows


def places(runs: Path, **settings: Any) -> dict[str, list[tuple[int, str]]]:
    """The groups of a board: by title, the rank and the run of each row."""
    frame = table("digits", runs, published=None, **settings)
    return {title: list(zip(group["rank"], group["run_id"], strict=True)) for title, group in groups(frame)}


VOTES = "top-1, 5 images, n = 1000, α = 0.001"


def test_margins_stand_in_every_table_of_votes_on_the_same_images(tmp_path: Path) -> None:
    """ACRs of 0.25 for the margins (0.9 + 0.1 + 0 + 0.25 of 5) and, set by hand, 0.2, 0.3 and 0.4 for votes."""
    rows = [result() | {"acr": 0.2}, result(lr=0.2) | {"acr": 0.3}, result(sigma=0.5) | {"acr": 0.4}]
    own, weaker = margin(), margin(lr=0.01) | {"acr": 0.1}
    elsewhere = margin(lr=0.02)
    elsewhere |= {"images": 4, "image_radii": elsewhere["image_radii"][:4]}
    store(tmp_path, *rows, own, weaker, elsewhere)
    assert own["acr"] == pytest.approx(0.25)
    low, high, other = (row["run_id"] for row in rows)
    mine, last = own["run_id"], weaker["run_id"]
    assert places(tmp_path) == {
        f"Digits: σ = 0.25, {VOTES}; margins have no noise": [(1, high), (2, mine), (3, low), (4, last)],
        f"Digits: σ = 0.5, {VOTES}; margins have no noise": [(1, other), (2, mine), (3, last)],
        "Digits: top-1, 4 images, no noise": [(1, elsewhere["run_id"])],
    }
    frame = table("digits", tmp_path, published=None).set_index("run_id")
    assert len(frame) == 6  # each row once, with its rank where that is the same in all of its tables
    ranked = {high: 1, mine: 2, low: 3, other: 1, elsewhere["run_id"]: 1}
    assert frame["rank"].dropna().to_dict() == ranked
    assert set(frame.index) - ranked.keys() == {last}  # 4 of 4, and 3 of 3
    assert frame["holds"].tolist() == [True] * 6
    assert math.isnan(frame.loc[mine, "sigma"])


def test_rows_of_both_kinds_are_ranked_by_what_is_asked_for(tmp_path: Path) -> None:
    """At r = 0.6 the margin certifies image 0 of 5; at 0.1 the vote and the margin certify 3 of 5, the vote first."""
    vote, own = result(), margin()
    store(tmp_path, vote, own)
    for sort, first in (("acr", own), ("0.6", own), ("0.2", own), ("clean", vote)):
        [(_, found)] = places(tmp_path, sort=sort).items()
        assert found[0] == (1, first["run_id"]), sort
    [(_, group)] = groups(table("digits", tmp_path, published=None))
    assert group["r=0.6"].tolist() == [1 / 5, 0]  # a radius that one of them reaches


def test_a_selection_keeps_the_ranks_and_shows_margins_alone_once(tmp_path: Path) -> None:
    best, vote, other, own = result(lr=0.2) | {"acr": 0.9}, result(), result(sigma=0.5), margin()
    store(tmp_path, best, vote, other, own)
    frame = table("digits", tmp_path, published=None)

    def shown(frame: pd.DataFrame) -> list[list[int]]:
        return [group["rank"].tolist() for _, group in groups(frame)]

    assert shown(frame) == [[1, 2, 3], [1, 2]]
    assert shown(select_rows(frame, kind=["vote"])) == [[1, 3], [2]]
    [(title, group)] = groups(select_rows(frame, kind=["margin"]))
    assert (title, group["run_id"].tolist()) == ("Digits: top-1, 5 images, no noise", [own["run_id"]])
    assert group["rank"].isna().all()  # 2 and 1
    assert shown(select_rows(frame, sigma=[0.5])) == [[1, 2]]  # a margin belongs to every σ
    assert shown(frame.query("kind == 'margin' or sigma == 0.5")) == [[1, 2]]


def test_margins_are_in_no_envelope_over_sigma(tmp_path: Path) -> None:
    store(tmp_path, result(), result(sigma=0.5), margin(), margin("baseline", arch="lipschitz-small"))
    frame = table("digits", tmp_path, published=None)
    assert envelopes(frame)["method"].tolist() == ["randomized-smoothing"]


def test_whether_a_certificate_is_of_what_is_deployed(tmp_path: Path) -> None:
    """That of a vote is not of the pass; of what a paper plots the deployment is not known."""
    rows = [result(), result("baseline"), result("baseline", deployed="vote"), margin()]
    rows.append(result("lipschitz", kind="vote", sigma=0.25))
    store(tmp_path, *rows)
    frame = table("digits", tmp_path, published=None).set_index("run_id")
    found = [tuple(frame.loc[row["run_id"], ["kind", "deployed", "holds"]]) for row in rows]
    vote, passed = ("vote", "vote", True), ("vote", "pass", False)
    assert found == [vote, passed, vote, ("margin", "pass", True), passed]
    plotted = table("cifar10", tmp_path, "paper").query("read == 'plot'")
    assert plotted["holds"].isna().all()
    assert plotted["deployed"].isna().all()
