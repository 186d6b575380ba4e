"""Boards derive from the columns of protocols, and are read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.rows import result, store
from jsonschema import Draft202012Validator

from leaderboards import rows, table
from leaderboards.render import export
from leaderboards.render.schema import schema
from leaderboards.render.wide import wide_table
from suite.protocols import attack
from suite.protocols.protocol import Column

OFFLINE = """
import sys
from pathlib import Path
from leaderboards import table
from leaderboards.render.export import document, to_latex
from leaderboards.render.terminal import leaderboard_tables
frame = table("cifar10", Path(sys.argv[1]))
assert len(frame) == 21
to_latex(frame, False), list(leaderboard_tables(frame, False)), document("cifar10", Path(sys.argv[1]))
rooms = {name.split(".")[1] for name in sys.modules if name.startswith("suite.")}
print("torch" in sys.modules, sorted(rooms & {"cli", "pipeline", "experiments", "tuning", "api", "training"}))
"""
SPEED = Column("speed", "speed.mean", "speed", "speed of light", "", ".2f", "what it is, in a sentence")
TESTED = Column("tested", "speed.failed", "tested", "tests failed", "count", "d", "of those run", of="speed.run")


@pytest.mark.slow
def test_a_board_needs_no_torch_and_nothing_that_makes_runs(tmp_path: Path) -> None:
    program = [sys.executable, "-c", OFFLINE, str(tmp_path)]
    assert subprocess.run(program, check=True, capture_output=True, text=True).stdout.split("\n")[0] == "False []"


def test_a_column_that_a_protocol_adds_is_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = (*attack.PROTOCOL.columns, SPEED, TESTED)
    monkeypatch.setattr(attack, "PROTOCOL", replace(attack.PROTOCOL, columns=own))
    speeds = [{"mean": 1.0, "failed": 2, "run": 8}, {"mean": 2.0, "failed": 1, "run": 8}]
    store(tmp_path, *(result(seed=seed) | {"speed": speed} for seed, speed in enumerate(speeds)))
    content = json.loads(export.to_json(export.document("digits", tmp_path)))
    assert list(Draft202012Validator(schema()).iter_errors(content)) == []
    [row] = content["rows"]
    assert (row["speed"], row["tested"]) == (1.5, {"failed": 3, "run": 16})
    frame = table("digits", tmp_path)
    assert frame.loc[0, ["speed", "tested.failed", "tested.run"]].tolist() == [1.5, 3, 16]
    text = export.to_markdown(frame, paper_convention=False)
    assert "| speed | tested |" in text
    assert "| 1.50 | 3/16 |" in text
    assert "speed: what it is, in a sentence" in text
    assert wide_table(frame)[["speed of light", "tests failed"]].iloc[0].tolist() == [1.5, "3/16"]


def test_seeds_with_other_settings_of_a_protocol_are_not_averaged(tmp_path: Path) -> None:
    """The recipe is that of model and certificates; the second seed was attacked with other settings."""
    found = []
    for seed, (digest, distance) in enumerate((("a", 0.2), ("b", 0.8), ("a", 0.4))):
        row = result(seed=seed)
        attacked = {"attack": {"best": {"median": distance}}, "sections": row["sections"] | {"attack": digest}}
        found.append(row | attacked)
    store(tmp_path, *found)
    [row] = rows("digits", tmp_path, published=None)
    assert row.metrics["adversarial_distance"].value == pytest.approx(0.3)
    assert row.metrics["clean_accuracy"].value == pytest.approx(4 / 5)
    assert len(row.runs) == 3
