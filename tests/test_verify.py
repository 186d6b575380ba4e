"""suite verify and suite doctor: what was changed by hand is found, and what is odd is said with what to do."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Cli

from suite import RunSpec, run
from suite.pipeline import Machine
from suite.store.locks import hold
from suite.store.verify import verify

QUICK = {"method": "baseline", "dataset": "digits", "profile": "demo", "epochs": 3, "images": 6, "n0": 10}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vote with fixed sampling, and one with adaptive sampling."""
    machine = Machine(runs=tmp_path_factory.mktemp("runs"), track=False)
    run(RunSpec(**QUICK, n=100, deployed="vote"), machine)
    run(RunSpec(**QUICK, n=200, deployed="vote", sampling="adaptive"), machine)
    return machine.runs


@pytest.fixture
def folder(store: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of the run whose sampling the test names."""
    sampling = getattr(request, "param", "fixed")
    [found] = [
        f.parent for f in store.glob("[!.]*/spec.json") if json.loads(f.read_text())["certify"]["sampling"] == sampling
    ]
    return Path(shutil.copytree(found, tmp_path / found.name))


def change(folder: Path, edit: Callable[[dict[str, Any]], object], image: int = 0) -> None:
    """Change one image's certificate."""
    [file] = folder.glob("certify-*.jsonl")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    [record] = [record for record in records if record["idx"] == image]
    edit(record)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


@pytest.mark.parametrize("folder", ["fixed", "adaptive"], indirect=True)
def test_a_run_is_as_it_says(folder: Path) -> None:
    assert list(verify(folder)) == []


EDITS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "radius": (lambda r: r.update(radius=r["radius"] + 0.01), "votes give"),
    "a vote more": (lambda r: r["votes"].update({"3": r["votes"].get("3", 0) + 1}), "draws, but"),
    "count": (lambda r: r.update(count=r["count"] - 1), "count ="),
    "label": (lambda r: r.update(label=(r["label"] + 1) % 10), "correct ="),
    "answer": (lambda r: r.update(predict=(r["predict"] + 1) % 10), "answer"),
    "sigma": (lambda r: r.update(sigma=0.5), "sigma = 0.5, but the run has 0.25"),
    "n": (lambda r: r.update(n=1000), "n = 1000, but the run has 100"),
    "below 0": (lambda r: r.update(radius=-0.1), "is below 0"),
    "without votes": (lambda r: r.pop("votes"), "a record is not whole"),
}


@pytest.mark.parametrize("name", EDITS)
def test_what_was_changed_is_found(folder: Path, name: str) -> None:
    edit, said = EDITS[name]
    change(folder, edit)
    faults = list(verify(folder))
    assert any(said in fault and ("image 0" in fault or "whole" in fault) for fault in faults), faults


@pytest.mark.parametrize("folder", ["adaptive"], indirect=True)
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda r: r.update(radius=r["radius"] + 0.001), "is none that adaptive sampling decides"),
        (lambda r: r.update(draws=r["draws"] - 1, votes={"0": r["draws"] - 1}), "does not look"),
        (lambda r: r.update(radius=0.300000001, count=9), "certify"),
    ],
)  # fmt: skip
def test_what_adaptive_sampling_cannot_have_decided(
    folder: Path, edit: Callable[[dict[str, Any]], object], said: str
) -> None:
    change(folder, edit)
    assert any(said in fault for fault in verify(folder)), list(verify(folder))


def test_a_row_that_is_not_its_records(folder: Path) -> None:
    file = folder / "result.json"
    row = json.loads(file.read_text())
    file.write_text(json.dumps(row | {"acr": row["acr"] + 0.01, "claim": "it is certain"}))
    assert [fault.partition(" = ")[0] for fault in verify(folder)] == ["the row says acr", "the row says claim"]
    [records] = folder.glob("certify-*.jsonl")
    records.unlink()
    assert "the row has metrics of certify, but there are no records of it" in list(verify(folder))


def test_a_folder_that_is_not_its_settings(folder: Path) -> None:
    spec = json.loads((folder / "spec.json").read_text())
    (folder / "spec.json").write_text(json.dumps(spec | {"seed": 7}))
    assert any(
        fault.startswith("its settings are those of baseline-digits-cnn-sigma0.25-seed7-") for fault in verify(folder)
    )
    (folder / "spec.json").write_text("{}")
    assert "is not the spec of a run" in "".join(verify(folder))


def test_two_records_of_an_image_and_files_that_are_missing(folder: Path) -> None:
    [file] = folder.glob("certify-*.jsonl")
    file.write_text(file.read_text() + file.read_text().splitlines(keepends=True)[0])
    (folder / "environment.json").unlink()
    (folder / "training.json").write_text("no JSON")
    faults = list(verify(folder))
    assert "training.json is damaged" in faults
    assert "environment.json is missing" in faults
    assert any(fault.endswith("has two records") for fault in faults)


def test_the_command_checks_all_and_says_what_it_did_not(suite: Cli, store: Path, folder: Path) -> None:
    code, out, _ = suite("verify", "--all", "--runs", store, "--format", "json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert sum(not entry["not_checked"] for entry in found if entry["folder"].startswith(str(store))) == 2
    assert all(not entry["faults"] for entry in found)
    change(folder, lambda r: r.update(radius=9))
    code, out, _ = suite("verify", str(folder))
    assert (code, "image 0: radius 9, but" in out) == (1, True)
    assert "name runs to verify, or --all" in suite.mistake("verify")
    assert "there is no run 'nix'" in suite.mistake("verify", "nix", "--runs", store)
    code, out, _ = suite("verify", "lipschitz-cifar10-lipschitz-medium", "--runs", store)  # it comes with the suite
    assert (code, "as it says" in out) == (0, True)


def test_the_doctor_finds_what_is_odd_and_says_what_to_do(suite: Cli, store: Path, tmp_path: Path) -> None:
    runs = Path(shutil.copytree(store, tmp_path / "store"))
    assert json.loads(suite("doctor", "--runs", runs, "--format", "json")[1]) == []
    assert suite("doctor", "--runs", runs)[1].startswith("nothing is odd in")
    one, two = sorted(runs.glob("[!.]*-*"))
    (one / "result.json").unlink()
    (two / "result.json").write_text("{")
    (runs / f".{one.name}.held").write_text(json.dumps({"host": "x", "pid": 7, "since": "y"}))
    os.utime(runs / f".{one.name}.held", (0, 0))
    (runs / ".123-x.part").mkdir()
    (runs / "half").mkdir()
    (runs / "half" / "environment.json").write_text("{}")
    (runs / "my notes").mkdir()
    shutil.copytree(next(runs.glob("models/[!.]*")), runs / "models" / "another")
    found = json.loads(suite("doctor", "--runs", runs, "--format", "json")[1])
    said = {Path(finding["path"]).name: (finding["what"], finding["do"]) for finding in found}
    assert set(said) == {one.name, "result.json", f".{one.name}.held", ".123-x.part", "half", "another"}
    assert said[one.name][1].startswith("this goes on with it: suite run --method baseline")
    assert said["result.json"][0] == "it is damaged"
    assert said["another"][1] == said[".123-x.part"][1] == "suite clean"
    assert said[f".{one.name}.held"][0] == "process 7 on x, since y died"
    with hold(runs / f".{two.name}.lock"):
        names = [Path(f["path"]).name for f in json.loads(suite("doctor", "--runs", runs, "--format", "json")[1])]
        assert f".{two.name}.held" not in names
