"""Curves against radius and distance, counted by hand."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.logs import log
from helpers.rows import MARGINS, margin, result, store
from helpers.rows import RECORDS as VOTES
from statsmodels.stats.proportion import proportion_confint

from leaderboards import groups, rows, table
from leaderboards.board import table_rows
from leaderboards.compare import decided_by_all
from leaderboards.curves import attack_curve, curve, row_curve, row_records
from leaderboards.envelope import envelope
from leaderboards.published import paper_rows
from leaderboards.published.store import import_logs

# wrong, abstained, and certified at three radii, one of them of two images
RECORDS = pd.DataFrame(
    {
        "idx": range(6),
        "predict": [1, -1, 0, 0, 0, 0],
        "correct": [0, 0, 1, 1, 1, 1],
        "radius": [0.5, 0.0, 0.125, 0.25, 0.25, 0.5],
    }
)


def test_an_image_counts_at_its_own_radius_in_the_standard_convention_alone() -> None:
    drawn = curve(RECORDS, points=5, largest=0.5)
    assert drawn["radius"].tolist() == [0, 0.125, 0.25, 0.375, 0.5]
    assert drawn["accuracy"].tolist() == [4 / 6, 4 / 6, 3 / 6, 1 / 6, 1 / 6]  # R ≥ r, of all images
    paper = curve(RECORDS, "paper", points=5, largest=0.5)
    assert paper["accuracy"].tolist() == [4 / 5, 3 / 5, 1 / 5, 1 / 5, 0]  # R > r, the abstention left out
    for column, of in ((drawn, 6), (paper, 5)):
        for share, low, high in zip(column["accuracy"], column["low"], column["high"], strict=True):
            assert (low, high) == pytest.approx(proportion_confint(round(share * of), of, method="wilson"))


def test_the_grid_is_even_and_ends_just_above_the_largest_radius() -> None:
    drawn = curve(RECORDS)
    assert drawn["radius"].to_numpy() == pytest.approx(np.linspace(0, 0.51, 101))
    assert drawn["accuracy"].iloc[-1] == 0
    nothing = curve(RECORDS[:2])
    assert 0 < nothing["radius"].iloc[-1] < 1e-8
    assert set(nothing["accuracy"]) == {0.0}


def test_where_nothing_counts_there_is_nothing() -> None:
    empty = curve(RECORDS[:0])
    assert list(empty) == ["radius", "accuracy", "low", "high"]
    assert empty.empty
    assert curve(RECORDS[1:2], "paper")[["accuracy", "low", "high"]].isna().all(axis=None)


def test_seeds_are_averaged_image_by_image() -> None:
    """Seed b certifies images 4 and 5 alone: of the six images' shares two are 1 and two ½ at 0.25."""
    second = RECORDS.assign(correct=[0, 0, 0, 0, 1, 1])
    both = pd.concat([RECORDS.assign(run="a"), second.assign(run="b")])
    at = curve(both, points=3, largest=0.5).set_index("radius").loc[0.25]
    assert at["accuracy"] == pytest.approx((3 / 6 + 2 / 6) / 2)
    p, alike = 2.5 / 6, 6 * (2.5 / 6) * (3.5 / 6) / np.var([0, 0, 0, 0.5, 1, 1])
    z = 1.959964
    half = z * np.sqrt(p * (1 - p) / alike + z**2 / (4 * alike**2)) / (1 + z**2 / alike)
    assert at["high"] - at["low"] == pytest.approx(2 * half)


def test_adaptive_sampling_is_drawn_where_it_decided() -> None:
    drawn = curve(RECORDS, decided=[0.0, 0.125, 0.25])
    assert drawn["radius"].tolist() == [0.0, 0.125, 0.25]
    assert drawn["accuracy"].tolist() == [4 / 6, 4 / 6, 3 / 6]
    assert len(curve(RECORDS, decided=None)) == 101


def test_the_envelope_is_the_best_at_each_radius() -> None:
    small = RECORDS.assign(radius=[0.1, 0, 0.1, 0.1, 0.1, 0.1])
    large = RECORDS.assign(radius=[0.4, 0, 0.0, 0.05, 0.4, 0.4])
    best = envelope({0.25: small, 0.5: large}).set_index("radius")
    assert best.index[-1] == pytest.approx(1.02 * 0.4)
    assert (best["accuracy"].iloc[0], best["sigma"].iloc[0]) == (4 / 6, 0.25)  # of equals the first
    between = best[(best.index > 0.05) & (best.index <= 0.1)]
    assert set(zip(between["accuracy"], between["sigma"], strict=True)) == {(4 / 6, 0.25)}
    beyond = best[(best.index > 0.1) & (best.index <= 0.4)]
    assert set(zip(beyond["accuracy"], beyond["sigma"], strict=True)) == {(2 / 6, 0.5)}
    assert best["accuracy"].iloc[-1] == 0
    assert np.isnan(best["sigma"].iloc[-1])
    strict = envelope({0.25: small, 0.5: large}, "paper").set_index("radius")
    assert strict["accuracy"].iloc[0] == 4 / 5


def test_the_envelope_of_adaptive_rows_is_at_the_radii_that_all_decided() -> None:
    def adaptive(sigma: float) -> Any:
        decided = [0.0, *(r for r in (0.15, 0.5) if r < 1.7 * sigma)]
        return SimpleNamespace(n=100, alpha=0.01, sigma=sigma, decided=decided)

    decided = decided_by_all([adaptive(0.1), adaptive(0.3)])
    assert decided == [0, 0.15, 0.5]  # 0.5 is beyond the reach of 100 draws at 0.1
    records = {sigma: RECORDS.assign(radius=1.69 * sigma) for sigma in (0.1, 0.3)}
    best = envelope(records, decided=decided)
    assert best["radius"].tolist() == [0, 0.15, 0.5]
    assert best["accuracy"].tolist() == [4 / 6] * 3
    assert best["sigma"].tolist() == [0.1, 0.1, 0.3]


def test_margins_are_decided_at_every_radius_beside_adaptive_votes(tmp_path: Path) -> None:
    """Of a board's own table: the vote's curve has the radii that it decided, the margin's the even grid."""
    vote, own = result(sampling="adaptive", radii=[0.1, 0.2]), margin()
    store(tmp_path, vote, own)
    for row, records in ((vote, VOTES), (own, MARGINS)):
        records.to_json(tmp_path / row["run_id"] / row["records"]["certify"], orient="records", lines=True)
    [(_, group)] = groups(table("digits", tmp_path, published=None))
    lines = {line.kind: line for line in table_rows(group)}
    assert row_curve(lines["vote"], tmp_path)["radius"].tolist() == [0, 0.1, 0.2]
    drawn = row_curve(lines["margin"], tmp_path).set_index("radius")["accuracy"]
    assert drawn.index.to_numpy() == pytest.approx(np.linspace(0, 1.02 * 0.9, 101))
    assert [drawn[drawn.index >= r].iloc[0] for r in (0, 0.11, 0.26, 0.89, 0.91)] == [4 / 5, 2 / 5, 1 / 5, 1 / 5, 0]
    assert decided_by_all(lines.values()) == [0, 0.1, 0.2]
    assert decided_by_all([lines["margin"]]) == []


def test_an_attack_counts_from_its_distance_on() -> None:
    records = pd.DataFrame({"correct": [1, 1, 1, 0], "pgd": [0.25, 0.5, None, 0.0], "ddn": [0.25, 1.0, 0.75, 0.0]})
    drawn = attack_curve(records, points=103).set_index("distance")
    assert drawn.index.to_numpy() == pytest.approx(np.linspace(0, 1.02, 103))  # 0.01 apart
    for attack, shares in {"pgd": [0, 1 / 3, 2 / 3, 2 / 3, 2 / 3], "ddn": [0, 1 / 3, 1 / 3, 2 / 3, 1]}.items():
        found = [drawn[attack][drawn.index <= d + 1e-9].iloc[-1] for d in (0.2, 0.3, 0.5, 0.8, 1.02)]
        assert found == pytest.approx(shares)
    exact = attack_curve(records.assign(ddn=[0.0, 0.0, 1 / 1.02, 0.0]), points=3)
    assert exact["distance"].tolist() == [0, 0.5, 1]
    assert exact["pgd"].tolist() == [0, 2 / 3, 2 / 3]  # at 0.5 too
    assert len(attack_curve(records)) == 101
    missed = attack_curve(records[2:3].assign(ddn=None))
    assert set(missed["pgd"]) == set(missed["ddn"]) == {0.0}
    assert attack_curve(records[3:])[["pgd", "ddn"]].isna().all(axis=None)
    two = pd.concat([records[:1].assign(run="a"), records.assign(run="b")], ignore_index=True)  # of 1 image, and of 3
    at = attack_curve(two, points=3).set_index("distance")
    assert at.loc[0.51, "pgd"] == pytest.approx((1 + 2 / 3) / 2)


def test_a_runs_curve_is_of_its_records_in_the_store_or_where_runs_are_kept(tmp_path: Path) -> None:
    adaptive = RECORDS.assign(radius=0.3)
    for place, records in (("store/own", adaptive), ("published/runs/kept", RECORDS)):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        (folder / "result.json").write_text("{}")
        records.to_json(folder / "certify.jsonl", orient="records", lines=True)
    store, published = tmp_path / "store", tmp_path / "published"
    reach = 0.25 * NormalDist().inv_cdf(0.001 ** (1 / 1000))  # where all of its n = 1000 draws agree
    decided = [0.0, 0.1, 0.3, reach - 1e-6, reach + 1e-6]
    row: Any = SimpleNamespace(source="run", runs=["own"], decided=decided, n=1_000, alpha=0.001, sigma=0.25)
    drawn = row_curve(row, store, "standard", published)
    assert drawn["radius"].tolist() == decided[:-1]
    assert drawn["accuracy"].iloc[0] == 4 / 6
    assert row_curve(row, store, "paper", published)["accuracy"].iloc[0] == 4 / 5
    assert "run" not in row_records(row, store, published)
    kept: Any = SimpleNamespace(source="run", runs=["kept"], decided=None)
    assert row_records(kept, store, published)["radius"].tolist() == RECORDS["radius"].tolist()
    assert row_curve(kept, store, "standard", published)["radius"].iloc[-1] == pytest.approx(0.51)
    assert row_records(SimpleNamespace(source="run", runs=["gone"]), store, published).empty
    both = row_records(SimpleNamespace(source="run", runs=["own", "kept"]), store, published)
    assert both["run"].tolist() == ["own"] * 6 + ["kept"] * 6


def test_a_published_rows_curve_is_of_its_log_or_of_the_points_that_were_read_off(tmp_path: Path) -> None:
    lines = zip(RECORDS["idx"], [0] * 6, RECORDS["predict"], RECORDS["radius"], RECORDS["correct"], strict=True)
    file = log(tmp_path / "mine.tsv", *("\t".join(map(str, (*line, 1))) for line in lines))
    given = {"kind": "margin", "method": "theirs", "arch": "cnn", "citation": "A. Title. 2020.", "top": 1}
    import_logs([file], "cifar10", tmp_path, few=True, row="mine", **given)
    row: Any = SimpleNamespace(source="published", run_id="cifar10/mine", decided=None)
    assert row_records(row, tmp_path, tmp_path)["radius"].tolist() == RECORDS["radius"].tolist()  # an own log is kept
    for convention in ("standard", "paper"):
        counted, known = row_curve(row, tmp_path, convention, tmp_path), RECORDS.assign(label=0)
        assert counted["radius"].tolist() == [k / 100 for k in range(52)]
        expected = curve(known, convention, decided=counted["radius"].tolist())
        pd.testing.assert_frame_equal(counted, expected)
    assert row_curve(row, tmp_path, "standard", tmp_path)["accuracy"].iloc[0] == 4 / 6
    assert row_curve(row, tmp_path, "paper", tmp_path)["accuracy"].iloc[0] == 4 / 5
    assert row_records(row, tmp_path, tmp_path, "attack").empty
    plotted = next(row for row in rows("cifar10", tmp_path, "paper") if row.source == "paper, plot")
    drawn = row_curve(plotted, tmp_path, "paper")
    points = next(row for row in paper_rows("cifar10") if row.run_id == plotted.run_id).certified_accuracy_paper
    assert dict(zip(drawn["radius"].map(str), drawn["accuracy"], strict=True)) == points
    assert (drawn["low"] == drawn["accuracy"]).all()
    assert (drawn["high"] == drawn["accuracy"]).all()
    assert row_curve(plotted, tmp_path).empty  # the plot has the paper's convention alone
    assert row_records(plotted, tmp_path).empty
