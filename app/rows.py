"""Names of rows, and which of them a page shows: without Streamlit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from leaderboards.render.cells import deployment
from leaderboards.rows import COMPARABLE
from suite.protocols.protocol import Column, columns


def labels(rows: Iterable[Mapping[str, Any]], *, full: bool = False) -> dict[str, str]:
    """What to call each row, by its run_id; no two alike.

    Method, architecture and what sets it apart: a run's seeds, a published row's variant. `full` adds the data, σ, n
    and the number of images, for rows of different tables. Names that are still alike get the end of the run_id.
    """
    found: dict[str, str] = {}
    for row in rows:
        parts = [str(row["method"]), str(row["arch"])]
        if full:
            parts += [str(row["data"]), f"σ = {row['sigma']:g}", f"n = {row['n']}", f"{row['images']} images"]
        found[row["run_id"]] = ", ".join([*parts, apart(row)])
    often = Counter(found.values())
    return {
        run_id: f"{name} ({run_id.rpartition('-')[2]})" if often[name] > 1 else name for run_id, name in found.items()
    }


def shortened(names: Iterable[str]) -> tuple[str, dict[str, str]]:
    """What all of several names say, and each without it: for a plot, whose legend has to fit a phone."""
    parts = {name: name.split(", ") for name in names}
    common = [part for part in next(iter(parts.values()), []) if all(part in own for own in parts.values())]
    if len(parts) < 2:
        return "", {name: name for name in parts}
    return ", ".join(common), {name: ", ".join(p for p in own if p not in common) for name, own in parts.items()}


def row_dicts(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """A table's lines, by column."""
    return [{str(name): value for name, value in line.items()} for line in frame.to_dict("records")]


def apart(row: Mapping[str, Any]) -> str:
    if row.get("source") == "published":
        return str(row.get("variant") or "as published")
    seeds = row.get("seeds")
    if isinstance(seeds, list) and len(seeds) > 1:
        return f"{len(seeds)} seeds"
    return "no seed" if pd.isna(row.get("seed")) else f"seed {row['seed']}"


def matching(frame: pd.DataFrame, **chosen: list[Any]) -> pd.DataFrame:
    """The lines of a table whose column has one of the values chosen for it; none chosen: any."""
    for column, values in chosen.items():
        if values:
            frame = frame[frame[column].isin(values)]
    return frame


def over_sigma(frame: pd.DataFrame, most: int = 6) -> dict[str, dict[float, dict[str, Any]]]:
    """For each method and architecture with rows at several σ, alike in all else: its best row at each σ.

    A table's rows, so the first at each σ is the best; rows without records do not count. At most `most`, by name.
    """
    recorded = frame[frame["read"] == "log"]
    alike = ["method", "arch", *(name for name in COMPARABLE if name not in ("sigma", "read"))]
    found: dict[str, dict[float, dict[str, Any]]] = {}
    for _, rows in recorded.groupby(alike, sort=False, dropna=False):
        best = row_dicts(rows.drop_duplicates("sigma").sort_values("sigma"))
        if len(best) > 1:
            first = best[0]
            name = f"{first['method']}, {first['arch']}, {first['data']}, top-{first['top']}, n = {first['n']:.0f}"
            found[name] = {row["sigma"]: row for row in best}
    return dict(list(found.items())[:most])


def render_table(group: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Column]]:
    """A group of comparable rows as a reader sees it, and the metrics by their headings: shares in percent, counts as
    19/80, and only columns that some row has."""
    table = pd.DataFrame({"#": group["rank"], "method": group["method"], "arch": group["arch"]})
    for name in ("variant", "seeds"):
        table[name] = group[name].map(as_text)
    metrics: dict[str, Column] = {}
    for key, column in {**certified_columns(group), **{k: c for k, (_, c) in columns().items()}}.items():
        if key not in group or group[key].isna().all() or (key == "draws" and group[key].nunique() < 2):
            continue
        metrics[column.title] = column
        if column.of:
            counts = group[key].astype(str) + "/" + group[f"{key}_of"].astype(str)
            table[column.title] = counts.where(group[key].notna(), None)
        else:
            table[column.title] = group[key].astype(float) * (100 if column.unit == "share" else 1)
    order = [title for title in ("clean", *(t for t in metrics if t != "clean")) if title in metrics]
    table = table[[name for name in table if name not in metrics] + order]
    table["deployed as"] = [deployment(row) for row in row_dicts(group)]
    for name in ("source", "date", "command"):
        table[name] = group[name].map(as_text)
    return table.dropna(axis="columns", how="all"), metrics


def certified_columns(group: pd.DataFrame) -> dict[str, Column]:
    """A column for each radius of the board."""
    own = columns()["certified_accuracy"][1]
    return {name: replace(own, title=f"r {name[2:]}") for name in map(str, group) if name.startswith("r=")}


def as_text(value: Any) -> str | None:
    """A cell of text; nothing where it is empty."""
    return (", ".join(map(str, value)) if isinstance(value, list) else str(value)) or None


def audit_line(row: Mapping[str, Any]) -> str:
    """What the audit of a row's certificates found, of the vote's radii and of the L-bounds; empty without an audit."""
    found = [
        f"an attack inside of its {name} violated {row[violations]:.0f} of {row[audited]:.0f}"
        for name, audited, violations in (
            ("certified radii", "audit_of", "audit"),
            ("L-bounds", "lbound_audit_of", "lbound_audit"),
            ("L-bounds in probit form", "probit_audit_of", "probit_audit"),
        )
        if pd.notna(row.get(audited)) and row[audited]
    ]
    return f"{row['method']}, {row['arch']}, {apart(row)}: {', '.join(found)}" if found else ""


def figures_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """Every figure of a run's result, nested ones by their dotted name, as text; per-image values left out."""
    lines = []

    def walk(tree: Mapping[str, Any], prefix: str) -> None:
        for name, value in tree.items():
            if isinstance(value, Mapping):
                walk(value, f"{prefix}{name}.")
            elif name != "image_radii":
                shown = f"{value:.6g}" if isinstance(value, float) else str(value)
                lines.append({"figure": f"{prefix}{name}", "value": "–" if value is None else shown})

    walk(result, "")
    return pd.DataFrame(lines)
