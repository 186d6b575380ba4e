"""Small studies on the digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from helpers.cli import TINY
from suite.pipeline import Machine
from suite.tuning.storage import Storage
from suite.tuning.trials import tune

SETTINGS = {name: value for name, value in TINY.items() if name not in ("method", "dataset", "n", "images")}
GIVEN: dict[str, Any] = {
    "method": "heat", "dataset": "digits", "settings": SETTINGS, "search": ["sigma=0.1:0.5 kappa=1:4"],
    "n": 100, "images": 30, "validation": 0.1,
}  # fmt: skip
COMMAND = [
    "tune", "--method", "heat", "--dataset", "digits", "--n", "100", "--images", "30", "--validation", "0.1",
    *(text for name, value in SETTINGS.items() if name != "profile" for text in ("--set", f"{name}={value}")),
]  # fmt: skip
BASE = {"method": "heat", "dataset": "digits", "profile": "demo"}


def search(given: dict[str, Any], trials: int, runs: Path, name: str | None = "s") -> optuna.Study:
    runs.mkdir(exist_ok=True)
    return tune(given, name, trials, Storage(f"sqlite:///{runs}/studies.db"), Machine(runs=runs, track=False))
