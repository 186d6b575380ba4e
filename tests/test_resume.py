"""kill -9 and Ctrl-C at any point, then the same command again: the same weights, the same records."""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import TINY, options, succeed
from helpers.processes import Command, Moment

from suite.store.records import RecordFile

SETTINGS = {**TINY, "epochs": 0.15, "timesteps": 3}  # several timesteps: f_k has to survive the kill too


def command(runs: Path, *more: str) -> list[str]:
    return ["run", "--no-track", "--format", "json", *options(SETTINGS), "--runs", str(runs), *more]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that nothing disturbed."""
    runs = tmp_path_factory.mktemp("whole")
    succeed(*command(runs))
    return runs


def content(runs: Path) -> dict[str, Any]:
    """The weights' bytes and the records, without the times it took to make them."""
    found: dict[str, Any] = {str(f.relative_to(runs)): f.read_bytes() for f in runs.rglob("model.safetensors")}
    for file in runs.rglob("*.jsonl"):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(runs))] = [{k: v for k, v in record.items() if k != "time"} for record in records]
    return found


# What is on the disk changes with the writes alone, so that these moments stand for those between them.
MOMENTS = [
    Moment("*/models/baseline-*/training.pt", 3, "before"),
    Moment("*/models/heat-*/training.pt", 2),
    Moment("*/models/heat-*/model.safetensors", 1, "before"),
    Moment("*/models/heat-*/model.safetensors"),
    Moment("*/heat-*/accuracy-*.jsonl", 300),
    Moment("*/heat-*/certify-*.jsonl"),
    Moment("*/heat-*/certify-*.jsonl", 10, "halfway"),
    Moment("*/heat-*/result.json", 1, "before"),
]


@pytest.mark.slow
def test_killed_at_eight_moments_it_ends_with_the_same_weights_and_records(whole: Path, tmp_path: Path) -> None:
    runs, chance = tmp_path / "killed", random.Random(0)
    for moment in MOMENTS:
        size = str(chance.choice([1, 7, 256]))
        process = Command(tmp_path, *command(runs, "--batch-size", size), moment=moment)
        code, _, said = process.wait()
        assert code == -signal.SIGKILL, said
    Command(tmp_path, *command(runs, "--batch-size", "7")).succeed()
    assert content(runs) == content(whole)


@pytest.mark.slow
def test_the_batch_size_changes_no_record(whole: Path, tmp_path: Path) -> None:
    for size in ("1", "7"):
        shutil.copytree(whole / "models", tmp_path / size / "models")
        succeed(*command(tmp_path / size, "--batch-size", size))
        assert content(tmp_path / size) == content(whole)


@pytest.mark.slow
def test_ctrl_c_exits_with_130_and_goes_on(whole: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    moment = Moment("*/training.pt", what=signal.SIGINT)
    code, _, err = Command(tmp_path, *command(runs), moment=moment).wait()
    assert code == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert json.loads(succeed(*command(runs)))["images"] == 30
    assert content(runs) == content(whole)


@pytest.mark.slow
def test_two_processes_on_one_run_share_it(tmp_path: Path) -> None:
    both = [Command(tmp_path, *command(tmp_path / "runs")) for _ in range(2)]
    first, second = (json.loads(process.succeed()) for process in both)
    assert first == second
    assert len(list(tmp_path.rglob("certify-*.jsonl"))) == 1
    assert sum(file.read_bytes().count(b"\n") for file in tmp_path.rglob("certify-*.jsonl")) == 30


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
