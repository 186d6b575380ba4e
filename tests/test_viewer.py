"""An image as a run's model sees it, and what a store holds: on a real run, which stays as it is."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers.cli import TINY
from helpers.known import records_file

from suite import RunSpec, UserError, run
from suite.pipeline import Machine
from suite.store.read import check_store, read_run, read_spec, run_folders
from suite.store.records import read_records
from suite.viewer import load_data, load_model, view


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    settings = TINY | {"protocols": "accuracy,certify,attack", "attack.images": 12}
    return run(RunSpec(**settings), Machine(runs=runs, track=False)).path


def content(folder: Path) -> dict[str, str]:
    files = (file for file in folder.parent.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
def test_a_view_is_what_the_records_say_and_changes_nothing(folder: Path) -> None:
    before = content(folder)
    spec = read_spec(folder)
    data = load_data(spec, None)
    model = load_model(folder, spec, data)
    attacked, passed = (
        read_records(records_file(folder, "attack")).set_index("idx"),
        read_records(records_file(folder, "accuracy")).set_index("idx"),
    )
    looks = {index: view(model, spec, data, index, n=50) for index in range(12)}
    assert any(look.adversarial is not None and look.distance for look in looks.values())
    for index, look in looks.items():
        assert torch.equal(look.clean, data.test.images[index] / 255)
        assert (look.label, look.answer) == (passed["label"][index], passed["predict"][index])
        assert sum(look.votes.values()) == 50
        if look.adversarial is None:
            assert attacked["pgd"].isna()[index]
        else:
            assert look.distance == pytest.approx(attacked["pgd"][index], rel=1e-3)
            assert (look.adversarial - look.clean).norm() == pytest.approx(look.distance, rel=1e-4)
            assert look.answer_adversarial != look.label
    noise = torch.stack([look.noisy - look.clean for look in looks.values()])
    assert noise.std() == pytest.approx(spec.sigma, rel=0.1)
    again = view(model, spec, data, 3, n=50)
    assert torch.equal(again.noisy, looks[3].noisy)
    assert again.votes == looks[3].votes
    assert content(folder) == before


def test_what_is_not_at_hand_is_said(folder: Path, tmp_path: Path) -> None:
    spec = read_spec(folder)
    data = load_data(spec, None)
    with pytest.raises(UserError, match="not what this run saw"):
        load_data(spec.on("0123456789abcdef"), None)
    with pytest.raises(UserError, match="no checkpoint"):
        load_model(tmp_path, spec, data)
    with pytest.raises(UserError, match="no test image 500: it has 500"):
        view(load_model(folder, spec, data), spec, data, 500)


def test_unfinished_damaged_and_deleted_runs_are_read_as_they_are(folder: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    half.mkdir()
    shutil.copy(folder / "spec.json", half)
    lines = records_file(folder, "certify").read_text().splitlines(keepends=True)
    (half / records_file(folder, "certify").name).write_text("".join(lines[:5]) + lines[5][:20])
    (half / "environment.json").write_text("{")
    (half / "training.json").write_text("[]")
    found = read_run(half)
    assert found.spec == json.loads((folder / "spec.json").read_text())
    assert (found.result, found.environment, found.damaged) == (None, None, ("environment.json",))
    assert found.history.empty
    assert found.protocols == ("certify",)
    assert read_records(records_file(half, "certify"))["idx"].tolist() == [
        0,
        1,
        2,
        3,
        4,
    ]  # the line that was cut off is no record
    assert run_folders(folder.parent, tmp_path) == {folder.name: folder, "half": half}
    with pytest.raises(UserError, match="there is no run gone"):
        read_run(tmp_path / "gone")


def test_a_store_that_cannot_be_listed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_store(tmp_path / "not there yet")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UserError, match="is a file"):
        check_store(file)

    def refused(self: Path) -> None:  # the tests' user may be root, whom no permission stops
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(UserError, match="Permission denied"):
        check_store(tmp_path)
