"""Certified accuracy against radius, from the records of finished runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from suite.statistics import Convention, certified_accuracy, proportion_interval


def curve(records: pd.DataFrame, convention: Convention = "standard", points: int = 101) -> pd.DataFrame:
    """Certified accuracy on an even grid of radii from 0 to just above the largest one.

    `records` has a row per image with radius, correct and predict (−1: abstained). Columns: radius, accuracy, and low
    and high, the 95 % Wilson interval for a finite test set.
    """
    radius, correct = records["radius"].to_numpy(float), records["correct"].to_numpy(bool)
    abstained = records["predict"].to_numpy() == -1
    total = len(records) if convention == "standard" else int((~abstained).sum())
    lines = []
    for r in np.linspace(0, 1.02 * max(radius.max(initial=0.0), 1e-9), points):
        share = certified_accuracy(radius, correct, abstained, r, convention)
        low, high = proportion_interval(share * total, total) if total else (0.0, 1.0)
        lines.append({"radius": r, "accuracy": share, "low": low, "high": high})
    return pd.DataFrame(lines)


def run_curve(folder: Path, convention: Convention = "standard") -> pd.DataFrame:
    """The curve of a finished run's folder."""
    lines = (folder / "certify.jsonl").read_text().splitlines()
    return curve(pd.DataFrame(map(json.loads, lines)), convention)
