"""Training by several processes that torchrun began."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.cli import call
from safetensors.torch import load_file

from suite.errors import UserError
from suite.team import Team

RUN = [sys.executable, "-m", "suite", "run", "--dataset", "digits", "--arch", "net.py:Net", "--protocols", "accuracy"]
NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes):
        super().__init__(nn.Flatten(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, classes))
"""
RUN += ["--set", "certify.images=2", "--set", "augmentation=none", "--no-track", "--runs", "runs"]


def weights(runs: Path, method: str) -> dict[str, torch.Tensor]:
    [file] = (runs / "models").glob(f"{method}-*/model.safetensors")
    return load_file(file)


@pytest.mark.slow
def test_two_processes_train_the_weights_of_one(tmp_path: Path) -> None:
    """The network has no batch normalisation and a baseline no noise; heat starts from it and draws noise."""
    start = ["--set", "start.training.epochs=0.5", "--set", "start.training.augmentation=none"]
    lines = {
        "alone": [*RUN, "--method", "baseline", "--epochs", "0.5"],
        "together": ["torchrun", "--standalone", "--nproc-per-node", "2", "--no-python", *RUN, "--method", "heat"],
    }
    lines["together"] += ["--epochs", "0.1", "--kappa", "1", *start]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for name, line in lines.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "net.py").write_text(NET)
        ran = subprocess.run(
            line, cwd=tmp_path / name, env=os.environ | {"PATH": path}, capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, ran.stderr
    alone, together = (weights(tmp_path / name / "runs", "baseline") for name in lines)
    assert alone.keys() == together.keys()
    for name, tensor in alone.items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=1e-5)
    moved = weights(tmp_path / "together" / "runs", "heat")
    assert any(not torch.equal(moved[name], together[name]) for name in moved)
    assert len(list((tmp_path / "together" / "runs").glob("heat-*/result.json"))) == 1


def test_a_process_has_its_part_of_a_batch() -> None:
    batch = torch.arange(5)
    assert [Team(rank, 2).part(batch).tolist() for rank in (0, 1)] == [[0, 2, 4], [1, 3]]
    assert Team().part(batch).tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(UserError, match="batch_size = 5 is less than the 6 processes"):
        Team(0, 6).part(batch)


def test_without_torchrun_a_process_is_alone() -> None:
    assert Team.of({"RANK": "1", "WORLD_SIZE": "2"}) == Team(0, 1)
    assert Team.of({"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "a"}) == Team(1, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tune", "--method", "heat"], "'suite tune' is not for torchrun"),
        (["run", "--method", "heat", "--workers", "2"], "--workers begins processes of its own"),
        (["experiment", "paper", "--devices", "cuda:0,cuda:1"], "--devices begins processes of its own"),
        (["experiment", "paper", "--executor=ray"], "--executor=ray begins processes of its own"),
    ],
)
def test_what_torchrun_is_not_for_is_said(words: list[str], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    code, _, error = call(*words)
    assert (code, said in error) == (2, True)
