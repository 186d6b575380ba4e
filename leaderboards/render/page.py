"""A board as one HTML page that needs nothing else: tables, certified accuracy against radius, attacks by distance."""

from __future__ import annotations

import json
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import pandas as pd
from plotly.offline import get_plotlyjs

from leaderboards.curves import ATTACKS, attack_curve, row_curve, row_records
from leaderboards.published import PUBLISHED
from leaderboards.render.cells import Group, render_groups
from leaderboards.render.export import remarks
from suite.boards.board import load_board
from suite.statistics.bounds import Convention

DRAWN = 8  # rows of a group whose curves are drawn, the best first


def to_html(
    frame: pd.DataFrame, dataset: str, runs: Path, convention: Convention = "standard", published: Path = PUBLISHED
) -> str:
    """The page of a table; the curves' records are read from the runs and the published logs."""
    groups = list(render_groups(frame))
    metrics = {key: column for group in groups for key, column in group.metrics.items()}
    plots = {f"group{n}": drawn(group, runs, convention, published) for n, group in enumerate(groups)}
    said = remarks(frame, metrics, convention == "paper")
    said.insert(0, f"Curves: of the best {DRAWN} rows of a table at most; bands and small print: 95 % intervals.")
    return Template((files("leaderboards.render") / "page.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"{load_board(dataset).title}: certified ℓ2 robustness"),
        sections="\n".join(section(group, f"group{n}", plots[f"group{n}"]) for n, group in enumerate(groups)),
        remarks="\n".join(f"<li>{escape(line)}</li>" for line in said),
        plotly=get_plotlyjs(),
        plots=json.dumps(plots, allow_nan=False).replace("<", "\\u003c"),
    )


def section(group: Group, name: str, plots: list[dict[str, Any]]) -> str:
    """A group's table, the commands that make its rows, and where its plots go."""

    def row(cells: list[tuple[str, str]]) -> str:
        return "".join(
            f'<td class="{"name" if number < group.names else "metric"}">{escape(text)}'
            + (f"<small>{escape(bounds)}</small></td>" if bounds else "</td>")
            for number, (text, bounds) in enumerate(cells)
        )

    head = "".join(
        f'<th class="{"name" if number < group.names else "metric"}">{escape(heading)}</th>'
        for number, heading in enumerate(group.headings)
    )
    body = "\n".join(f"<tr>{row(cells)}</tr>" for cells in group.lines)
    commands = "\n".join(f"<code>{escape(line)}</code>" for line in group.rows["command"] if line)
    again = f"<details><summary>commands that make these rows</summary>{commands}</details>" if commands else ""
    places = "".join(f'<div class="plot" id="{name}-{number}"></div>' for number in range(len(plots)))
    return (
        f"<section><h2>{escape(group.title)}</h2>"
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{again}{places}</section>"
    )


def drawn(group: Group, runs: Path, convention: Convention, published: Path) -> list[dict[str, Any]]:
    """The plots of a group: for each its axes and lines, with names that Plotly shows as they are."""
    certified, attacked = [], []
    for number, (_, series) in enumerate(group.rows.head(DRAWN).iterrows()):
        row = {str(name): value for name, value in series.items()}
        name = ", ".join(filter(None, (f"{row['rank']} {row['method']}", row["arch"], row["variant"])))
        curve = row_curve(row, runs, convention, published)
        lines = {column: values(curve[column]) for column in ("accuracy", "low", "high")}
        own = {"colour": number, "dash": number}
        certified.append({"name": escape(name), **own, "x": values(curve["radius"], 1), **lines})
        records = row_records(row, runs, published, "attack")
        if len(records):
            distances = attack_curve(records)
            for dash, attack in enumerate(["best"] if "best" in distances else ["pgd", "ddn"]):
                line = {"name": escape(f"{name}: {ATTACKS[attack]}"), "colour": number, "dash": dash}
                line |= {"x": values(distances["distance"], 1), "accuracy": values(distances[attack])}
                attacked.append(line | {"low": [], "high": []})
    axes = {"x": "ℓ2 radius, pixels in [0,1]", "y": "certified accuracy, %"}
    plots = [{**axes, "lines": certified}] if any(line["x"] for line in certified) else []
    axes = {"x": "ℓ2 distance, pixels in [0,1]", "y": "images attacked successfully, %"}
    return plots + ([{**axes, "lines": attacked}] if attacked else [])


def values(column: pd.Series[Any], scale: float = 100) -> list[float | None]:
    """Numbers for JSON, rounded to what a plot can show."""
    return [None if pd.isna(value) else round(scale * value, 5) for value in column]
