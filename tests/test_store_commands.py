"""suite runs, show, rm and clean: what is kept, and how to be rid of it."""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.cli import TINY

from leaderboards import rows
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT
from suite import RunSpec, run
from suite.cli import main as cli
from suite.pipeline import Machine
from suite.store.inventory import inventory, unused
from suite.store.locks import hold, lock_of

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two finished runs of two models, one of which started from a third, and a folder with a spec alone."""
    machine = Machine(runs=tmp_path / "runs", track=False)
    tiny = {"dataset": "digits", "profile": "demo", "epochs": 0.1, "n": 100, "images": 2}
    run(RunSpec(method="randomized-smoothing", **tiny), machine)
    heat = run(RunSpec(method="heat", **tiny), machine)
    begun = machine.runs / "baseline-digits-cnn-seed0-0000000000-00000000"
    begun.mkdir()
    (begun / "spec.json").write_text((heat.path / "spec.json").read_text())
    return machine.runs


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["suite", *words])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return call


def test_runs_are_listed_with_their_state_and_size(store: Path, command: Command) -> None:
    code, out, _ = command("runs", "--runs", str(store), "--format", "json")
    assert code == 0
    entries = {entry["method"]: entry for entry in json.loads(out)}
    states = [(entry["run"].partition("-digits")[0], entry["state"]) for entry in json.loads(out)]
    assert sorted(states) == [("baseline", "unfinished"), ("heat", "finished"), ("randomized-smoothing", "finished")]
    folder = store / entries["randomized-smoothing"]["run"]
    assert entries["randomized-smoothing"]["size"] == sum(file.stat().st_size for file in folder.iterdir())
    assert "0 s ago" in command("runs", "--runs", str(store))[1] or " s ago" in command("runs", "--runs", str(store))[1]


def test_a_run_is_shown_by_how_its_id_begins(store: Path, command: Command) -> None:
    code, out, _ = command("show", "randomized", "--runs", str(store))
    assert (code, "certify-" in out, "command: suite run --method randomized-smoothing" in out) == (0, True, True)
    shown = json.loads(command("show", "heat", "--runs", str(store), "--format", "json")[1])
    assert shown["result"]["method"] == "heat"
    assert shown["spec"]["training"]["epochs"] == 0.1
    [kept] = (PUBLISHED / KEPT).glob("smoothadv-cifar10-airbench-w32-sigma0.1-*")
    board = {row.run_id: row.command for row in rows("cifar10", store)}
    code, out, _ = command("show", kept.name[:-8], "--runs", str(store))  # of those that come with the suite
    assert (code, f"command: {board[kept.name]}" in out) == (0, True)
    machine = json.loads((kept / "environment.json").read_text())
    assert f"made on: {machine['device_name']}, threads: " in out
    code, _, err = command("show", "nothing", "--runs", str(store))
    assert (code, "there is no run 'nothing'" in err) == (2, True)


def test_rm_asks_and_deletes_a_run_but_not_its_model(
    store: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("typer.confirm", lambda question: False)
    code, _, err = command("rm", "randomized", "--runs", str(store))
    assert (code, "nothing was deleted" in err, len(inventory(store))) == (2, True, 3)
    model = next(store.glob("models/randomized-smoothing-*"))
    code, _, _ = command("rm", "randomized", "--runs", str(store), "--yes")
    assert (code, len(inventory(store)), model.exists()) == (0, 2, True)
    assert not list(store.glob("*randomized*")) + list(store.glob(".removed-*")) + list(store.glob(".randomized*"))


def test_a_run_that_a_process_works_on_is_not_deleted(store: Path, command: Command) -> None:
    [heat] = store.glob("heat-*")
    with hold(store / f".{heat.name}.lock"):
        code, _, err = command("rm", "heat", "--runs", str(store), "--yes")
        assert (code, f"process {os.getpid()} on {socket.gethostname()}, since " in err) == (2, True)
        assert {entry.state for entry in inventory(store) if entry.name == heat.name} == {"at work"}
    assert heat.exists()


def test_clean_deletes_models_that_no_run_needs(store: Path, command: Command) -> None:
    """Also not the model that heat started from: another run may start from it again."""
    assert command("clean", "--runs", str(store), "--yes")[0] == 0
    assert len(list(store.glob("models/[!.]*-*"))) == 3
    command("rm", "randomized", "--runs", str(store), "--yes")
    assert [path.name.partition("-digits")[0] for path, _ in unused(store)] == ["randomized-smoothing"]
    code, out, _ = command("clean", "--runs", str(store), "--yes")
    assert (code, "1 deleted" in out) == (0, True)
    assert sorted(path.name.partition("-digits")[0] for path in store.glob("models/[!.]*-*")) == ["baseline", "heat"]


def test_an_empty_store_is_said(tmp_path: Path, command: Command) -> None:
    code, out, _ = command("runs", "--runs", str(tmp_path / "none"))
    assert (code, "no runs in" in out) == (0, True)
    assert TINY["dataset"] in out


def test_rm_deletes_the_folder_that_is_named_and_no_other(store: Path, command: Command, tmp_path: Path) -> None:
    [heat] = store.glob("heat-*")
    other = Path(shutil.copytree(heat, tmp_path / "other" / heat.name))
    assert command("rm", str(other), "--runs", str(store), "--yes")[0] == 0
    assert (heat.exists(), other.exists()) == (True, False)
    for name in ("rm", "show"):
        code, _, err = command(name, "", "--runs", str(store), *(["--yes"] if name == "rm" else []))
        assert (code, "name a run: its id, or how that begins" in err) == (2, True)
    assert heat.exists()


def test_clean_is_refused_while_a_process_is_at_work(store: Path, command: Command) -> None:
    """An experiment by workers trains models before the runs that need them are there."""
    model = store / "models" / "randomized-smoothing-to-come"
    model.mkdir()
    (model / "model.safetensors").write_bytes(b"trained")
    with hold(lock_of(store / "models" / "another")):
        code, _, err = command("clean", "--runs", str(store), "--yes")
    assert (code, "a process is at work on another" in err, model.exists()) == (2, True, True)
    assert command("clean", "--runs", str(store), "--yes")[0] == 0
    assert not model.exists()


def test_clean_deletes_what_a_kill_left_and_nobodys_own(store: Path, command: Command) -> None:
    [heat] = store.glob("heat-*")
    own = [store / ".venv.old", store / ".notes.part", heat / ".mine.part"]
    left = [store / f".123-{heat.name}.part", store / f".removed-{heat.name}-7", heat / ".12-34.part"]
    for path in (own[0], own[1], left[0], left[1]):
        path.mkdir()
    for path in (own[2], left[2]):
        path.touch()
    assert {path for path, _ in unused(store)} == set(left)
    assert command("clean", "--runs", str(store), "--yes")[0] == 0
    assert [path.exists() for path in (*own, *left)] == [True] * 3 + [False] * 3


def test_a_history_that_is_no_list_of_points_is_damaged(store: Path, command: Command) -> None:
    [folder] = store.glob("randomized-smoothing-digits-*")
    file = folder / "training.json"
    file.write_text(json.dumps([*json.loads(file.read_text()), None]))
    code, out, _ = command("doctor", "--runs", str(store))
    assert (code, "training.json" in out) == (0, True)
    assert command("show", folder.name, "--runs", str(store))[0] == 0


def test_a_stored_parameter_that_no_method_takes_is_named(store: Path, command: Command) -> None:
    [folder] = store.glob("randomized-smoothing-digits-*")
    file = folder / "spec.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"parameters": content["parameters"] | {"label_smoothing": float("nan")}}))
    code, out, err = command("verify", folder.name, "--runs", str(store))
    assert (code, "spec.json is not the spec of a run" in out, err) == (1, True, "")
