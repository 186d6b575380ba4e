"""A stranger's way in: a run becomes a row of a clone, and a row that was forged is found."""

from __future__ import annotations

import json
import lzma
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Cli
from helpers.logs import log

from leaderboards.render.site import write_site
from leaderboards.render.site_page import slug
from suite import RunSpec, data, run
from suite.cli import check
from suite.errors import UserError
from suite.pipeline import Machine
from suite.store.read import read_spec
from suite.store.records import read_records
from suite.store.result import make_result

QUICK = {"method": "baseline", "dataset": "digits", "profile": "demo", "epochs": 3, "images": 60, "n0": 10, "n": 100}
CITATION = "A. Author. A Title. A Venue, 2021."


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in a store."""
    machine = Machine(runs=tmp_path_factory.mktemp("runs"), track=False)
    return run(RunSpec(**QUICK, deployed="vote"), machine).path


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it, in a store of its own, made with code that has a commit."""
    copy = Path(shutil.copytree(made, tmp_path / "runs" / made.name))
    set_json(copy / "environment.json", git_commit="a" * 40)
    return copy


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    (tmp_path / "clone" / "leaderboards" / "published").mkdir(parents=True)
    return tmp_path / "clone"


@pytest.fixture
def kept(suite: Cli, folder: Path, clone: Path) -> Path:
    """The run as it was handed in."""
    suite("submit", str(folder), "--checkout", str(clone))
    return clone / "leaderboards" / "published" / "runs" / folder.name


def set_json(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_a_run_becomes_a_row_of_a_clone_and_of_its_site(suite: Cli, folder: Path, clone: Path, tmp_path: Path) -> None:
    code, out, _ = suite("submit", folder.name[:12], "--runs", str(folder.parent), "--checkout", str(clone))
    place = clone / "leaderboards" / "published" / "runs" / folder.name
    assert code == 0
    lines = out.splitlines()
    assert lines[:2] == [str(place), "checked:"]
    assert [line.partition(":")[0].strip() for line in lines[2:8]] == [
        "settings", "images", "radii", "records of accuracy, certify", "row", "labels",
    ]  # fmt: skip
    assert "images: the first 60 of the test set, each once and none left out" in out
    assert "labels: as in Digits" in out
    assert "not checked: the votes themselves" in out
    assert "code had changes" not in out
    assert f"  git -C {clone} switch --create row-{folder.name}" in lines
    assert f"  git -C {clone} add leaderboards/published/runs" in lines
    names = {file.name for file in place.iterdir()}
    assert {"spec.json", "environment.json", "result.json"} <= names
    assert not [name for name in names if name.endswith((".safetensors", ".jsonl"))]
    code, out, _ = suite("verify", str(place), "--strict")
    assert (code, out) == (0, f"{folder.name}: as it says, labels too\n")
    root = place.parents[1]
    _, out, _ = suite(
        "leaderboard", "digits", "--runs", str(tmp_path / "none"), "--board-root", str(root), "--format", "json"
    )
    [row] = json.loads(out)["rows"]
    assert row["acr"] == json.loads((folder / "result.json").read_text())["acr"]
    sizes = write_site(tmp_path / "site", root)
    assert f"rows/{slug(folder.name)}.html" in sizes


def test_what_a_reader_will_ask_is_said(suite: Cli, folder: Path, clone: Path) -> None:
    set_json(folder / "environment.json", git_commit=f"{'a' * 40}-dirty")
    _, out, _ = suite("submit", str(folder), "--checkout", str(clone), "--format", "json")
    said = json.loads(out)
    assert [text.partition(":")[0] for text in said["warnings"]] == [
        "the code had changes that no commit has", "nobody has attacked its certificates",
    ]  # fmt: skip
    assert (Path(said["folder"]) / "result.json").exists()


def change(folder: Path, edit: Callable[[list[dict[str, Any]]], object], protocol: str = "certify") -> None:
    """Change the records of a protocol, plain or compressed."""
    [file] = [file for file in folder.glob(f"{protocol}-*.jsonl*")]
    packed = file.suffix == ".xz"
    text = lzma.decompress(file.read_bytes()).decode() if packed else file.read_text()
    records = [json.loads(line) for line in text.splitlines()]
    edit(records)
    text = "".join(json.dumps(record) + "\n" for record in records)
    file.write_bytes(lzma.compress(text.encode()) if packed else text.encode())


def count_anew(folder: Path) -> None:
    """Write the row that the records give: what somebody does who forges with care."""
    spec, result = read_spec(folder), json.loads((folder / "result.json").read_text())
    records = {name: read_records(folder / f"{name}-{spec.records_digest(name)}.jsonl") for name in result["protocols"]}
    made = json.loads(json.dumps(make_result(spec, result["dataset"], result["data"], records)))
    set_json(folder / "result.json", **made)


def raise_a_radius(records: list[dict[str, Any]]) -> None:
    next(record for record in records if record["correct"])["radius"] += 0.05


def relabel(records: list[dict[str, Any]]) -> None:
    """Give an image another label, with all that follows."""
    right = next(record for record in records if record["correct"])
    right |= {"label": (right["label"] + 1) % 10, "correct": 0}


def leave_out(records: list[dict[str, Any]]) -> None:
    """Leave the images out that are not certified."""
    records[:] = [record for record in records if record["correct"]]


FORGED_RECORDS = {
    "a radius": (raise_a_radius, "votes give"),
    "labels": (relabel, "but Digits says"),
    "images left out": (leave_out, "images have no record, the first of them"),
}


@pytest.mark.parametrize("careful", [False, True])
@pytest.mark.parametrize("name", FORGED_RECORDS)
def test_forged_records_of_a_row_are_found(suite: Cli, kept: Path, name: str, careful: bool) -> None:
    """Also where the row was counted anew from them."""
    edit, said = FORGED_RECORDS[name]
    change(kept, edit)
    if careful:
        count_anew(kept)
    code, out, _ = suite("verify", str(kept))
    assert (code, said in out, "the row says acr" in out) == (1, True, not careful), out


FORGED_ROWS = {
    "metric": ({"acr": 0.9}, "the row says acr = 0.9, but the records give"),
    "sigma": ({"sigma": 0.5}, "the row says sigma = 0.5, but its settings give 0.25"),
    "method": ({"method": "best"}, "the row says method = best, but its settings give baseline"),
    "images": ({"images": 10_000}, "the row says images = 10000, but the records give 60"),
    "deployment": ({"deployed": "pass"}, "the row says deployed = pass, but its settings give vote"),
    "data": ({"data": "CIFAR-10"}, "the row says data = CIFAR-10, but its environment says Digits"),
    "command": (
        {"command": "curl x.test | sh"},
        "the row says command = curl x.test | sh, but its settings give another",
    ),
    "date": ({"date": "tomorrow"}, "the row says date = tomorrow, which is no day"),
    "more": ({"timing": {"deployed": 1e-9}}, "the row says timing, which neither records nor settings give"),
}


@pytest.mark.parametrize("name", FORGED_ROWS)
def test_a_forged_row_is_found(suite: Cli, kept: Path, name: str) -> None:
    values, said = FORGED_ROWS[name]
    set_json(kept / "result.json", **values)
    code, out, _ = suite("verify", str(kept))
    assert (code, out.splitlines()) == (1, [f"{kept.name}: 1 faults", out.splitlines()[1]])
    assert said in out


def test_a_folder_with_more_than_a_row_and_one_that_calls_itself_old(suite: Cli, kept: Path) -> None:
    (kept / "conftest.py").write_text("")
    assert "conftest.py is no file of a run" in suite("verify", str(kept))[1]
    old = kept.rename(kept.with_name("baseline-digits-cnn-sigma0.25-seed0-0123456789"))
    code, out, _ = suite("verify", str(old))
    assert (code, "it is not checked" in out) == (0, True)
    assert suite("verify", str(old), "--strict")[0] == 1


def test_labels_are_those_of_other_rows_where_the_data_are_not_here(
    kept: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: Any, **__: Any) -> None:
        raise UserError("not here")

    here = check.known_labels(kept, None, [])
    assert here is not None
    assert here.source == "Digits"
    monkeypatch.setattr(data, "load", load)
    check.data_at_hand.cache_clear()
    assert check.known_labels(kept, None, [kept]) is None
    labels = check.known_labels(kept, None, [kept, folder])
    assert labels is not None
    assert labels.source == folder.name
    assert labels.by_image == here.by_image  # the accuracy was measured on the whole test set
    set_json(folder / "spec.json", data="another")
    check.labels_of.cache_clear()
    assert check.known_labels(kept, None, [folder]) == labels  # told by the title of the data set
    set_json(folder / "environment.json", data={"title": "Digits, inverted"})
    check.labels_of.cache_clear()
    assert check.known_labels(kept, None, [folder]) is None
    check.data_at_hand.cache_clear()


def test_what_cannot_be_handed_in(suite: Cli, folder: Path, clone: Path, tmp_path: Path) -> None:
    submit = ["submit", str(folder), "--checkout", str(clone)]
    content = {file.name: file.read_bytes() for file in folder.iterdir()}

    def mend() -> None:
        for name, own in content.items():
            (folder / name).write_bytes(own)

    change(folder, raise_a_radius)
    assert "is not what it says: certify: image" in suite.mistake(*submit)
    mend()
    change(folder, relabel)
    count_anew(folder)
    assert "but Digits says" in suite.mistake(*submit)
    mend()
    set_json(folder / "result.json", acr=0.9)
    assert "the row says acr = 0.9" in suite.mistake(*submit)
    (folder / "result.json").write_text("{")
    assert "result.json is damaged" in suite.mistake(*submit)
    (folder / "result.json").unlink()
    assert "is not a finished run" in suite.mistake(*submit)
    mend()
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({name: value for name, value in result.items() if name != "acr"}))
    assert "has no certificates" in suite.mistake(*submit)
    mend()
    [records] = folder.glob("certify-*.jsonl")
    records.write_text(records.read_text()[:-30])
    assert "have no record" in suite.mistake(*submit)
    mend()
    assert "is no clone of the suite's repository" in suite.mistake(*submit[:3], str(tmp_path / "elsewhere"))
    assert "no such option for a run: --sigma" in suite.mistake(*submit, "--sigma", "1")
    assert not (clone / "leaderboards" / "published" / "runs").exists()  # nothing was written so far
    assert suite(*submit)[0] == 0
    assert "is there already" in suite.mistake(*submit)


def test_several_runs_are_handed_in_together_or_not_at_all(suite: Cli, folder: Path, clone: Path) -> None:
    other = run(RunSpec(**QUICK, seed=1, deployed="vote"), Machine(runs=folder.parent, track=False)).path
    change(other, raise_a_radius)
    names = [folder.name, other.name, "--runs", str(folder.parent), "--checkout", str(clone)]
    assert f"{other.name} is not what it says" in suite.mistake("submit", *names)
    assert not (clone / "leaderboards" / "published" / "runs").exists()


def test_a_log_becomes_a_row_by_the_options_of_import(
    suite: Cli, clone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = int(data.load("digits").test.labels[0])
    file = log(tmp_path / "cnn_noise_0.25_sigma_0.25.tsv", f"0\t{label}\t{label}\t0.953\t1\t0:00:14.5")
    monkeypatch.chdir(clone)
    reference = ["--board", "digits", "--method", "mine", "--citation", CITATION]
    assert "has 1 images" in suite.mistake("submit", str(file), *reference)
    code, out, _ = suite("submit", str(file), "--few", *reference)
    assert (code, "mine-cnn_noise_0.25_sigma_0.25: 1 images" in out) == (0, True)
    assert "  git add leaderboards/published" in out.splitlines()
    assert list((clone / "leaderboards" / "published" / "digits").glob("mine-*.toml"))
