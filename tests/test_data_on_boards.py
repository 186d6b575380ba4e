"""Folders of one name on a board: other data are in other tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from helpers.rows import MARGINS, RECORDS, store

from leaderboards import groups, rows, table
from suite.spec.run_spec import RunSpec
from suite.store.result import Result, make_result


def own(folder: str, fingerprint: str, method: str = "baseline") -> dict[str, Any]:
    """The result of a run on a folder of one's own."""
    spec = RunSpec(method=method, dataset=folder, sigma=0.25).on(fingerprint)
    return make_result(spec, "data", "data", {"certify": RECORDS})


def tables(runs: Path) -> list[tuple[str, int]]:
    """The title of each table, as far as the data, and how many rows it has."""
    return [(name.partition(":")[0], len(group)) for name, group in groups(table("data", runs, published=None))]


def test_two_folders_of_one_name_are_in_two_tables(tmp_path: Path) -> None:
    store(tmp_path, own("alice/data", "a" * 16), own("bob/data", "b" * 16), own("bob/data", "b" * 16, method="heat"))
    assert sorted(tables(tmp_path)) == [("data (aaaaaaaa)", 1), ("data (bbbbbbbb)", 2)]


def test_one_folder_by_two_paths_is_in_one_table(tmp_path: Path) -> None:
    store(tmp_path, own("alice/data", "a" * 16), own("./data", "a" * 16, method="heat"))
    assert tables(tmp_path) == [("data", 2)]


def test_a_margin_is_compared_with_votes_on_its_folder_alone(tmp_path: Path) -> None:
    spec = RunSpec(method="lipschitz", dataset="bob/data").on("b" * 16)
    margin = make_result(spec, "data", "data", {"certify": MARGINS})
    store(tmp_path, own("alice/data", "a" * 16), own("bob/data", "b" * 16), margin)
    assert sorted(tables(tmp_path)) == [("data (aaaaaaaa)", 1), ("data (bbbbbbbb)", 2)]


def test_rows_of_before_stand_beside_the_only_folder_of_their_name(tmp_path: Path) -> None:
    before = own("carol/data", "c" * 16, method="heat")
    del before["fingerprint"]
    store(tmp_path, own("alice/data", "a" * 16), before)
    assert tables(tmp_path) == [("data", 2)]
    store(tmp_path, own("bob/data", "b" * 16))
    assert sorted(tables(tmp_path)) == [("data", 1), ("data (aaaaaaaa)", 1), ("data (bbbbbbbb)", 1)]


def test_registered_data_sets_go_by_their_titles(tmp_path: Path) -> None:
    for method, fingerprint in ("baseline", "a" * 16), ("heat", "b" * 16):
        spec = RunSpec(method=method, dataset="digits", sigma=0.25).on(fingerprint)
        row = make_result(spec, "digits", "Digits", {"certify": RECORDS})
        assert row["fingerprint"] == ""
        store(tmp_path, row)
    assert {row.data for row in rows("digits", tmp_path, published=None)} == {"Digits"}


def test_a_folder_that_stands_in_for_a_built_in_data_set_is_a_folder() -> None:
    spec = RunSpec(method="baseline", dataset="mnist", sigma=0.25).on("a" * 16)
    assert make_result(spec, "mnist", "mnist", {"certify": RECORDS})["fingerprint"] == "a" * 16
    assert make_result(spec, "mnist", "MNIST", {"certify": RECORDS})["fingerprint"] == ""


def test_a_result_without_a_fingerprint_is_read() -> None:
    assert Result(run_id="r", method="m", dataset="data").fingerprint == ""
