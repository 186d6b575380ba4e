"""The worked examples of the documentation, installed as packages of their own and run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import errands
from helpers.chaos import contents
from helpers.cli import call, succeed

from suite.executors import open_executor
from suite.executors.tasks import Task, finish

PAGES = Path(__file__).parents[1] / "docs" / "how-to"


def install(page: str, folder: Path, **changed: str) -> Path:
    """Install the package that a page has the files of, with text in them changed; where it is then."""
    files = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    assert len(files) == 2
    package, target = folder / "package", folder / "installed"
    package.mkdir(parents=True)
    for name, content in files:
        for old, new in changed.items():
            content = content.replace(old, new)
        (package / name).write_text(content)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(package)], check=True, capture_output=True)
    return target


@pytest.mark.slow
def test_a_method_from_another_package_is_installed_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = install("adding-a-method.md", tmp_path)
    assert (target / "my_methods.py").is_file()
    run = ["run", "--method", "label-smoothing", "--dataset", "digits", "--set", "epsilon=0.2", "--no-track"]
    small = ["--images", "20", "--n", "100", "--runs", str(tmp_path / "runs"), "--format", "json"]
    monkeypatch.syspath_prepend(target)
    methods = succeed("methods", "--format", "json")
    code, row, said = call(*run, *small)
    bad = call(*run, "--set", "epsilon=2")
    monkeypatch.delitem(sys.modules, "my_methods")
    entries = [entry["settings"] for entry in json.loads(methods) if entry["name"] == "label-smoothing"]
    assert {"epsilon": 0.1} in entries
    assert code == 0, said
    row = json.loads(row)
    assert row["method"] == "label-smoothing"
    assert row["clean_accuracy"] > 0.9
    spec = json.loads(Path(row["folder"], "spec.json").read_text())
    assert spec["parameters"] == {"epsilon": 0.2}
    assert spec["training"]["epochs"] == 5
    assert (bad.code, len(bad.err.splitlines())) == (2, 1)


def program(page: str, module: str) -> dict[str, Any]:
    """What the Python file called `module` on a page defines."""
    [content] = re.findall(rf"`{module}`:\n\n```python\n(.*?)```", (PAGES / page).read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": module}
    exec(compile(content, module, "exec", dont_inherit=True), names)
    return names


def test_the_layers_of_the_worked_bound_are_1_lipschitz() -> None:
    """The Jacobian's largest singular value is 1 for any weights; a multiple of a permutation keeps all distances."""
    names = program("your-own-model.md", "my_networks.py")
    torch.manual_seed(0)
    for scale in (1e-3, 1.0, 1e3):
        layer = names["Scaled"](20, 30, bias=False).double()
        torch.nn.init.normal_(layer.weight, std=scale)
        assert torch.linalg.matrix_norm(layer(torch.eye(20).double()), 2).item() == pytest.approx(1, abs=1e-12)
    square = names["Scaled"](5, 5, bias=False)
    with torch.no_grad():
        square.weight.copy_(-3 * torch.eye(5)[[1, 2, 0, 4, 3]])
    x = torch.randn(4, 5)
    torch.testing.assert_close(torch.linalg.vector_norm(square(x), dim=1), torch.linalg.vector_norm(x, dim=1))


@pytest.mark.slow
def test_a_network_from_another_package_declares_its_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained for its margins, and somebody's weights of another width; a bound of 0.01 is refuted and makes no row."""
    target = install("your-own-model.md", tmp_path)
    network = program("your-own-model.md", "my_networks.py")["TwoLayers"](10, (1, 8, 8), 64)
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    place = ["--images", "20", "--no-track", "--runs", str(tmp_path / "runs"), "--format", "json"]
    with monkeypatch.context() as patch:
        patch.syspath_prepend(target)
        listed = succeed("architectures", "--format", "json")
        row = json.loads(succeed(
            "run", "--method", "lipschitz", "--dataset", "digits", "--arch", "two-layers", "--set", "weight_decay=0",
            "--protocols", "certify,audit", *place,
        ))  # fmt: skip
        theirs = ["--checkpoint", str(tmp_path / "mine.pt"), "--arch", "two-layers-w64", "--dataset", "digits"]
        own = json.loads(succeed("certify", *theirs, *place))
    sys.modules.pop("my_networks")
    assert {"width": 128, "lipschitz": True} in [
        {key: entry[key] for key in ("width", "lipschitz")}
        for entry in json.loads(listed)
        if entry["name"] == "two-layers"
    ]
    assert (row["kind"], row["deployed"], row["alpha"], own["kind"], own["arch"]) == (
        "margin", "pass", 0.0, "margin", "two-layers-w64",
    )  # fmt: skip
    assert row["acr"] > 0.1
    assert row["audit"]["certify"]["violations"] == 0

    wrong = install("your-own-model.md", tmp_path / "wrong", **{"return 1.0": "return 0.01"})
    monkeypatch.syspath_prepend(wrong)
    said = call("certify", *theirs, *place[:-3], str(tmp_path / "other"), *place[-2:])
    sys.modules.pop("my_networks")
    assert (said.code, "declares a Lipschitz bound of 0.01" in said.err) == (2, True)
    assert not list((tmp_path / "other").glob("*/result.json"))


@pytest.mark.slow
def test_slurm_by_submitit_as_an_executor_of_another_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On this machine, by submitit's own: a run, a job that dies and is sent again, and the commands as printed."""
    pytest.importorskip("submitit")
    target = install("adding-an-executor.md", tmp_path)
    monkeypatch.syspath_prepend(target)
    here = Path(__file__).parent
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (here, here.parent, target))))
    monkeypatch.chdir(tmp_path)
    executor = open_executor("slurm", {"cluster": "local", "workers": 2, "folder": "logs", "timeout_min": 5})
    (tmp_path / "deaths").write_text("1")
    with executor:
        tasks = {"dies": Task(errands.die, lambda: tmp_path), "wrong": Task(errands.refuse, lambda: 3)}
        found = {each.name: each for each in finish(executor, tasks) if each}
    assert (found["dies"].result, len(list(tmp_path.glob("*.died")))) == ("alive", 1)
    assert found["wrong"].error == "3 is refused"
    settings = "settings = {epochs = 0.3, images = 4, n = 60, n0 = 10}"
    text = f'title = "one"\nmethods = ["baseline"]\nsigmas = [0.25]\n{settings}\n'
    (tmp_path / "e.toml").write_text(text)
    rest = ["--dataset", "digits", "--no-track"]
    succeed("experiment", "e.toml", *rest, "--runs", "alone")
    jobs = ["--executor", "slurm", "--with", "cluster=local", "--with", "folder=logs", "--workers", "2"]
    succeed("experiment", "e.toml", *rest, "--runs", "jobs", *jobs)
    monkeypatch.delitem(sys.modules, "my_slurm")
    assert contents(tmp_path / "jobs") == contents(tmp_path / "alone")
    assert len(list((tmp_path / "logs").glob("*_result.pkl"))) >= 3
