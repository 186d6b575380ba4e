"""Certified accuracy against radius, and successful attacks against distance, from the records behind a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from leaderboards.published import PUBLISHED, published_records
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


def row_records(row: Mapping[str, Any], runs: Path, published: Path = PUBLISHED) -> pd.DataFrame:
    """The certificates behind a row of the board (its run_id and source): a line per image, by idx."""
    if row["source"] == "published":
        return published_records(row["run_id"], published)
    lines = (runs / row["run_id"] / "certify.jsonl").read_text().splitlines()
    return pd.DataFrame(map(json.loads, lines)).sort_values("idx", ignore_index=True)


def row_curve(
    row: Mapping[str, Any], runs: Path, convention: Convention = "standard", published: Path = PUBLISHED
) -> pd.DataFrame:
    """The curve of a row of the board."""
    return curve(row_records(row, runs, published), convention)


def attack_curve(records: pd.DataFrame, points: int = 101) -> pd.DataFrame:
    """The share of the attacked images that each attack changes within a distance ("Adversarial Boot Camp", Figure 2).

    `records` has a row per image with correct, pgd and ddn (distances; none where an attack found nothing); images that
    are misclassified as they are do not count. Columns: distance, on an even grid from 0 to just above the largest,
    pgd and ddn; NaN where no image was attacked.
    """
    attacked = records[records["correct"] == 1]
    found = {name: pd.to_numeric(attacked[name]).to_numpy(float) for name in ("pgd", "ddn")}
    largest = max(np.nanmax(r, initial=0.0) for r in found.values())
    grid = np.linspace(0, 1.02 * max(largest, 1e-9), points)
    shares = {name: [(r <= d).mean() if len(r) else np.nan for d in grid] for name, r in found.items()}
    return pd.DataFrame({"distance": grid, **shares})
