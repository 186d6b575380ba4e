"""Boards derive from the columns of protocols, and are read without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.rows import result, store
from jsonschema import Draft202012Validator

from leaderboards import groups, rows, table
from leaderboards.render import export
from leaderboards.render.interactive import interactive_table
from leaderboards.render.schema import schema
from leaderboards.whose import tell_whose
from suite.protocols import attack
from suite.protocols.protocol import Column

OFFLINE = """
import sys
from pathlib import Path
from leaderboards import table
from leaderboards.render.export import document, to_latex
from leaderboards.render.terminal import leaderboard_tables
frame = table("cifar10", Path(sys.argv[1]))
assert len(frame) == 158
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
    shown, _ = interactive_table(tell_whose(frame, tmp_path), "all")
    assert shown[["speed", "tested"]].iloc[0].tolist() == [1.5, "3/16"]


def test_a_column_by_radius_of_another_protocol_is_the_mean_over_the_seeds_that_have_it(tmp_path: Path) -> None:
    """What earlier versions measured has no shares, and is no row's zero."""

    def bound(at: float, probit: float) -> dict[str, Any]:
        shares = {"certified_accuracy": {"0.1": at, "0.2": 0.0}}
        return {"lbound": {"median": 0.1, **shares, "probit": {"certified_accuracy": {"0.1": probit, "0.2": 0.25}}}}

    rows = [result(seed=seed) for seed in range(4)]
    rows = [row | {"sections": row["sections"] | {"lbound": "a"}} for row in rows]
    rows[2] |= {"sections": rows[2]["sections"] | {"lbound": "b"}}  # other settings: not averaged with the first
    earlier = result(lr=0.3) | {"lbound": {"median": 0.1, "probit": {"median": 0.2}}}
    store(tmp_path, rows[0] | bound(0.5, 0.75), rows[1] | bound(0.25, 0.25), rows[2] | bound(1, 1), rows[3], earlier)
    frame = table("digits", tmp_path, published=None)
    frame = frame.set_index(frame["runs"].map(len))
    assert frame.loc[4, ["lbound_accuracy r=0.1", "lbound_accuracy r=0.2"]].tolist() == [0.375, 0]
    assert frame.loc[4, ["probit_accuracy r=0.1", "probit_accuracy r=0.2"]].tolist() == [0.5, 0.25]
    assert frame.loc[4, "spread"]["lbound_accuracy r=0.1"] == pytest.approx(0.25 / 2**0.5)
    assert frame.loc[1].filter(like="accuracy r=").isna().all()
    [(_, group)] = groups(frame)
    shown, headings = interactive_table(tell_whose(group, tmp_path), "all")
    assert shown.filter(like="L 0.").columns.tolist() == ["L 0.1"]  # at 0.2 no row's
    probit = dict(zip(group.index, shown["P 0.2"], strict=True))
    assert probit[4] == 25
    assert np.isnan(probit[1])
    said = {heading.name: heading.help for heading in headings}
    assert "by Theorem 3, of a single pass, presuming" in said["L 0.1"]
    assert "L-bound" not in export.to_markdown(frame, paper_convention=False)
    content = json.loads(export.to_json(export.document("digits", tmp_path, published=None)))
    assert list(Draft202012Validator(schema()).iter_errors(content)) == []
    measured, old = sorted(content["rows"], key=lambda row: -len(row["runs"]))
    assert measured["probit_accuracy"] == {"0.1": 0.5, "0.2": 0.25, "0.3": None, "0.4": None, "0.5": None, "0.6": None}
    assert set(old["lbound_accuracy"].values()) == {None}
    assert "lbound_accuracy r=0.1" in export.to_csv(frame)


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
