"""The results of a store: read once, read again when they change, and left out where they cannot be read."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.rows import margin, result

from leaderboards import cache, read_results, table
from suite.store.files import write_json


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[str]]:
    """Sixty runs of twenty recipes, and the names of those whose result was read from the file."""
    first, reads = result(), list[str]()
    for number in range(60):
        recipe, seed = divmod(number, 3)
        write(tmp_path, f"run-{number:02}", first | {"recipe": f"r{recipe}", "seed": seed, "method": f"m{recipe}"})
    parse = cache._parse

    def counted(file: Path) -> Any:
        reads.append(file.parent.name)
        return parse(file)

    monkeypatch.setattr(cache, "_parse", counted)
    return tmp_path, reads


def write(runs: Path, name: str, row: Any) -> Path:
    (runs / name).mkdir(exist_ok=True)
    write_json(runs / name / "result.json", row)
    return runs / name / "result.json"


@pytest.mark.slow
def test_each_file_is_read_once_until_it_changes(store: tuple[Path, list[str]]) -> None:
    runs, reads = store
    before = table("digits", runs, published=None)
    assert (len(before), len(reads)) == (20, 60)
    assert table("digits", runs, published=None).equals(before)
    assert len(reads) == 60
    write(runs, "run-03", result() | {"recipe": "r1", "seed": 0, "method": "m1", "acr": 0.9})
    changed = table("digits", runs, published=None).set_index("method")
    assert reads[60:] == ["run-03"]
    assert changed.loc["m1", "acr"] == pytest.approx((0.9 + 2 * 0.16) / 3)
    assert changed.loc["m2", "acr"] == pytest.approx(0.16)


def test_a_change_of_the_same_size_is_noticed(store: tuple[Path, list[str]]) -> None:
    runs, _ = store
    table("digits", runs)
    file = runs / "run-00" / "result.json"
    content, status = file.read_text(), file.stat()
    file.write_text(content.replace('"method": "m0"', '"method": "mx"'))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert "mx" in set(table("digits", runs)["method"])


def test_runs_that_come_and_go_are_noticed(store: tuple[Path, list[str]]) -> None:
    runs, reads = store
    table("digits", runs, published=None)
    shutil.rmtree(runs / "run-59")
    write(runs, "run-60", result() | {"recipe": "new", "method": "new"})
    frame = table("digits", runs, published=None).set_index("method")
    assert (len(frame), reads[60:]) == (21, ["run-60"])
    assert frame.loc["m19", "runs"] == ["run-57", "run-58"]
    assert frame.loc["m19", "seeds"] == [0, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"meth', "is damaged"),
        ("[]", "is damaged"),
        ("7", "is damaged"),
        ("\xff", "is damaged"),
        ("[" * 100_000, "is damaged"),
        ('{"method": "heat", "dataset": "digits", "acr": 0.1}', "data: Field required"),
        ({"acr": "high"}, "acr: Input should be a valid number"),
        ({"sigma": float("inf")}, "sigma: Input should be a finite number"),
        ({"certified_accuracy": [1]}, "certified_accuracy"),
        ({"lbound": {"certified_accuracy": 0.5}}, "lbound.certified_accuracy: no table of numbers by radius"),
        ({"sigma": None}, "sigma: a result with certificates needs it"),  # of a vote
        ({"kind": "promise"}, "kind: Input should be 'vote' or 'margin'"),
    ],
)
def test_a_damaged_result_is_left_out_and_said(store: tuple[Path, list[str]], content: Any, said: str) -> None:
    runs, _ = store
    text = json.dumps(result() | content) if isinstance(content, dict) else content
    (runs / "run-07" / "result.json").write_bytes(text.encode("latin-1"))
    results, [damaged] = read_results(runs)
    assert len(results) == 59
    assert str(runs / "run-07" / "result.json") in damaged
    assert said in damaged
    assert "\n" not in damaged
    assert len(table("digits", runs)) == 20


def test_a_run_that_vanishes_between_listing_and_reading_is_no_error(
    store: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, _ = store
    parse = cache._parse

    def vanish(file: Path) -> Any:
        shutil.rmtree(runs / "run-59", ignore_errors=True)
        if file.parent.name == "run-58":
            shutil.rmtree(file.parent)
        return parse(file)

    monkeypatch.setattr(cache, "_parse", vanish)
    assert [len(found) for found in read_results(runs)] == [58, 0]


def test_a_runs_id_is_its_folder(tmp_path: Path) -> None:
    write(tmp_path, "mine", result() | {"run_id": "../../elsewhere", "source": "published"})
    [row] = read_results(tmp_path)[0]
    assert (row.run_id, row.source) == ("mine", "run")


def test_a_margin_needs_no_noise_and_says_of_what_it_is(tmp_path: Path) -> None:
    row = margin()
    assert (row["kind"], row["sigma"], row["n0"], row["n"], row["alpha"]) == ("margin", None, None, None, 0.0)
    write(tmp_path, "mine", row)
    write(tmp_path, "gone", row | {"deployed": None})
    [found], [damaged] = read_results(tmp_path)
    assert (found.run_id, found.kind, found.deployed, found.holds) == ("mine", "margin", "pass", True)
    assert "deployed: a result with certificates needs it" in damaged


def test_a_store_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_results(tmp_path / "nowhere") == ([], [])
