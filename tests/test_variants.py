"""Rows of one method are told apart by the settings in which their commands differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from leaderboards.board import rows
from leaderboards.render.cells import name_cells
from leaderboards.rows import Row
from leaderboards.variants import name_variants, settings_of

HEAT = "suite run --method heat --dataset cifar10 --profile quick"


@pytest.fixture(scope="module")
def row(tmp_path_factory: pytest.TempPathFactory) -> Row:
    return next(row for row in rows("cifar10", tmp_path_factory.mktemp("empty")) if row.source == "run")


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", {"profile": "quick"}),
        (" --kappa 5 --set parameters.noisy=1.0", {"profile": "quick", "kappa": "5", "noisy": "1.0"}),
        (" --set start.method=average --set start.sigma=0.5", {"profile": "quick", "start.method": "average"}),
        (" --set 'words=[\"a b\",\"c\"]' --epochs 3", {"profile": "quick", "words": '["a b","c"]', "epochs": "3"}),
        # what the board has in its title, in columns, or in what a protocol measures
        (" --sigma 0.1 --n 100 --set audit.images=50 --set agreement.against.lr=1", {"profile": "quick"}),
        (f" --kappa 5 && {HEAT} --kappa 5 --seed 1", {"profile": "quick", "kappa": "5"}),
    ],
)  # fmt: skip
def test_the_settings_that_a_command_gives(given: str, found: dict[str, str]) -> None:
    assert settings_of(HEAT + given) == found


def test_a_setting_is_named_where_rows_of_a_method_differ_in_it(row: Row) -> None:
    def named(*commands: str, **changed: str) -> list[str]:
        own = [replace(row, run_id=str(number), command=HEAT + command) for number, command in enumerate(commands)]
        return [found.variant for found in name_variants([*own, replace(row, run_id="other", **changed)])][:-1]

    alone = {"method": "other", "command": HEAT + " --kappa 9"}
    assert named("", " --kappa 5", " --set parameters.noisy=1.0", **alone) == ["", "kappa=5", "noisy=1.0"]
    assert named(" --kappa 5", " --kappa 5 --lr 0.1", **alone) == ["", "lr=0.1"]
    assert named(" --kappa 5", **alone) == [""]
    assert named(" --kappa 5", method="heat", source="published", command="") == [""]


def test_in_the_terminal_long_ones_are_cut(row: Row) -> None:
    def method(variant: str) -> str:
        return name_cells(pd.Series(row.shared() | {"rank": None, "variant": variant}), [])["method"]

    assert method("lr=0.1") == f"{row.method} (lr=0.1)"
    assert method("start.training.schedule=one-cycle, lr=0.1") == f"{row.method} (start.training.schedule=one-cycle, …)"


def test_the_board_says_what_an_average_was_started_from(tmp_path: Path) -> None:
    [first, second] = [own for own in rows("cifar10", tmp_path) if own.method == "average"]
    assert {first.variant, second.variant} == {"", "start.method=randomized-smoothing"}
