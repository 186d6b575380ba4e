"""Boards and rows of one's own, laid over those of the suite: they add, and never hide."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.cli import call, succeed
from helpers.logs import counted

from leaderboards import load_board, rows, table
from leaderboards.published import PUBLISHED, all_roots

ABOUT = ["--method", "theirs", "--citation", "A. Author. Title. Venue, 2020.", "--few", "--n", "1000"]


def log(folder: Path) -> Path:
    return counted(folder / "cnn_noise_0.25_sigma_0.25.tsv", [1_000, 999, 990, 900])


@pytest.mark.parametrize("by", ["working directory", "SUITE_BOARDS", "--board-root"])
def test_rows_of_ones_own_stand_beside_the_suites(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the suite's board of CIFAR-10, without anything new in the package."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SUITE_BOARDS", raising=False)
    before = {file: file.stat().st_mtime_ns for file in PUBLISHED.rglob("*.toml")}
    shipped = {row.run_id for row in rows("cifar10", tmp_path / "runs", published=all_roots())}
    where = {"working directory": tmp_path / "boards", "SUITE_BOARDS": tmp_path / "mine"}.get(by, tmp_path / "third")
    if by == "SUITE_BOARDS":
        monkeypatch.setenv("SUITE_BOARDS", str(where))
    root = ["--board-root", str(where)] if by == "--board-root" else []
    succeed("import", str(log(tmp_path)), "--board", "cifar10", *ABOUT, *root)
    content = json.loads(succeed("leaderboard", "cifar10", *root, "--format", "json"))
    found = {row["run_id"] for row in content["rows"]}
    assert {name for name in found - shipped} == {"cifar10/theirs-cnn_noise_0.25_sigma_0.25"}
    assert shipped <= found
    assert [file.name for file in (where / "cifar10").iterdir()] == ["theirs-cnn_noise_0.25_sigma_0.25.toml"]
    assert {file: file.stat().st_mtime_ns for file in PUBLISHED.rglob("*.toml")} == before


def test_a_board_of_ones_own_goes_before_the_suites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUITE_BOARDS", str(tmp_path / "mine"))
    shipped = load_board("mnist")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "mnist.toml").write_text('title = "Mine"\nradii = [0.5]\n')
    (tmp_path / "mine" / "scans.toml").write_text('title = "Scans"\nradii = ["36/255"]\n')
    assert (load_board("mnist").title, load_board("mnist").radii) == ("Mine", (0.5,))
    assert load_board("scans").radii == (36 / 255,)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mnist.toml").write_text('title = "Another"\nradii = [0.75]\n')
    assert load_board("mnist", tmp_path / "other").title == "Another"
    monkeypatch.delenv("SUITE_BOARDS")
    monkeypatch.chdir(tmp_path)
    assert load_board("mnist") == shipped
    assert "board 'scans'" in call("import", str(log(tmp_path)), "--board", "scans", *ABOUT).err


def test_the_first_folder_that_has_a_row_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = str(log(tmp_path))
    for folder, method in (("one", "theirs"), ("two", "others")):
        about = [method if word == "theirs" else word for word in ABOUT]
        succeed("import", file, "--board", "cifar10", *about, "--row", "same", "--board-root", folder)
    frame = table("cifar10", tmp_path / "runs", published=(Path("two"), Path("one")))
    assert frame["method"].tolist() == ["others"]
