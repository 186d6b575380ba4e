"""kill -9 and Ctrl-C at any point, then the same command again: the same weights, the same records."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import TINY, options

from suite.store.records import RecordFile

SETTINGS = {**TINY, "epochs": 0.4, "timesteps": 3}  # several timesteps: f_k has to survive the kill too

COMMAND = [sys.executable, "-c", "from suite.cli.main import main; main()", "run", "--no-track", "--format", "json"]


def start(runs: Path, *more: str) -> subprocess.Popen[str]:
    command = [*COMMAND, *options(SETTINGS), "--runs", str(runs), *more]
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell may have its background jobs ignore it
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=listen)


def finish(runs: Path, *more: str) -> dict[str, Any]:
    process = start(runs, *more)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def content(runs: Path) -> dict[str, Any]:
    """The weights' bytes and the records, without the times it took to make them."""
    found: dict[str, Any] = {str(f.relative_to(runs)): f.read_bytes() for f in runs.rglob("model.safetensors")}
    for file in runs.rglob("*.jsonl"):
        records = [json.loads(line) for line in file.read_text().splitlines()]
        found[str(file.relative_to(runs))] = [{k: v for k, v in record.items() if k != "time"} for record in records]
    return found


def lines(runs: Path, name: str) -> int:
    return sum(file.read_bytes().count(b"\n") for file in runs.rglob(name))


MOMENTS: list[tuple[str, Callable[[Path], bool]]] = [
    ("the baseline trains", lambda runs: any(runs.rglob("models/baseline-*/training.pt"))),
    ("heat trains", lambda runs: any(runs.rglob("models/heat-*/training.pt"))),
    ("heat trains, again", lambda runs: any(runs.rglob("models/heat-*/training.pt"))),
    ("the first record", lambda runs: lines(runs, "certify.jsonl") > 0),
    ("some records more", lambda runs: lines(runs, "certify.jsonl") > 9),
]


def test_killed_at_random_points_it_ends_with_the_same_weights_and_records(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    runs, chance = tmp_path / "killed", random.Random(0)
    killed = []
    for name, reached in MOMENTS:
        process = start(runs, "--batch-size", str(chance.choice([1, 7, 256])))
        while process.poll() is None and not reached(runs):
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        if process.poll() is None:
            killed.append(name)
            process.kill()
        process.communicate()
        if name == "some records more":
            [records] = runs.rglob("certify-*.jsonl")
            with records.open("ab") as file:
                file.write(b'{"idx": 29, "label"')  # what a kill in the middle of a write leaves
    assert len(killed) >= 3, killed
    finish(runs, "--batch-size", "7")
    assert content(runs) == content(tmp_path / "whole")


def test_the_batch_size_changes_no_record(tmp_path: Path) -> None:
    finish(tmp_path / "256", "--batch-size", "256")
    for size in ("1", "7"):
        shutil.copytree(tmp_path / "256" / "models", tmp_path / size / "models")
        finish(tmp_path / size, "--batch-size", size)
        assert content(tmp_path / size) == content(tmp_path / "256")


def test_ctrl_c_exits_with_130_and_goes_on(tmp_path: Path) -> None:
    longer = ("--set", "start.training.epochs=40")  # than the time it takes to notice that training goes on
    process = start(tmp_path, *longer)
    while not any(tmp_path.rglob("training.pt")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err
    assert finish(tmp_path, *longer)["images"] == 30


def test_two_processes_on_one_run_share_it(tmp_path: Path) -> None:
    both = [start(tmp_path), start(tmp_path)]
    results = []
    for process in both:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        results.append(json.loads(out))
    assert results[0] == results[1]
    assert lines(tmp_path, "certify.jsonl") == 30


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
