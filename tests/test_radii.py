"""Radii of boards: as papers write them, and which of them a table shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leaderboards.board import table
from leaderboards.comparable import unimportant
from suite.boards.board import load_board, numbers, radius_key, radius_text
from suite.errors import UserError


@pytest.mark.parametrize(
    ("r", "text"),
    [(36 / 255, "36/255"), (72 / 255, "72/255"), (1.0, "1.0"), (0.2, "0.2"), (0.05, "0.05"), (0.6, "0.6"), (0.0, "0.0"),
     (0.1234, "0.1234")],
)  # fmt: skip
def test_a_radius_is_written_as_papers_do(r: float, text: str) -> None:
    assert radius_text(r) == text
    assert numbers([text]) == (r,)


def test_rows_are_sorted_by_a_radius_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('title = "Own"\nradii = [1, "36/255"]\nsort = "36/255"\n')
    assert radius_key("36/255") == str(36 / 255)
    assert (radius_key("1"), radius_key("0.25"), radius_key("acr"), radius_key("1/0")) == ("1.0", "0.25", "acr", "1/0")
    assert table("own", tmp_path, published=tmp_path).empty
    by = [table("cifar10", tmp_path, sort=sort)["run_id"].tolist() for sort in ("36/255", str(36 / 255), "1", "1.0")]
    assert by[0] == by[1] != by[2] == by[3]


def test_boards_have_the_radii_of_the_literature() -> None:
    quarters = [k / 4 for k in range(1, 13)]
    for board in ("cifar10", "cifar100", "svhn", "tiny-imagenet"):
        known = load_board(board)
        assert {*quarters, 36 / 255, 72 / 255, 108 / 255} <= {*known.all_radii}
        assert list(known.all_radii) == sorted({*known.radii, *known.reported})
    assert {*quarters, 3.25, 3.5} <= {*load_board("imagenet").all_radii}


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "cifar100", "imagenet"])
def test_boards_have_rising_radii(dataset: str) -> None:
    board = load_board(dataset)
    assert list(board.radii) == sorted(set(board.radii))
    assert board.radii[0] > 0
    assert load_board("a folder of one's own").radii


@pytest.mark.parametrize(
    "wrong", ["radii = [0.0, 0.5]", "radii = [0.5]\nreported = [0.0]", 'radii = [0.5]\nnorm = "linf"']
)
def test_a_board_is_of_positive_l2_radii(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "own.toml").write_text(f'title = "Own"\n{wrong}\n')
    with pytest.raises(UserError, match=r"own\.toml"):
        load_board("own", tmp_path)


@pytest.mark.parametrize("radius", ['"1/0"', '"1e999"', '"x"', "-0.5", "inf", "[0.1]"])
def test_what_is_no_radius_is_named(tmp_path: Path, radius: str) -> None:
    (tmp_path / "own.toml").write_text(f'title = "Own"\nradii = [0.5]\nreported = [{radius}]\n')
    with pytest.raises(UserError, match=r"own\.toml is no board: it needs a title and radii"):
        load_board("own", tmp_path)


def shown(kinds: list[str], **at: float) -> list[str]:
    """The radii that a table shows of those given, each with the share that is certified there."""
    group = pd.DataFrame([{"kind": kind, **{f"r={r}": value for r, value in at.items()}} for kind in kinds])
    hidden: Any = unimportant(group)
    columns = [name for name in map(str, group) if name.startswith("r=") and name not in hidden]
    return [radius_text(float(name.removeprefix("r="))) for name in columns]


def test_a_table_shows_the_radii_that_matter_for_its_rows() -> None:
    near = {"0.1": 0.9, "0.25": 0.6, str(36 / 255): 0.8, "0.5": 0.1, "1.0": 0.0}
    assert shown(["vote", "margin"], **near) == ["0.1", "0.25", "0.5"]
    assert shown(["margin"], **near) == ["0.25", "36/255", "0.5"]
    assert shown(["vote"], **near | {"1.0": 0.01, "1.25": 0.01}) == ["0.25", "0.5", "1.0", "1.25"]
    unreached = unimportant(pd.DataFrame([{"kind": "vote", "r=0.1": 0.5, "r=0.5": 0.1, "r=1.0": 0}]))
    assert unreached == ["r=1.0"]
