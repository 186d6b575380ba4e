"""Mistakes that once came to light after all the work was done, or as a traceback: now they are a line before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.cli import call

from suite.errors import UserError
from suite.networks.architectures import build
from suite.networks.checkpoint_files import fetch, read_entries
from suite.spec.sections import PROTOCOLS

QUICK = ["--dataset", "digits", "--images", "2", "--n", "50", "--no-track"]
State = dict[Any, Any]


def network() -> torch.nn.Module:
    return build("cnn", 10, (1, 8, 8), (0.5,), (0.5,))


def install_broken(folder: Path, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose protocol fails to load."""
    information = folder / "evil-1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[suite.protocols]\nmyproto = evil_protocol:P\n")
    (folder / "evil_protocol.py").write_text(code)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(PROTOCOLS, "_left_out", set())


@pytest.mark.parametrize(
    "code", ["raise RuntimeError('boom')", "import no_such_module", "P = 1", "raise SystemExit(3)"]
)
def test_a_broken_protocol_that_was_not_asked_for_stops_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    install_broken(tmp_path / "site", code, monkeypatch)
    words = ["run", "--method", "baseline", "--epochs", "0.1", *QUICK]
    ended, _, said = call(*words, "--runs", tmp_path / "runs")
    assert ended == 0, said
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 1
    assert [line for line in said.splitlines() if "myproto" in line and "left out" in line]
    ended, out, said = call(*words, "--protocols", "certify,myproto", "--runs", tmp_path / "other")
    assert (ended, out, said.splitlines()[-1].startswith("suite: protocol 'myproto' is registered as ")) == (
        2,
        "",
        True,
    )
    assert not list(tmp_path.glob("other/*"))


CHECKPOINTS: dict[str, Callable[[State], State]] = {
    "numbers as keys": lambda own: {1: torch.zeros(1)},
    "sparse": lambda own: {k: v.to_sparse() if v.dim() == 2 else v for k, v in own.items()},
    "meta": lambda own: {k: v.to("meta") for k, v in own.items()},
    "quantised": lambda own: {
        k: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8) if v.dim() == 4 else v for k, v in own.items()
    },
}


@pytest.mark.parametrize("name", CHECKPOINTS)
@pytest.mark.filterwarnings("ignore")  # torch: quantised tensors are going to leave
def test_a_checkpoint_that_no_network_takes_is_said_in_a_line(tmp_path: Path, name: str) -> None:
    file = tmp_path / "theirs.pt"
    torch.save(CHECKPOINTS[name](network().state_dict()), file)
    words = ["certify", "--checkpoint", file, "--arch", "cnn", "--sigma", "0.2", *QUICK, "--runs", tmp_path / "runs"]
    ended, out, said = call(*words)
    [line] = [line for line in said.splitlines() if not line.startswith("loading")]
    assert (ended, out, line.startswith("suite: ")) == (2, "", True)
    assert "theirs.pt" in line
    assert name == "numbers as keys" or f" is a {name} tensor" in line
    assert not (tmp_path / "runs").exists()


def test_a_checkpoint_cut_at_any_length_is_said_in_a_line(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.pt", tmp_path / "cut.pt"
    torch.save(dict(network().state_dict()), whole)
    content = whole.read_bytes()
    for length in range(len(content) - 1, 0, -997):
        cut.write_bytes(content[:length])
        with pytest.raises(UserError, match=r"cut\.pt") as caught:
            read_entries(fetch(str(cut)))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["certify", "--checkpoint", "good.pt", "--arch", "cnn", "--sigma", "0.2", "--std", "inf"], "std"),
        (["certify", "--checkpoint", "good.pt", "--arch", "cnn", "--sigma", "0.2", "--std=-1"], "std"),
        (["certify", "--checkpoint", "good.pt", "--arch", "cnn", "--sigma", "0.2", "--mean", "nan"], "mean"),
        (["run", "--method", "baseline", "--epochs", "inf"], "epochs"),
        (["run", "--method", "baseline", "--epochs", "1e300"], "epochs"),
        (["run", "--method", "baseline", "--n", "1" + "0" * 30], "n"),
        (["run", "--method", "baseline", "--n0", "1" + "0" * 30], "n0"),
        (["run", "--method", "baseline", "--images", "1" + "0" * 30], "images"),
        (["run", "--method", "baseline", "--sigma", "nan"], "sigma"),
    ],
    ids=lambda words: " ".join(words[-2:])[:20] if isinstance(words, list) else None,
)
def test_a_number_that_no_run_can_have_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(network().state_dict(), "good.pt")
    ended, out, lines = call(*words, "--dataset", "digits", "--no-track", "--runs", "runs")
    [line] = [line for line in lines.splitlines() if not line.startswith("loading")]
    assert (ended, out, said in line.partition(":")[2]) == (2, "", True), lines
    assert not Path("runs").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [("run",), ("tune", "--search", "sigma=0.1,0.2", "--trials", "1")], ids=["run", "tune"]
)
def test_a_password_is_neither_printed_nor_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg://u:secretpw@127.0.0.1:9/db")
    more = ("--method", "baseline", "--set", "epochs=0.1", "--runs", tmp_path, "--format", "json", "--verbose")
    code, out, err = call(*words, *more, *(word for word in QUICK if word != "--no-track"))
    assert code == 0, err
    assert "u:***@127.0.0.1:9/db" in err
    assert "secretpw" not in out + err
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"secretpw" in file.read_bytes()]
