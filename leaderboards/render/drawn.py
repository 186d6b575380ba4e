"""What a plot of a board's rows says of each beside its curve."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from leaderboards.rows import reach


def hover_note(row: Any) -> str:
    """On how many draws and images a row rests."""
    n = "margin" if row["kind"] == "margin" else f"n = {row['n']}"
    return f"{n}, {row['images']} images"


def table_shares(row: Any, columns: Iterable[str]) -> dict[float, float]:
    """The certified accuracies of a row at the radii that a table has columns of."""
    return {float(name[2:]): row[name] for name in columns if name.startswith("r=") and pd.notna(row[name])}


def radius_limits(rows: Iterable[Any]) -> dict[str, float]:
    """The largest radii that votes can be certified at, by what sets them."""
    return {
        f"limit of n = {row['n']}, α = {row['alpha']:g}, σ = {row['sigma']:g}": reach(row)
        for row in rows
        if row["kind"] == "vote"
    }
