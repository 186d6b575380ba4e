"""The rows of a board, read from the results of finished runs and from published logs, and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.board import load_board
from leaderboards.published import PUBLISHED, published_rows
from suite.statistics import Convention

# rows that differ in these stand in different tables
COMPARABLE = ["data", "sigma", "top", "images", "n", "alpha", "sampling", "precision"]
USUAL = {"sampling": "fixed", "precision": "fp32"}


def rows(dataset: str, runs: Path, published: Path | None = PUBLISHED) -> list[dict[str, Any]]:
    """The results of all finished runs on a data set, unreadable ones left out, by folder name; then published rows.

    `published` is where those lie; None leaves them out.
    """
    found = []
    for file in sorted(runs.glob("*/result.json")):
        try:
            row = json.loads(file.read_text())
        except (ValueError, OSError):
            continue
        if isinstance(row, dict) and row.get("dataset") == dataset and "acr" in row:
            found.append(row)
    return found + (published_rows(dataset, published) if published else [])


def table(
    dataset: str, runs: Path, convention: Convention = "standard", published: Path | None = PUBLISHED
) -> pd.DataFrame:
    """One line per row of the board, best first within each group of comparable rows, with a column for each radius.

    Columns: COMPARABLE, rank, method, arch, variant, seed, inference, clean, "r=…", acr, abstained, seconds (per
    certificate), claim, source ("run" or "published"), citation, note, run_id. Shares are in [0,1]; a published row has
    no seed, and no clean accuracy where its log does not say it. The convention decides how abstentions count in "r=…".
    """
    board = load_board(dataset)
    key = "certified_accuracy" if convention == "standard" else "certified_accuracy_paper"
    lines = [
        {
            **{name: row.get(name, USUAL.get(name)) for name in COMPARABLE},
            **{name: row[name] for name in ("method", "arch")},
            "variant": row.get("variant", ""),
            **{name: row[name] for name in ("seed", "inference")},
            "clean": row["clean_accuracy"],
            **{f"r={radius}": row[key].get(str(radius)) for radius in board.radii},
            "acr": row["acr"],
            "abstained": row["abstained"],
            "seconds": row["seconds_per_certificate"],
            "claim": row["claim"],
            "source": row.get("source", "run"),
            **{name: row.get(name, "") for name in ("citation", "note")},
            "run_id": row["run_id"],
        }
        for row in rows(dataset, runs, published)
    ]
    if not lines:
        return pd.DataFrame()
    frame = pd.DataFrame(lines).astype({"seed": "Int64", "clean": float})
    frame = frame.sort_values([*COMPARABLE, board.sort], ascending=[True] * len(COMPARABLE) + [False])
    frame.insert(len(COMPARABLE), "rank", frame.groupby(COMPARABLE, dropna=False).cumcount() + 1)
    return frame.reset_index(drop=True)


def groups(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The comparable rows of a table, each group with its title and without the radii that none of its rows reaches."""
    for (data, sigma, top, images, n, alpha, sampling, precision), group in frame.groupby(COMPARABLE, sort=False):
        title = f"{data}: σ = {sigma:g}, top-{top}, {images} images, n {'=' if sampling == 'fixed' else '≤'} {n}"
        title += f", α = {alpha:g}" + (f", {precision}" if precision != "fp32" else "")
        beyond = [column for column in map(str, group) if column.startswith("r=") and not (group[column] > 0).any()]
        yield title, group.drop(columns=[*beyond, *COMPARABLE])
