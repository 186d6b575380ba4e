"""kill -9 and Ctrl-C at any point, then the same command again: the same weights, the same records."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.command_line import suite
from helpers.processes import Started
from helpers.runs import TINY, options

from suite.store.records import RecordFile

SETTINGS = {**TINY, "epochs": 0.4, "timesteps": 3}  # several timesteps: f_k has to survive the kill too
COMMAND = ["run", "--no-track", "--format", "json", *options(SETTINGS)]


def content(runs: Path) -> dict[str, Any]:
    """The weights' bytes and the records, without the times it took to make them."""
    found: dict[str, Any] = {str(f.relative_to(runs)): f.read_bytes() for f in runs.rglob("model.safetensors")}
    for file in runs.rglob("*.jsonl"):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(runs))] = [{k: v for k, v in record.items() if k != "time"} for record in records]
    return found


def lines(runs: Path) -> int:
    """The certificates that are written."""
    return sum(file.read_bytes().count(b"\n") for file in runs.rglob("certify*.jsonl"))


MOMENTS: list[tuple[str, Callable[[Path], bool]]] = [
    ("the baseline trains", lambda runs: any(runs.rglob("models/baseline-*/training.pt"))),
    ("heat trains", lambda runs: any(runs.rglob("models/heat-*/training.pt"))),
    ("heat trains, again", lambda runs: any(runs.rglob("models/heat-*/training.pt"))),
    ("the first record", lambda runs: lines(runs) > 0),
    ("some records more", lambda runs: lines(runs) > 9),
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that nothing disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    suite.succeed(*COMMAND, "--runs", str(runs))
    return runs


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_killed_at_random_points_it_ends_with_the_same_weights_and_records(whole: Path, tmp_path: Path) -> None:
    runs, chance = tmp_path / "killed", random.Random(0)
    killed = []
    for name, reached in MOMENTS:
        process = Started(*COMMAND, "--runs", str(runs), "--batch-size", str(chance.choice([1, 7, 256])))
        if process.wait_until(lambda reached=reached: reached(runs)):  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.1))
            process.send(signal.SIGKILL)
        killed += [name] if process.end()[0] == -signal.SIGKILL else []
        if name == "some records more":
            [records] = runs.rglob("certify*.jsonl")
            with records.open("ab") as file:
                file.write(b'{"idx": 29, "label"')  # what a kill in the middle of a write leaves
    assert len(killed) >= 3, killed
    suite.succeed(*COMMAND, "--runs", str(runs), "--batch-size", "7")
    assert content(runs) == content(whole)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_batch_size_changes_no_record(whole: Path, tmp_path: Path) -> None:
    for size in ("1", "7"):
        shutil.copytree(whole / "models", tmp_path / size / "models")
        suite.succeed(*COMMAND, "--runs", str(tmp_path / size), "--batch-size", size)
        assert content(tmp_path / size) == content(whole)


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_ctrl_c_exits_with_130_and_goes_on(tmp_path: Path) -> None:
    longer = ["--set", "start.training.epochs=5", "--runs", str(tmp_path)]  # time to notice that training goes on
    process = Started(*COMMAND, *longer)
    assert process.wait_until(lambda: any(tmp_path.rglob("training.pt")))
    process.send(signal.SIGINT)
    code, _, err = process.end()
    assert code == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert json.loads(suite.succeed(*COMMAND, *longer))["images"] == 30


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_two_processes_on_one_run_share_it(tmp_path: Path) -> None:
    both = [Started(*COMMAND, "--runs", str(tmp_path)) for _ in range(2)]
    results = []
    for process in both:
        code, out, err = process.end()
        assert code == 0, err
        results.append(json.loads(out))
    assert results[0] == results[1]
    assert lines(tmp_path) == 30


def test_an_unfinished_line_is_dropped_and_a_damaged_one_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_bytes(b'{"idx": 0}\n{"idx": 1}\n{"id')
    with RecordFile(path) as file:
        assert file.done == {0, 1}
        file.write({"idx": 2})
    assert path.read_bytes() == b'{"idx": 0}\n{"idx": 1}\n{"idx": 2}\n'
    path.write_bytes(b'{"idx": 0}\nrubbish\n{"idx": 2}\n')
    with pytest.raises(Exception, match="line 2"):
        RecordFile(path)
