"""The rows of a board, read from the results of finished runs and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.board import load_board
from suite.statistics import Convention

COMPARABLE = ["data", "sigma", "top", "images", "n", "alpha"]  # rows that differ in these stand in different tables


def rows(dataset: str, runs: Path) -> list[dict[str, Any]]:
    """The results of all finished runs on a data set, unreadable ones left out, by folder name."""
    found = []
    for file in sorted(runs.glob("*/result.json")):
        try:
            row = json.loads(file.read_text())
        except (ValueError, OSError):
            continue
        if isinstance(row, dict) and row.get("dataset") == dataset and "acr" in row:
            found.append(row)
    return found


def table(dataset: str, runs: Path, convention: Convention = "standard") -> pd.DataFrame:
    """One line per run, best first within each group of comparable rows, with a column for each radius.

    Columns: COMPARABLE, rank, method, arch, seed, inference, clean, "r=…", acr, abstained, seconds (per certificate),
    claim, run_id. Shares are in [0,1]. The convention decides how abstentions count in "r=…".
    """
    board = load_board(dataset)
    key = "certified_accuracy" if convention == "standard" else "certified_accuracy_paper"
    lines = [
        {
            **{name: row[name] for name in COMPARABLE},
            **{name: row[name] for name in ("method", "arch", "seed", "inference")},
            "clean": row["clean_accuracy"],
            **{f"r={radius}": row[key].get(str(radius)) for radius in board.radii},
            "acr": row["acr"],
            "abstained": row["abstained"],
            "seconds": row["seconds_per_certificate"],
            "claim": row["claim"],
            "run_id": row["run_id"],
        }
        for row in rows(dataset, runs)
    ]
    if not lines:
        return pd.DataFrame()
    frame = pd.DataFrame(lines).sort_values([*COMPARABLE, board.sort], ascending=[True] * 6 + [False])
    frame.insert(len(COMPARABLE), "rank", frame.groupby(COMPARABLE, dropna=False).cumcount() + 1)
    return frame.reset_index(drop=True)


def groups(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The comparable rows of a table, each group with its title and without the radii that none of its rows reaches."""
    for (data, sigma, top, images, n, alpha), group in frame.groupby(COMPARABLE, sort=False):
        title = f"{data}: σ = {sigma:g}, top-{top}, {images} images, n = {n}, α = {alpha:g}"
        beyond = [column for column in map(str, group) if column.startswith("r=") and not (group[column] > 0).any()]
        yield title, group.drop(columns=[*beyond, *COMPARABLE])
