"""Rows of one method are told apart by the settings in which their commands differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

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
        (" --sigma 0.1 --set start.sigma=0.5", {"profile": "quick", "sigma": "0.1", "start.sigma": "0.5"}),
        (" --set 'words=[\"a b\",\"c\"]' --epochs 3", {"profile": "quick", "words": '["a b","c"]', "epochs": "3"}),
        (" --set 'file=/it'\"'\"'s && so.pt' --lr 1", {"profile": "quick", "file": "/it's && so.pt", "lr": "1"}),
        (" --set training.precision=bf16", {"profile": "quick", "training.precision": "bf16"}),
        # what the board has in its title, in columns, or in what a protocol measures; seeds
        (" --n 100 --precision bf16 --set audit.images=50 --set agreement.against.lr=1", {"profile": "quick"}),
        (" --seed 1 --set start.seed=1", {"profile": "quick"}),
        (f" --kappa 5 && {HEAT} --kappa 5 --seed 1", {"profile": "quick", "kappa": "5"}),
    ],
)  # fmt: skip
def test_the_settings_that_a_command_gives(given: str, found: dict[str, str]) -> None:
    assert settings_of(HEAT + given) == found


def test_of_a_call_in_python_no_settings_are_known() -> None:
    assert settings_of("suite.evaluate(model, 'digits', name='a --b c')") == {}


def named(row: Row, *commands: str, **changed: Any) -> list[str]:
    """The variants of rows like one but for their commands."""
    own = [replace(row, run_id=str(n), command=HEAT + command, **changed) for n, command in enumerate(commands)]
    return [found.variant for found in name_variants(own)]


def test_a_setting_is_named_where_rows_of_a_method_differ_in_it(row: Row) -> None:
    assert named(row, "", " --kappa 5", " --set parameters.noisy=1.0") == ["", "kappa=5", "noisy=1"]
    assert named(row, " --kappa 5", " --kappa 5 --lr 0.01234") == ["", "lr=0.0123"]
    assert named(row, " --kappa 5") == [""]
    assert named(row, "", " --kappa 5", source="published") == ["", ""]


def test_rows_of_another_method_or_without_a_command_change_nothing(row: Row) -> None:
    own = [replace(row, run_id=str(n), command=HEAT + given) for n, given in enumerate(["", " --kappa 5"])]
    other = replace(row, run_id="other", method="other", command=HEAT + " --kappa 9")
    for found in (name_variants([*own, other]), name_variants([*own, replace(other, method=row.method, command="")])):
        assert [line.variant for line in found] == ["", "kappa=5", ""]


def test_the_noise_of_a_vote_is_in_the_title_and_that_of_a_margins_training_is_not(row: Row) -> None:
    sigmas = (" --sigma 0.5 --set start.sigma=0.5", " --sigma 0.5 --set start.sigma=0.25")
    assert named(row, *sigmas, kind="vote", sigma=0.5) == ["", "start.sigma=0.25"]
    assert named(row, " --sigma 0.5", " --sigma 0.25", kind="margin", sigma=None) == ["sigma=0.5", "sigma=0.25"]


def test_the_terminal_has_it_behind_the_method(row: Row) -> None:
    line = pd.Series(row.shared() | {"rank": None, "variant": "kappa=5, lr=0.1"})
    assert name_cells(line, [])["method"] == f"{row.method} (kappa=5, lr=0.1)"


def test_the_board_says_what_an_average_was_started_from(tmp_path: Path) -> None:
    [first, second] = [own for own in rows("cifar10", tmp_path) if (own.method, own.sigma) == ("average", 0.25)]
    assert {first.variant, second.variant} == {"", "start.method=randomized-smoothing"}
