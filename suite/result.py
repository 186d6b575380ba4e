"""What comes out of a run: the figures of its row on the board, computed from its records alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from leaderboards.board import load_board
from suite.data import Dataset
from suite.spec import RunSpec
from suite.statistics import average_certified_radius, certified_accuracy

SCHEMA = 1


def summarise(spec: RunSpec, data: Dataset, records: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The run's row: JSON values, radii as keys of the certified accuracies. `records` by protocol."""
    method = spec.build_method()
    row: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": spec.name,
        "method": method.label or spec.method,
        "dataset": data.name,
        "data": data.title,
        "arch": spec.arch,
        "sigma": spec.sigma,
        "seed": spec.seed,
        "profile": spec.profile,
        "source": "run",
        "inference": "one pass" if method.deterministic else f"{spec.certify.n0} passes",
        "top": spec.certify.top,
    }
    if "certify" in records:
        row |= certified(spec, records["certify"], load_board(data.name).radii)
    if "accuracy" in records:
        row["single_pass_accuracy"] = float(records["accuracy"]["correct"].mean())
        row["single_pass_images"] = len(records["accuracy"])
        if method.deterministic:
            row["clean_accuracy"] = row["single_pass_accuracy"]
    return row


def certified(spec: RunSpec, records: pd.DataFrame, radii: tuple[float, ...]) -> dict[str, Any]:
    """The figures of Certify. Clean accuracy is that of ĉ_A: the n₀ draws' choice, or the single clean pass's."""
    radius, correct = records["radius"].to_numpy(), records["correct"].to_numpy(bool)
    abstained = records["predict"].to_numpy() == -1
    hits = [label in chosen for label, chosen in zip(records["label"], records["chosen"], strict=True)]
    n0 = int(records["n0"].iloc[0])
    return {
        "clean_accuracy": float(np.mean(hits)),
        "images": len(records),
        "n0": n0,
        "n": spec.certify.n,
        "alpha": spec.certify.alpha,
        "certified_accuracy": {str(r): certified_accuracy(radius, correct, abstained, r) for r in radii},
        "certified_accuracy_paper": {str(r): certified_accuracy(radius, correct, abstained, r, "paper") for r in radii},
        "acr": average_certified_radius(radius, correct),
        "abstained": float(abstained.mean()),
        "median_radius": float(np.median(radius[~abstained])) if (~abstained).any() else 0.0,
        "seconds_per_certificate": float(records["time"].mean()),
        "claim": claim(spec, n0),
    }


def claim(spec: RunSpec, n0: int) -> str:
    """What the certificate guarantees, and of which classifier."""
    voted = (
        f"with probability {1 - spec.certify.alpha:g} per image, the vote of this model under N(0, {spec.sigma:g}²) "
        "noise keeps its answer within the radius"
    )
    if n0:
        return f"{voted}; the vote is what this row deploys"
    return f"{voted}; not guaranteed of the single pass that this row deploys"
