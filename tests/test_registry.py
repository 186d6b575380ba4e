"""Registries: names of other packages that fail to load touch no run that did not ask for them; names of a notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.cli import Cli, options

from methods import METHODS
from suite.errors import UserError
from suite.registry import Registry
from suite.spec.sections import PROTOCOLS

POINTS = """
[suite.protocols]
boom = broken_plugin:PROTOCOL
leaves = leaving_plugin:PROTOCOL
wrong = wrong_plugin:PROTOCOL
gone = no_such_module:PROTOCOL

[suite.methods]
boom-method = broken_plugin:Method
wrong-method = wrong_plugin:PROTOCOL
"""
REASONS = {
    "boom": "boom",
    "leaves": "7",
    "wrong": "it is not a Protocol",
    "gone": "No module named 'no_such_module'",
}
TINY = {"method": "baseline", "dataset": "digits", "profile": "demo", "epochs": 0.2, "n": 100, "images": 10}


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages whose entry points fail to load, each in a way of its own."""
    package = tmp_path / "installed"
    (package / "broken-1.0.dist-info").mkdir(parents=True)
    (package / "broken-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (package / "broken-1.0.dist-info" / "entry_points.txt").write_text(POINTS)
    (package / "broken_plugin.py").write_text("raise RuntimeError('boom')\n")
    (package / "leaving_plugin.py").write_text("import sys; sys.exit(7)\n")
    (package / "wrong_plugin.py").write_text("PROTOCOL = 3\n")
    monkeypatch.syspath_prepend(package)
    for registry in (METHODS, PROTOCOLS):
        monkeypatch.setattr(registry, "_left_out", set())


@pytest.mark.usefixtures("broken")
def test_what_fails_to_load_is_listed_with_its_error(suite: Cli) -> None:
    code, out, _ = suite("protocols", "--format", "json")
    listed = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    for name, reason in REASONS.items():
        path = listed[name]["error"].split(" ")[5].rstrip(",")
        assert listed[name]["error"] == f"protocol '{name}' is registered as {path}, which fails to load: {reason}"
    assert list(listed)[:7] == list(PROTOCOLS.builtin)
    assert listed["audit"]["needs"] == "certify, lbound"
    code, out, _ = suite("methods")
    assert code == 0
    assert "wrong_plugin:PROTOCOL, which fails to load: it is not a Method" in " ".join(out.split())


@pytest.mark.usefixtures("broken")
def test_what_fails_to_load_touches_no_run_that_did_not_ask_for_it(suite: Cli, tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path / "runs")]
    command = ["run", *options(TINY), "--no-track", *runs]
    code, out, err = suite(*command, "--format", "json")
    assert (code, json.loads(out)["protocols"]) == (0, ["accuracy", "certify"]), err
    assert [line.partition(" is ")[0] for line in err.splitlines() if line.startswith("left out: ")] == [
        f"left out: protocol '{name}'" for name in REASONS
    ]  # one line for each, although every step asks again
    assert suite("leaderboard", "digits", *runs)[0] == 0
    assert "'boom' is registered as broken_plugin:PROTOCOL" in suite.mistake(*command, "--protocols", "boom")
    assert "fails to load: boom" in suite.mistake("run", "--method", "boom-method", "--dataset", "digits", *runs)


@pytest.mark.usefixtures("broken")
def test_all_protocols_are_those_that_load_and_the_demo_trains_the_methods_that_load() -> None:
    from suite.spec.run_spec import RunSpec

    assert RunSpec(**TINY, protocols="all").protocols == tuple(PROTOCOLS.builtin)
    assert list(METHODS.loadable()) == list(METHODS.builtin)
    assert set(METHODS.paths()) - set(METHODS.builtin) == {"boom-method", "wrong-method"}


def test_a_notebook_registers_a_thing_of_its_own() -> None:
    registry: Registry[Callable[..., str]] = Registry("tool", "suite.tests", {"dumps": "json:dumps"})
    registry.register("mine", str.upper)
    assert list(registry.paths()) == ["dumps", "mine"]
    assert registry.get("mine")("a") == "A"
    assert registry.loadable() == {"dumps": json.dumps, "mine": str.upper}
    registry.register("mine", str.lower)
    assert registry.get("mine")("A") == "a"
    with pytest.raises(UserError, match="tool 'dumps' is built in: choose another name"):
        registry.register("dumps", str.upper)
    with pytest.raises(UserError, match="did you mean 'mine'"):
        registry.get("mien")


def test_an_error_in_a_built_in_module_is_raised_as_it_is() -> None:
    registry: Registry[object] = Registry("tool", "suite.tests", {"missing": "no_such_module:thing"})
    with pytest.raises(ModuleNotFoundError):
        registry.get("missing")
    assert registry.summary("missing") == ""
    assert PROTOCOLS.summary("accuracy").startswith("Accuracy: ")
