"""Each file of a store, damaged in any way: every command ends well or in one line, and boards keep their rows."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import succeed
from helpers.fuzz import QUICK, assert_kept, assert_no_traceback, call, changed, examples, restore, snapshot
from helpers.logs import log
from hypothesis import given
from hypothesis import strategies as st

from leaderboards import published
from leaderboards.published import PUBLISHED
from suite import RunSpec, run
from suite.pipeline import Machine
from suite.statistics.bounds import certified_radius

pytestmark = pytest.mark.slow

ALL = "accuracy,certify,lbound,attack,timing,agreement,audit"
SMALL = [f"{name}.images=2" for name in ("lbound", "attack", "agreement", "audit")] + ["timing.repeats=3"]
UNFINISHED = {
    "images": 4,
    "method": "baseline",
    "dataset": "digits",
    "profile": "demo",
    "epochs": 0.1,
    "seed": 1,
    "n": 50,
}
RESUME = ["run", *(word for name, value in UNFINISHED.items() for word in (f"--{name}", value)), "--no-track"]
BOARD = 'title = "Mine"\nradii = [0.1, 0.25]\nclasses = 10\nimages = 100\nsort = "acr"\ntop = 1\n'
FORMS = ["table", "json", "csv", "markdown", "latex", "html"]
FIRST = "runs/baseline*seed0*"
FILES = {  # by what they are: where they lie, and their kind
    "spec": (f"{FIRST}/spec.json", "json"),
    "environment": (f"{FIRST}/environment.json", "json"),
    "result": (f"{FIRST}/result.json", "json"),
    "training": (f"{FIRST}/training.json", "json"),
    "certify": (f"{FIRST}/certify-*.jsonl", "jsonl"),
    "audit": (f"{FIRST}/audit-*.jsonl", "jsonl"),
    "attack": (f"{FIRST}/attack-*.jsonl", "jsonl"),
    "lbound": (f"{FIRST}/lbound-*.jsonl", "jsonl"),
    "settings": (f"{FIRST}/certify-*.json", "json"),
    "weights": (f"{FIRST}/model.safetensors", ""),
    "model's spec": ("runs/models/baseline*seed1*/spec.json", "json"),
    "state": ("runs/models/baseline*seed1*/training.pt", ""),
    "held": ("runs/.baseline*seed0*.held", "json"),
    "lock": ("runs/.baseline*seed0*.lock", ""),
    "entry": ("boards/mine/*.toml", "toml"),
    "board": ("boards/mine.toml", "toml"),
    "paper": ("boards/paper/*.toml", "toml"),
    "kept result": ("boards/runs/baseline*/result.json", "json"),
    "kept records": ("boards/runs/baseline*/certify-*.jsonl.xz", ""),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, one in the middle of its training, one kept, and a board of one's own with published rows."""
    place = tmp_path_factory.mktemp("store")
    runs, boards = place / "runs", place / "boards"
    small = [word for setting in SMALL for word in ("--set", setting)]
    for method in ("baseline", "randomized-smoothing"):
        succeed(*QUICK, *small, "--method", method, "--protocols", ALL, "--runs", runs)
    with contextlib.suppress(InterruptedError):
        run(RunSpec(**UNFINISHED), Machine(runs=runs, track=False), watch=interrupt)
    (boards / "paper").mkdir(parents=True)
    (boards / "mine.toml").write_text(
        'title = "Mine"\nradii = [0.1, 0.25]\nclasses = 10\nimages = 100\nsort = "acr"\ntop = 1\n'
    )
    counts = [certified_radius(99_000 + 10 * i, 100_000, 0.001, 0.25) for i in range(60)]
    for name in ("one", "other"):
        lines = [f"{i}\t1\t1\t{radius:.6f}\t1\t0.1" for i, radius in enumerate(counts)]
        file = log(place / f"{name}_noise_0.25_sigma_0.25.tsv", *lines)
        about = ["--method", f"{name}-way", "--citation", "A. B., NeurIPS 2020", "--arch", "resnet"]
        succeed("import", file, "--board", "mine", *about, "--board-root", boards)
    [first] = runs.glob("baseline*seed0*")
    succeed("publish", first, "--runs", runs, "--board-root", boards)
    shutil.copy(PUBLISHED / "paper" / "adversarial-boot-camp.toml", boards / "paper" / "a.toml")
    (runs / f".{first.name}.held").write_text(json.dumps({"host": "elsewhere", "pid": 1, "since": "2020-01-01"}))
    (runs / f".{first.name}.lock").write_text("")
    return place


def interrupt(step: int, total: int, model: Any) -> None:
    raise InterruptedError


def looks(place: Path, name: str) -> Iterator[list[object]]:
    """What is asked of the store, the cheap more often."""
    runs, boards = place / "runs", place / "boards"
    where, root = ["--runs", runs], ["--board-root", boards]
    [first] = runs.glob("baseline*seed0*")
    published = name in ("entry", "board", "paper")
    for form in FORMS:
        yield ["leaderboard", "mine" if published else "digits", *where, *root, "--format", form]
    if published:
        yield ["report", "digits", *where, *root]
        return
    if name == "state":
        yield [*RESUME, *where]
        return
    for form in ("table", "json"):
        yield from (["runs", *where, "--format", form], ["doctor", *where, "--format", form])
        yield from (["show", first, *where, "--format", form], ["verify", first, *where, "--format", form])
    yield ["report", "digits", *where, *root]
    yield ["publish", first, *where, *root]
    yield ["certify", first, *where, "--dry-run"]
    yield ["clean", *where]
    yield [*QUICK, *where]
    yield (
        [*QUICK, *where, "--set", "certify.batch=1"]
        if name == "never"
        else ["run", "--config", first, *where, "--dry-run"]
    )


@pytest.mark.parametrize("name", FILES)
@given(data=st.data())
@examples(3)
def test_a_damaged_file_takes_nothing_down(store: Path, name: str, data: st.DataObject) -> None:
    pattern, kind = FILES[name]
    file = sorted(store.glob(pattern))[0]
    before = snapshot(store)
    words = data.draw(st.sampled_from(list(looks(store, name))))
    content = data.draw(changed(before[file], kind))
    file.write_bytes(content)
    published._entry.cache_clear()
    published._row.cache_clear()  # of a file that is read once while it stays as it is
    for held in store.glob("runs/.*.held"):
        os.utime(held, (0, 0))  # of a process that is long dead: nobody waits for it
    try:
        answer = call(*words)
        assert_no_traceback(answer, found=words[0] == "verify")
        if words[0] == "leaderboard" and name != "board":
            other = "other-way" if words[1] == "mine" else "randomized-smoothing"
            named = file.name if name in ("result", "entry") and not reads(content, kind) else ""
            assert_kept(answer, other, named)
    finally:
        restore(store, before)


def reads(content: bytes, kind: str) -> bool:
    try:
        return isinstance(json.loads(content) if kind == "json" else tomllib.loads(content.decode()), dict)
    except (ValueError, RecursionError):
        return False
