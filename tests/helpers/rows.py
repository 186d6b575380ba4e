"""Rows whose figures are counted by hand, in a store; stores of earlier versions."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import Any

import pandas as pd

from suite.spec.run_spec import RunSpec
from suite.store.files import write_json
from suite.store.result import make_result

STORES = Path(__file__).parent / "stores"
RECORDS = pd.DataFrame(
    {
        "idx": range(5),
        "label": [0, 1, 2, 3, 4],
        "chosen": [[0], [1], [0], [3], [4]],
        "predict": [0, 1, 0, -1, 4],
        "radius": [0.5, 0.1, 0.3, 0.0, 0.2],
        "correct": [1, 1, 0, 0, 1],
        "time": [1.0] * 5,
        "draws": [1000] * 5,
        "n0": [100] * 5,
    }
)

MARGINS = RECORDS.drop(columns=["draws", "n0"]).assign(
    predict=[0, 1, 0, 3, 4], radius=[0.9, 0.1, 0.3, 0.0, 0.25], correct=[1, 1, 0, 1, 1]
)


def unpack_store(name: str, place: Path) -> Path:
    """`place`, with the runs of an earlier version's store in it."""
    with tarfile.open(STORES / f"{name}.tar.xz") as archive:
        archive.extractall(place, filter="data")
    return place


def summary(spec: RunSpec, records: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """A run's result on the digits."""
    return make_result(spec, "digits", "Digits", records)


def result(method: str = "randomized-smoothing", **settings: Any) -> dict[str, Any]:
    spec = RunSpec(method=method, dataset="digits", **settings)
    accuracy = pd.DataFrame({"correct": [1, 1, 1, 0]})
    return summary(spec, {"accuracy": accuracy, "certify": RECORDS})


def margin(method: str = "lipschitz", **settings: Any) -> dict[str, Any]:
    """A run's result whose certificates are margins: no image is abstained on."""
    spec = RunSpec(method=method, dataset="digits", **settings)
    return summary(spec, {"accuracy": pd.DataFrame({"correct": [1, 1, 1, 0]}), "certify": MARGINS})


def store(runs: Path, *results: dict[str, Any]) -> None:
    for row in results:
        folder = runs / row["run_id"]
        folder.mkdir(parents=True)
        write_json(folder / "result.json", row)
