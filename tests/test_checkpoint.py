"""Other people's models: certified as they are, started from, refused with a reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.known import records_file
from helpers.shared import SHARED
from safetensors.torch import load_file, save_file

from suite import RunSpec, UserError, run
from suite import data as datasets
from suite.cli import main as cli
from suite.networks.architectures import build
from suite.pipeline import Machine


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A baseline of the suite's own, and its row: the known answer."""
    runs = tmp_path_factory.mktemp("runs")
    spec = RunSpec(method="baseline", dataset="digits", epochs=3, n=100, images=20)
    folder = run(spec, Machine(runs=runs, track=False))
    return folder.checkpoint, json.loads((folder.path / "result.json").read_text())


def network(checkpoint: Path, prefix: str = "") -> dict[str, torch.Tensor]:
    """The network's own weights, as somebody would have saved them who normalises elsewhere."""
    state = load_file(checkpoint)
    return {prefix + k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")}


def row(runs: Path, **given: Any) -> dict[str, Any]:
    spec = RunSpec(**{"method": "checkpoint", "dataset": "digits", "arch": "cnn", "n": 100, "images": 20, **given})
    folder = run(spec, Machine(runs=runs, track=False))
    return json.loads((folder.path / "result.json").read_text())


@pytest.mark.parametrize("form", ["safetensors", "pickle", "module.", "state_dict", "suite"])
def test_a_checkpoint_in_any_form_gets_the_row_of_its_weights(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, form: str
) -> None:
    own, expected = trained
    path = tmp_path / "theirs.th"
    if form == "safetensors":
        save_file(network(own), path)
    elif form == "pickle":
        torch.save(network(own), path)
    elif form == "module.":
        torch.save({"state_dict": network(own, "module."), "best_prec1": 91.8}, path)
    elif form == "state_dict":
        torch.save({"state_dict": network(own), "epoch": 3}, path)
    else:
        path.write_bytes(own.read_bytes())
    found = row(tmp_path / "runs", file=str(path))
    for name in ("clean_accuracy", "certified_accuracy", "acr", "abstained"):
        assert found[name] == expected[name]
    assert found["method"] == "theirs"


def test_normalisation_constants_are_supplied(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file(network(trained[0]), path)
    data = datasets.load("digits")
    same = row(tmp_path / "a", file=str(path), mean=data.mean, std=data.std)
    wrong = row(tmp_path / "b", file=str(path), mean=[0.9], std=[0.05])
    assert same["clean_accuracy"] == trained[1]["clean_accuracy"]
    assert wrong["clean_accuracy"] < same["clean_accuracy"] - 0.2
    with pytest.raises(UserError, match="3 numbers for images of 1 channels"):
        row(tmp_path / "c", file=str(path), mean=[0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("constants", "said"),
    [
        ({"mean": [125.3]}, r"mean\.0: at most 1, .*0\.\.255, give 0\.4914 "),
        ({"std": [63.0]}, r"std\.0: at most 1, .*give 0\.2471 "),
        ({"mean": [-0.1]}, r"mean\.0"),
        ({"std": [0.0]}, r"std\.0"),
        ({"std": [float("inf")]}, r"std\.0: .*finite"),
        ({"mean": [float("nan")]}, r"mean\.0: .*finite"),
    ],
)
def test_constants_that_are_none_of_pixels_are_refused(
    trained: tuple[Path, dict[str, Any]], tmp_path: Path, constants: dict[str, list[float]], said: str
) -> None:
    """Given, or in the checkpoint itself; before any record is made."""
    given = {name: [str(value) for value in values] for name, values in constants.items()}  # as the command line does
    with pytest.raises(UserError, match=f"Checkpoint {said}"):
        row(tmp_path / "given", file=str(trained[0]), **given)
    own = load_file(trained[0]) | {f"normalize.{k}": torch.tensor(v).view(-1, 1, 1) for k, v in constants.items()}
    save_file(own, tmp_path / "theirs.safetensors")
    with pytest.raises(UserError, match=said):
        row(tmp_path / "own", file=str(tmp_path / "theirs.safetensors"))
    assert not list(tmp_path.rglob("*.jsonl"))


def test_a_method_starts_from_it(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "theirs.safetensors"
    save_file(network(trained[0]), path)
    spec = RunSpec(method="heat", dataset="digits", init=str(path), epochs=0.1, n=100, images=5)
    assert spec.start is not None
    assert spec.start.method == "checkpoint"
    folder = run(spec, Machine(runs=tmp_path / "runs", track=False))
    assert not list((tmp_path / "runs" / "models").glob("baseline-*"))
    assert json.loads((folder.path / "result.json").read_text())["method"] == "heat"
    other = RunSpec(method="heat", dataset="digits", epochs=0.1, n=100, images=5)
    assert other.model.digest != spec.model.digest


def test_a_voted_checkpoint_makes_selection_draws(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    found = row(tmp_path, file=str(trained[0]), deployed="vote", n0=30)
    assert (found["n0"], found["deployed"]) == (30, "vote")
    assert "the vote is what this row deploys" in found["claim"]


@pytest.mark.parametrize(
    ("arch", "classes", "said"),
    [
        ("resnet8", 10, r"missing \(bn1.bias"),
        ("resnet8-w32", 10, "another architecture"),
        ("cnn", 7, r"\d+\.weight is \(7, 256\) there and \(10, 256\) here; .*number of classes"),
    ],
)
def test_a_checkpoint_for_something_else(tmp_path: Path, arch: str, classes: int, said: str) -> None:
    path = tmp_path / "theirs.th"
    torch.save(build("cnn", classes, (1, 8, 8), (0.5,), (0.5,)).get_submodule("network").state_dict(), path)
    with pytest.raises(UserError, match=said):
        row(tmp_path / "runs", file=str(path), arch=arch)


def test_an_absent_or_changed_file(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint at nowhere"):
        row(tmp_path, file="nowhere.th")
    with pytest.raises(UserError, match="needs its file"):
        row(tmp_path)
    path = tmp_path / "theirs.safetensors"
    save_file(network(trained[0]), path)
    spec = RunSpec(method="checkpoint", dataset="digits", file=str(path), n=100, images=5)
    save_file({k: v + 1 for k, v in network(trained[0]).items()}, path)
    with pytest.raises(UserError, match="not the file that this run was made with"):
        run(spec, Machine(runs=tmp_path / "runs", track=False))


@pytest.mark.slow
@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the public weights do not lie beside this checkout (../shared/weights)"
)
def test_a_public_cifar10_resnet20_has_the_accuracy_it_is_known_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """82 % of the first 2,000 images of this JPEG variant (91.8 % is reported on the original images)."""
    monkeypatch.setattr(sys, "argv", [
        "suite", "certify", "--checkpoint", str(SHARED / "weights" / "resnet20-12fca82f.th"), "--arch", "resnet20",
        "--dataset", "cifar10", "--sigma", "0.1", "--mean", ".485,.456,.406", "--std", ".229,.224,.225",
        "--data-root", str(SHARED / "data"), "--images", "5", "--n", "100", "--runs", str(tmp_path), "--no-track",
        "--format", "json",
    ])  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["data"] == "CIFAR-10 (JPEG)"
    assert found["method"] == "resnet20-12fca82f"
    lines = records_file(Path(found["folder"]), "accuracy").read_text().splitlines()[:2_000]
    accuracy = sum(json.loads(line)["correct"] for line in lines) / len(lines)
    assert accuracy == pytest.approx(0.82, abs=0.01)
