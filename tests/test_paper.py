"""The paper's items: its own values, and a row's beside them."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from leaderboards.paper.items import ITEMS, VOTED, comparable_results, compare_with_paper, published, row_line
from leaderboards.paper.report import COMPARED
from leaderboards.paper.standing import most_telling
from methods import METHODS
from suite.store.result import Result

ROW = Result.model_validate({
    "run_id": "mine", "method": "heat", "dataset": "cifar10", "sigma": 0.1, "top": 1, "source": "run",
    "protocols": ["certify", "attack"], "attack": {"pgd": {"mean": 1.5, "median": 1.25}, "ddn": {"mean": 0.5}},
})  # fmt: skip
CERTIFY = pd.DataFrame({"radius": [0.3, 0.1, 0.2, 0.0], "correct": [1, 1, 0, 0], "predict": [0, 1, 2, -1]})
ATTACK = pd.DataFrame({"correct": [1, 1, 1, 0], "pgd": [1.0, 1.5, None, 0.0], "ddn": [0.25, 1.0, 1.5, 0.0]})


def records(row: Any, protocol: str) -> pd.DataFrame:
    return {"certify": CERTIFY, "attack": ATTACK}[protocol].assign(idx=range(4))


def test_figure_1_has_the_papers_points_and_a_rows_certified_accuracy_in_its_convention() -> None:
    table = compare_with_paper("Figure 1a", {"mine": [ROW]}, records).set_index("row")
    assert table.loc["heat", ["0", "0.1", "0.3"]].tolist() == [90.7, 82.0, 59.0]
    assert "the paper, plot" in table.loc["heat", "source"]
    # three answered; R > r leaves both right ones at 0, one at 0.1, none at 0.3
    assert table.loc["mine", ["0", "0.1", "0.3"]].tolist() == pytest.approx([200 / 3, 100 / 3, 0])
    line = row_line(ITEMS["Figure 1a"], [ROW], records)
    assert line["percent"].iloc[0] == pytest.approx(200 / 3)


def test_figure_6_counts_the_attacked_images_alone_and_those_at_a_distance_as_within_it() -> None:
    table = compare_with_paper("Figure 6a", {"mine": [ROW]}, records).set_index("row")
    assert table.loc["baseline", ["1", "2"]].tolist() == [72, 99]
    assert table.loc["mine", ["1", "2"]].tolist() == pytest.approx([100 / 3, 200 / 3])
    table = compare_with_paper("Figure 6b", {"mine": [ROW]}, records).set_index("row")
    assert table.loc["mine", "1"] == pytest.approx(200 / 3)


def test_tables_take_a_rows_figures_and_leave_what_it_lacks_open() -> None:
    own = compare_with_paper("Table 5", {"mine": [ROW]}, records).iloc[0]
    assert (own["PGD, mean"], own["PGD, median"], own["DDN, mean"]) == (1.5, 1.25, 0.5)
    assert pd.isna(own["L-bound, mean"])
    radii = compare_with_paper("Table 4", {"mine": [ROW]}, records).iloc[0]
    assert (radii["mean"], radii["median"], radii["max"]) == pytest.approx((0.2, 0.2, 0.3))
    row = ROW.model_copy(update={"clean_accuracy": 0.5})
    clean = compare_with_paper("Table 1", {"mine": [row]}, records).set_index("row")["top-5, %"]
    assert clean.to_dict() == {"randomized-smoothing": 85.3, "smoothadv": 78.8, "heat": 86.1, "mine": 50}


def test_rows_of_another_sigma_rule_data_set_or_method_do_not_stand_compare_with_paper() -> None:
    changes: list[dict[str, Any]] = [{"sigma": 0.25}, {"top": 5}, {"dataset": "imagenet"}, {"method": "madry"}]
    others = [ROW.model_copy(update=change) for change in changes]
    others.append(ROW.model_copy(update={"source": "published"}))
    others.append(ROW.model_copy(update={"protocols": ["certify"]}))
    assert comparable_results(ITEMS["Table 5"], [ROW, *others]) == [ROW]


def test_rows_that_deploy_something_else_do_not_stand_beside_the_paper() -> None:
    smoothing = ROW.model_copy(update={"method": "randomized-smoothing", "deployed": "vote"})
    usual = [ROW.model_copy(update={"deployed": "pass"}), smoothing]
    others = [usual[0].model_copy(update={"deployed": "vote"}), smoothing.model_copy(update={"deployed": "pass"})]
    assert comparable_results(ITEMS["Table 5"], [*others, *usual]) == usual
    deployed = {row.method: row.deployed for row in usual}
    assert deployed == {name: METHODS.get(name).deployed for name in deployed}
    assert set(VOTED) == {name for name in COMPARED if METHODS.get(name).deployed == "vote"}


def test_what_says_most_of_the_papers_statements_stands_first() -> None:
    """Of two networks that do not compare, the one with more methods; of each method its own recipe before others."""

    def row(run_id: str, method: str, precision: str, command: str) -> Result:
        return ROW.model_copy(
            update={"run_id": run_id, "method": method, "precision": precision, "command": command, "recipe": run_id}
        )

    short = "suite run --method heat --dataset cifar10"
    rows = [
        row("large", "heat", "bf16", short),
        row("large baseline", "baseline", "bf16", short),
        row("many steps", "heat", "fp32", f"{short} --epochs 8"),
        row("own", "heat", "fp32", short),
        row("smoothadv", "smoothadv", "fp32", short),
        row("smoothed", "randomized-smoothing", "fp32", short),
    ]
    expected = ["smoothed", "smoothadv", "own", "many steps", "large baseline", "large"]
    for given in (rows, rows[::-1]):
        assert [row.run_id for row in most_telling(given)] == expected


def test_every_published_item_has_its_place() -> None:
    from leaderboards.published import paper_values

    given = paper_values()
    assert set(given["item"]) <= set(ITEMS)
    for name in given["item"].unique():
        item, values = ITEMS[name], published(name)
        assert {(item.dataset, item.sigma, item.top)} == set(zip(values["dataset"], values["sigma"], values["top"]))  # noqa: B905
