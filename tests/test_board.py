"""Rows, boards and MLflow, from runs whose figures are counted by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

from leaderboards import load_board, rows, table
from suite import data as datasets
from suite.files import write_json
from suite.result import summarise
from suite.spec import make_spec
from suite.tables import leaderboard_tables, result_table

RECORDS = pd.DataFrame(
    {
        "idx": range(5),
        "label": [0, 1, 2, 3, 4],
        "chosen": [[0], [1], [0], [3], [4]],
        "predict": [0, 1, 0, -1, 4],
        "radius": [0.5, 0.1, 0.3, 0.0, 0.2],
        "correct": [1, 1, 0, 0, 1],
        "time": [1.0] * 5,
        "draws": [1000] * 5,
        "n0": [100] * 5,
    }
)


def result(method: str = "randomized-smoothing", **settings: Any) -> dict[str, Any]:
    spec = make_spec(method=method, dataset="digits", **settings)
    accuracy = pd.DataFrame({"correct": [1, 1, 1, 0]})
    return summarise(spec, datasets.load("digits"), {"accuracy": accuracy, "certify": RECORDS})


def store(runs: Path, *results: dict[str, Any]) -> None:
    for row in results:
        folder = runs / row["run_id"]
        folder.mkdir(parents=True)
        write_json(folder / "result.json", row)


def test_a_row_is_what_its_records_say() -> None:
    row = result()
    assert row["certified_accuracy"]["0.1"] == 3 / 5  # R ≥ r, abstentions wrong
    assert row["certified_accuracy_paper"]["0.1"] == 2 / 4  # R > r, abstentions dropped
    assert row["certified_accuracy"]["0.2"] == 2 / 5
    assert row["acr"] == pytest.approx((0.5 + 0.1 + 0.2) / 5)
    assert row["abstained"] == 1 / 5
    assert row["clean_accuracy"] == 4 / 5  # of the class that the selection draws chose
    assert row["single_pass_accuracy"] == 3 / 4
    assert result("baseline")["clean_accuracy"] == 3 / 4  # of the single pass that is deployed


def test_the_claim_says_of_which_classifier_it_holds() -> None:
    assert "the vote is what this row deploys" in result()["claim"]
    baseline = {**RECORDS.to_dict("list"), "n0": [0] * 5}
    spec = make_spec(method="baseline", dataset="digits")
    row = summarise(spec, datasets.load("digits"), {"certify": pd.DataFrame(baseline)})
    assert "not guaranteed of the single pass" in row["claim"]


def test_rows_that_are_not_comparable_stand_in_different_tables(tmp_path: Path) -> None:
    good, better, other = result(), {**result(lr=0.2), "acr": 0.9}, result(n=500)
    store(tmp_path, good, better, other)
    frame = table("digits", tmp_path)
    assert frame[["n", "rank", "acr"]].to_numpy().tolist() == [
        [500, 1, other["acr"]], [1000, 1, 0.9], [1000, 2, good["acr"]],
    ]  # fmt: skip
    assert frame.loc[0, "r=0.2"] == 2 / 5
    assert table("digits", tmp_path, "paper").loc[0, "r=0.1"] == 2 / 4
    console = Console(width=80, record=True)
    for block in leaderboard_tables(frame, paper_convention=False):
        console.print(block)
    text = console.export_text()
    assert text.count("randomized-smoothing cnn") == 3  # in 80 columns, nothing cut off
    assert "…" not in text
    assert text.index("n = 500") < text.index("n = 1000")


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    store(tmp_path, {**result(), "method": "[red]mine[/red]", "claim": "[bold]true[/bold]"})
    console = Console(width=160, record=True)
    for block in leaderboard_tables(table("digits", tmp_path), paper_convention=False):
        console.print(block)
    assert "[red]mine[/red]" in (text := console.export_text())
    assert "[bold]true[/bold]" in text


def test_only_finished_runs_of_the_data_set_are_rows(tmp_path: Path) -> None:
    store(tmp_path, result())
    for name, content in (("unfinished", None), ("damaged", '{"meth'), ("other", '{"dataset": "cifar10", "acr": 1}')):
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "result.json").write_text(content)
    assert [row["method"] for row in rows("digits", tmp_path)] == ["randomized-smoothing"]
    assert table("cifar100", tmp_path).empty
    assert table("digits", tmp_path / "nowhere").empty


def test_a_summary_has_intervals() -> None:
    console = Console(width=120, record=True)
    console.print(result_table({**result(), "images": 100}))
    text = console.export_text()
    z, n, p = 1.959964, 100, 0.6
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    assert f"60.0 %  ({100 * (centre - half):.1f} – {100 * (centre + half):.1f})" in text


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "cifar100", "imagenet"])
def test_boards_have_rising_radii(dataset: str) -> None:
    board = load_board(dataset)
    assert list(board.radii) == sorted(set(board.radii))
    assert board.radii[0] > 0
    assert load_board("a folder of one's own").radii
