"""One row in full: its numbers with their intervals, and its settings, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from leaderboards.board import count_names, table_columns
from leaderboards.render.cells import heading, metric_cell
from leaderboards.render.labels import deployment
from leaderboards.rows import COMPARABLE
from suite.protocols.protocol import Column

SETTINGS = ("method", "arch", "variant", "kind", *COMPARABLE, "n0", "seeds", "date", "device", "run_id")


def metric_lines(row: Any) -> Iterator[tuple[str, str, str]]:
    """Each metric that a row has: what it is called, its value with the unit, and its 95 % interval."""
    for name, column in table_columns(row.index).items():
        if has(row, name, column):
            text, bounds = metric_cell(row, name, column)
            at = (
                f"certified at r = {heading(name, column)}"
                if column.key.startswith("certified_")
                else heading(name, column)
            )
            yield at, f"{text} %" if column.unit == "share" else text, bounds


def has(row: Any, name: str, column: Column) -> bool:
    if column.of:
        total = row[count_names(column)[1]]
        return bool(pd.notna(total) and total)
    return bool(pd.notna(row[name]))


def setting_lines(row: Any) -> Iterator[tuple[str, str]]:
    """On what terms a row was made."""
    yield "deployed", deployment(row) or "not known"
    for name in SETTINGS:
        value = row[name]
        text = ", ".join(map(str, value)) if isinstance(value, list) else "" if pd.isna(value) else str(value)
        if text:
            yield {"sigma": "σ", "alpha": "α", "n0": "n₀"}.get(name, name), text
