"""The worked example of the documentation, installed as a package of its own and run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.cli import call, succeed

DOCUMENT = Path(__file__).parents[1] / "docs" / "how-to" / "adding-a-method.md"


@pytest.mark.slow
def test_a_method_from_another_package_is_installed_and_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["pyproject.toml", "my_methods.py"]
    package, target = tmp_path / "package", tmp_path / "installed"
    package.mkdir()
    for name, content in files:
        (package / name).write_text(content)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*install, "--target", str(target), str(package)], check=True, capture_output=True)

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
