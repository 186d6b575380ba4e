"""The tests' own order."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import yaml

HERE = Path(__file__).parent


def imported(source: str) -> set[str]:
    """The first parts of the names of the modules that a program imports, also within its functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def test_imports_are_found_wherever_they_stand() -> None:
    assert imported("import a.b, c as d\nfrom e.f import g\ndef h():\n    from i import j") == {"a", "c", "e", "i"}


def test_no_test_file_imports_another_and_helpers_import_none() -> None:
    modules = {file.stem for file in HERE.glob("*.py")}
    assert {"conftest", "test_tests"} < modules
    crossing = {
        str(file.relative_to(HERE)): sorted(modules & imported(file.read_text())) for file in HERE.rglob("*.py")
    }
    assert {file: others for file, others in crossing.items() if others} == {}


def test_what_a_forge_runs_are_targets_and_versions_of_this_project() -> None:
    root = HERE.parent
    jobs = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text())["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    made = {line.removeprefix("make ") for line in lines if line.startswith("make ")}
    targets = set(re.findall(r"^([\w-]+):", (root / "Makefile").read_text(), re.MULTILINE))
    assert made == {"lint", "test-fast"} <= targets
    assert ".ci/run" in lines
    versions = [job["strategy"]["matrix"]["python"] for job in jobs.values() if "strategy" in job]
    assert versions == [["3.11", "3.13"]] * 2
    lowest = tomllib.loads((root / "pyproject.toml").read_text())["project"]["requires-python"]
    assert lowest == ">=3.11"
