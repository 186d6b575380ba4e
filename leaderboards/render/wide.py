"""Tables with all columns, for a page where a reader sorts and scrolls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from leaderboards.board import count_names
from leaderboards.render.cells import RANKS, count_text, rank_text, visible, yes_no
from leaderboards.render.labels import deployment, distinction
from leaderboards.render.schema import DESCRIPTIONS
from suite.boards.board import radius_text
from suite.protocols.protocol import Column, columns

FIRST = {
    "rank": "#", "ranks": "ranks", "method": "method", "arch": "arch", "variant": "variant", "kind": "kind",
    "deployed": "deployed", "holds": "holds", "seeds": "seeds",
}  # fmt: skip
LAST = {"source": "source", "date": "date", "command": "command"}
HELP = {name: DESCRIPTIONS[name] for name in ("kind", "deployed", "holds")} | {
    "ranks": RANKS,
    "command": "the shell line that makes the row again",
}


def wide_columns(group: pd.DataFrame) -> dict[str, Column]:
    """The metrics of a group by what `wide_table` calls them, each with its protocol's column."""
    return {wide_name(name, column): column for name, column in visible(group, compact=False).items()}


def wide_name(name: str, column: Column) -> str:
    """A metric's title; of a radius `r 0.25`, with the title of any other column than the convention's."""
    if not column.by_radius:
        return column.title
    named, _, radius = name.rpartition("r=")
    return f"{named.replace(column.key, column.title)}r {radius_text(float(radius))}"


def wide_table(group: pd.DataFrame) -> pd.DataFrame:
    """A group of comparable rows as a reader sees it: shares in percent, and only columns that some row has."""
    metrics = visible(group, compact=False)
    rows = [row for _, row in group.iterrows()]
    named = group.assign(
        ranks=list(map(rank_text, rows)), deployed=list(map(deployment, rows)), holds=group["holds"].map(yes_no)
    )
    table = pd.DataFrame({heading: named[name].map(plain_cell) for name, heading in FIRST.items()})
    for name, column in metrics.items():
        if column.of:
            counts = [count_text(row, column) for row in rows]
            table[column.title] = [None if text == "–" else text for text in counts]
        else:
            values = group[name].astype(float)
            table[wide_name(name, column)] = 100 * values if column.unit == "share" else values
    for name, heading in LAST.items():
        table[heading] = named[name].map(plain_cell)
    return table.dropna(axis="columns", how="all")


def plain_cell(value: Any) -> Any:
    """A list as text, and empty text as nothing."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else value
    return None if text in ("", "–") else text


def count_line(row: Any) -> str:
    """The counts of a row, as what an audit found: `audit: 19 violations of 80 attacked`; empty without any."""
    found = []
    for column in columns().values():
        names = count_names(column)
        if names and pd.notna(row.get(names[1])) and row[names[1]]:
            count, total = (f"{row[name]:.0f} {name.rpartition('.')[2]}" for name in names)
            found.append(f"{column.title}: {count} of {total}")
    return f"{row.method}, {row.arch}, {distinction(row)}: {', '.join(found)}" if found else ""


def metrics_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Every value of a run's result, nested ones by their dotted name, as text.

    Per-image values are left out, and counts where there was nothing to count.
    """
    content = {name: value for name, value in result.items() if name != "image_radii"}
    flat = pd.json_normalize(content).iloc[0].to_dict()
    for column in columns().values():
        if column.of and flat.get(column.of) == 0:
            del flat[column.path], flat[column.of]
    return pd.DataFrame({"metric": list(flat), "value": [value_text(value) for value in flat.values()]})


def value_text(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def formats(group: pd.DataFrame) -> Iterator[tuple[str, str, str]]:
    """Of each metric of `wide_table` that is a number: what it is called, how it is printed, and what it means."""
    for name, column in wide_columns(group).items():
        if not column.of:
            unit = ", in %" if column.unit == "share" else f", in {column.unit}" if column.unit else ""
            better = {True: "; larger is better", False: "; smaller is better", None: ""}[column.larger_is_better]
            yield name, f"%{column.form}", f"{column.help}{unit}{better}"
