"""The worked example of the documentation, installed as a package of its own and run."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.processes import Started

DOCUMENT = Path(__file__).parents[1] / "docs" / "how-to" / "adding-a-method.md"


@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_a_method_from_another_package_is_installed_and_run(tmp_path: Path) -> None:
    files = re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert [name for name, _ in files] == ["pyproject.toml", "my_methods.py"]
    package, target = tmp_path / "package", tmp_path / "installed"
    package.mkdir()
    for name, content in files:
        (package / name).write_text(content)
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target"]
    subprocess.run([*install, str(target), str(package)], check=True, capture_output=True)

    def suite(*arguments: str) -> tuple[int | None, str, str]:
        return Started(*arguments, path=(str(target),)).end()

    listed = json.loads(suite("methods", "--format", "json")[1])
    assert {"epsilon": 0.1} in [entry["settings"] for entry in listed if entry["name"] == "label-smoothing"]
    run = ["run", "--method", "label-smoothing", "--dataset", "digits", "--set", "epsilon=0.2", "--no-track"]
    code, out, err = suite(*run, "--images", "20", "--n", "100", "--runs", str(tmp_path / "runs"), "--format", "json")
    assert code == 0, err
    row = json.loads(out)
    assert row["method"] == "label-smoothing"
    assert row["clean_accuracy"] > 0.9
    spec = json.loads(Path(row["folder"], "spec.json").read_text())
    assert spec["parameters"] == {"epsilon": 0.2}
    assert spec["training"]["epochs"] == 5
    code, _, err = suite(*run, "--set", "epsilon=2")
    assert (code, len(err.splitlines())) == (2, 1)
