"""The notebook of the documentation runs in an empty folder; what it shows agrees with the records that it wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from helpers.cli import succeed
from helpers.known import records_file
from helpers.pages import DOCS
from nbclient import NotebookClient
from safetensors.numpy import load_file
from scipy.stats import beta, norm
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

NOTEBOOK = DOCS / "how-to" / "your-own-model-in-python.ipynb"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("empty")


@pytest.fixture(scope="module")
def printed(place: Path) -> list[str]:
    """What each program of the notebook prints and shows, in their order; none of them fails."""
    beside = set(NOTEBOOK.parent.iterdir())
    content: Any = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(content, timeout=300, resources={"metadata": {"path": place}}).execute()
    assert set(NOTEBOOK.parent.iterdir()) == beside
    programs = [cell for cell in content.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in programs] == list(range(1, len(programs) + 1))
    return ["".join(map(text_of, cell.outputs)) for cell in programs]


def text_of(output: Any) -> str:
    return str(output.get("text") or output.data["text/plain"]) if output.get("name") != "stderr" else ""


@pytest.fixture(scope="module")
def rows(printed: list[str], place: Path) -> dict[str, dict[str, Any]]:
    """The rows of the board of the digits, by their names."""
    board = json.loads(succeed("leaderboard", "digits", "--runs", place / "runs", "--format", "json"))
    return {row["method"]: row for row in board["rows"]}


def records(place: Path, row: dict[str, Any], protocol: str) -> list[dict[str, Any]]:
    [run] = row["runs"]
    return [json.loads(line) for line in records_file(place / "runs" / run, protocol).read_text().splitlines()]


def numbers_after(text: str, printed: list[str]) -> list[float]:
    """The numbers of the one line that begins with `text`."""
    [line] = [line for program in printed for line in program.splitlines() if line.startswith(text)]
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", line.removeprefix(text))]


def test_the_notebook_is_kept_without_outputs() -> None:
    programs = [cell for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
    assert len(programs) > 10
    assert not any(cell.outputs or cell.execution_count for cell in programs)


@pytest.mark.slow
def test_certified_accuracy_is_a_count_of_the_records(
    place: Path, rows: dict[str, dict[str, Any]], printed: list[str]
) -> None:
    """At each radius, by radii that are computed again from the votes; at 0 what is left are right answers."""
    assert set(rows) == {"noisy", "plain"}
    for row in rows.values():
        certified = records(place, row, "certify")
        assert [record["idx"] for record in certified] == list(range(100))
        counts = np.array([record["count"] for record in certified])
        radii = 0.25 * norm.ppf(np.maximum(beta.ppf(0.001, counts, 1_000 - counts + 1), 0.5))
        right = np.array([record["chosen"] == [record["label"]] for record in certified])
        for radius, share in row["certified_accuracy"].items():
            assert share == (right & (radii >= float(radius))).mean()
        assert row["clean_accuracy"] == right.mean()
        assert row["abstained"] == (radii == 0).mean()
        assert row["acr"] == pytest.approx((right * radii).mean())
        if row["method"] == "noisy":
            assert numbers_after("certified at 0:", printed) == [(right & (radii > 0)).mean()]
            assert numbers_after("certified at 0.2:", printed) == [row["certified_accuracy"]["0.2"]]
            assert numbers_after("abstained:", printed) == [row["abstained"]]
            assert numbers_after("right, of the certified images:", printed) == [row["clean_accuracy"]]
            once, again = re.findall(r"0\.\d+", next(text for text in printed if "radius: 0." in text).splitlines()[-1])
            assert float(once) == pytest.approx(float(again), rel=1e-12)


@pytest.mark.slow
def test_a_clean_pass_is_that_of_the_weights_that_were_kept(place: Path, printed: list[str]) -> None:
    """Two products of matrices, on the test images taken from scikit-learn."""
    scans = load_digits()
    _, test = train_test_split(np.arange(1797), test_size=500, random_state=0, stratify=scans.target)
    test = np.sort(test)
    [file] = (place / "runs" / "weights").glob("noisy-*.safetensors")
    weights = load_file(file)
    pixels = np.rint(scans.images[test] * 255 / 16).reshape(500, 64) / 255
    hidden = np.maximum((pixels - 0.3) @ weights["layers.1.weight"].T + weights["layers.1.bias"], 0)
    answers = (hidden @ weights["layers.3.weight"].T + weights["layers.3.bias"]).argmax(axis=1)
    assert numbers_after("a single clean pass is right:", printed) == [(answers == scans.target[test]).mean()]
    assert numbers_after("labels:", printed) == scans.target[test][[3, 14, 15, 92]].tolist()


@pytest.mark.slow
def test_attacks_and_audits_on_the_board_are_those_of_the_records(
    place: Path, rows: dict[str, dict[str, Any]], printed: list[str]
) -> None:
    for row in rows.values():
        attacked = [record for record in records(place, row, "attack") if record["correct"]]
        assert 10 < len(attacked) <= 20
        for column, name in (("adversarial_distance", "best"), ("pgd", "pgd"), ("ddn", "ddn")):
            found = [np.inf if record[name] is None else record[name] for record in attacked]
            assert row[column] == pytest.approx(np.median(found))
        audited = records(place, row, "audit")
        inside = [record for record in audited if record["attacked"]]
        assert row["audit"] == {"violations": sum(record["violated"] for record in inside), "attacked": len(inside)}
        assert not any(record["distance"] and record["distance"] < record["radius"] for record in inside)
    audited = records(place, rows["noisy"], "audit")
    nearest = min(record["distance"] / record["radius"] for record in audited if record["distance"])
    assert numbers_after("nearest, as a multiple of the radius:", printed) == [pytest.approx(nearest, abs=0.005)]


@pytest.mark.slow
def test_the_board_at_its_end_is_the_one_of_the_command(rows: dict[str, dict[str, Any]], printed: list[str]) -> None:
    """And the vote's radii of a few images alone are those of the row; the network of the run is the one given."""
    table = {line.split()[0]: list(map(float, line.split()[1:])) for line in printed[-2].splitlines()[1:] if line}
    order = printed[-2].splitlines()[0].split()[1:]
    assert set(order) == set(rows)
    for name, values in (
        ("clean_accuracy", [rows[method]["clean_accuracy"] for method in order]),
        ("r=0.4", [rows[method]["certified_accuracy"]["0.4"] for method in order]),
        ("acr", [rows[method]["acr"] for method in order]),
        ("adversarial_distance", [rows[method]["adversarial_distance"] for method in order]),
        ("audit.violations", [rows[method]["audit"]["violations"] for method in order]),
        ("audit.attacked", [rows[method]["audit"]["attacked"] for method in order]),
    ):
        assert table[name] == pytest.approx(values, abs=1e-5)
    alone, of_the_row = (printed[number].splitlines()[-4:] for number in (8, 9))
    assert [line.split()[1] for line in alone] == ["3", "14", "15", "92"]
    assert [line.split()[1:] for line in alone] == [line.split()[1:] for line in of_the_row]
    assert "True\n" in printed
