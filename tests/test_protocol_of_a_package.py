"""The worked example of a protocol from another package: one file, and everything derives from it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from helpers.cli import call, succeed
from jsonschema import Draft202012Validator

from leaderboards import groups, table
from leaderboards.render.interactive import interactive_table
from leaderboards.render.page import to_html
from leaderboards.render.schema import schema
from leaderboards.whose import tell_whose
from suite import RunSpec
from suite.cli.main import add_protocols, app
from suite.spec.sections import PROTOCOLS
from suite.store.read import read_spec

DOCUMENT = Path(__file__).parents[1] / "docs" / "how-to" / "adding-a-protocol.md"


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The files of the page as an installed package: its module, and its entry point as pip writes it."""
    files = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", DOCUMENT.read_text(), re.DOTALL))
    assert set(files) == {"pyproject.toml", "my_protocols.py"}
    group = re.search(r'"(suite\.protocols)"\]\nconfidence = "(\S+)"', files["pyproject.toml"])
    assert group
    site = tmp_path / "site"
    (site / "my_protocols-1.0.dist-info").mkdir(parents=True)
    (site / "my_protocols.py").write_text(files["my_protocols.py"])
    (site / "my_protocols-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: my-protocols\nVersion: 1.0\n"
    )
    (site / "my_protocols-1.0.dist-info" / "entry_points.txt").write_text(f"[{group[1]}]\nconfidence = {group[2]}\n")
    monkeypatch.syspath_prepend(site)
    known = list(app.registered_commands)
    add_protocols(PROTOCOLS.paths())
    yield
    app.registered_commands[:] = known
    sys.modules.pop("my_protocols", None)


def test_it_has_a_command_settings_records_and_its_column_everywhere(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    small = ["--method", "baseline", "--dataset", "digits", "--epochs", "1", "--images", "20", "--n", "100"]
    asked = ["--protocols", "accuracy,certify,confidence", "--set", "confidence.images=60", "--no-track"]
    succeed("run", *small, *asked, "--runs", runs, "--format", "json")
    folder = next(runs.glob("baseline-*"))
    result = json.loads((folder / "result.json").read_text())
    assert result["protocols"] == ["accuracy", "certify", "confidence"]
    records = pd.read_json(folder / result["records"]["confidence"], lines=True)
    assert len(records) == 60
    mean = records["confidence"].mean()
    assert result["confidence"]["mean"] == pytest.approx(mean)
    assert 0.1 < result["confidence"]["low"] < mean < result["confidence"]["high"] <= 1
    assert "confidence.images=60" in result["command"]

    listed = json.loads(succeed("protocols", "--format", "json"))
    assert any(entry["name"] == "confidence" and "one clean pass" in str(entry) for entry in listed)
    assert "Confidence: the probability that one clean pass" in succeed("confidence", "--help").replace("\n", " ")

    frame = table("digits", runs, published=None)
    assert frame["confidence"].tolist() == [pytest.approx(mean)]
    assert frame["intervals"][0]["confidence"] == [result["confidence"]["low"], result["confidence"]["high"]]
    terminal = succeed("leaderboard", "digits", "--runs", str(runs), "--no-published")
    assert re.search(r"\bconf\.", terminal)
    assert f"{100 * mean:.1f}" in terminal
    assert "mean probability that one clean pass gives to its answer" in " ".join(terminal.split())
    exported = json.loads(succeed("leaderboard", "digits", "--runs", str(runs), "--no-published", "--format", "json"))
    assert exported["rows"][0]["confidence"] == pytest.approx(mean)
    Draft202012Validator(schema()).validate(exported)
    page = to_html(frame, "digits", runs)
    assert "conf." in page
    assert f"{100 * mean:.1f}" in page
    [(_, group)] = groups(frame)
    shown, headings = interactive_table(tell_whose(group, runs), "all")
    assert shown["conf."].tolist() == [pytest.approx(100 * mean)]  # what the app shows
    assert {heading.name: heading.help for heading in headings}["conf."].startswith("mean probability")

    succeed("confidence", folder.name, "--set", "temperature=2", "--no-track", "--runs", runs)
    again = json.loads((folder / "result.json").read_text())
    assert again["confidence"]["mean"] < mean  # flatter probabilities
    assert {name: file for name, file in again["records"].items() if name != "confidence"} == {
        name: file for name, file in result["records"].items() if name != "confidence"
    }
    assert again["records"]["confidence"] != result["records"]["confidence"]
    assert read_spec(folder).confidence.images == 60  # kept from before
    wrong = call("confidence", folder.name, "--set", "temperatur=2", "--no-track", "--runs", runs)
    assert (wrong.code, "did you mean 'temperature'?" in wrong.err) == (2, True)


def test_a_run_that_does_not_ask_for_it_has_none_of_it() -> None:
    spec = RunSpec(method="baseline", dataset="digits")
    assert "confidence" not in spec.sections
    assert spec.name == RunSpec(method="baseline", dataset="digits", protocols="accuracy,certify,confidence").name


def test_a_protocol_called_as_a_command_is_leaves_the_command_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    before = [(command.name, command.callback) for command in app.registered_commands]
    monkeypatch.setattr(PROTOCOLS, "paths", lambda: dict.fromkeys(("run", "leaderboard", "studies", "attack"), "x:y"))
    add_protocols(PROTOCOLS.paths())
    assert [(command.name, command.callback) for command in app.registered_commands] == before
