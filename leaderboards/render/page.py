"""A board as one HTML page that needs nothing else: tables, certified accuracy against radius, attacks by distance."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.curves import ATTACKS, attack_curve, row_curve, row_records
from leaderboards.field import FieldLine
from leaderboards.published import PUBLISHED
from leaderboards.render import html
from leaderboards.render.cells import Block, blocks, rank_text, remarks
from leaderboards.render.field import FieldTable, field_tables
from leaderboards.variants import variant_text
from suite.boards.board import Roots, load_board
from suite.errors import UserError
from suite.progress import logger
from suite.statistics.bounds import Convention

DRAWN = 8  # rows of a group whose curves are drawn, the best first


def to_html(
    frame: pd.DataFrame,
    dataset: str,
    runs: Path,
    convention: Convention = "standard",
    published: Roots = PUBLISHED,
    lines: Sequence[FieldLine] = (),
    *,
    wide: bool = False,
    sort: str = "",
) -> str:
    """The page of a table, with the field's lines; the curves' records are read from the runs."""
    groups = list(blocks(frame, wide=wide, sort=sort))
    headings = {heading for group in groups for heading in group.headings}
    drawn = {f"group{n}": plots(group, runs, convention, published) for n, group in enumerate(groups)}
    text = remarks(frame, headings, convention == "paper")
    text.insert(0, f"Curves: of the best {DRAWN} rows of a table at most; bands and small print: 95 % intervals.")
    items = "\n".join(f"<li>{escape(line)}</li>" for line in text)
    return html.page(
        f"{load_board(dataset, published).title}: certified ℓ2 robustness",
        [
            *(field_section(found) for found in field_tables([line for line in lines if line.source == "records"])),
            *(section(group, name, len(drawn[name])) for name, group in zip(drawn, groups, strict=True)),
            *(field_section(found) for found in field_tables([line for line in lines if line.source != "records"])),
            f"<ul>\n{items}\n</ul>",
            script_data(drawn),
            f"<script>\n{html.part('page.js')}</script>",
        ],
    )


def field_section(found: FieldTable) -> str:
    """A table of the field, and where its lines are from."""
    sources = "".join(f"<li>{escape(source)}</li>" for source in found.sources)
    content = html.heading(found.title, 2) + f"<p>{escape(found.note)}</p>"
    content += html.table(found.headings, found.lines, found.names)
    return f"<section>{content}<details><summary>sources</summary><ul>{sources}</ul></details></section>"


def script_data(drawn: dict[str, list[dict[str, Any]]]) -> str:
    """The plots of a page by where they go, as its script reads them."""
    data = json.dumps(drawn, allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="plots">{data}</script>'


def places(name: str, total: int) -> str:
    """Where that many plots go."""
    return "".join(f'<div class="plot" id="{name}-{number}"></div>' for number in range(total))


def section(group: Block, name: str, total: int) -> str:
    """A group's table, the commands that make its rows, and where its plots go."""
    commands = "\n".join(f"<code>{escape(line)}</code>" for line in group.rows["command"] if line)
    again = f"<details><summary>commands that make these rows</summary>{commands}</details>" if commands else ""
    content = html.heading(group.title, 2) + html.table(group.headings, group.lines, group.names)
    return f"<section>{content}{again}{places(name, total)}</section>"


def plots(group: Block, runs: Path, convention: Convention, published: Roots) -> list[dict[str, Any]]:
    """The plots of a group: for each its axes and lines, with names that Plotly shows as they are."""
    certified, attacked = [], []
    for number, (_, row) in enumerate(group.rows.head(DRAWN).iterrows()):
        name = ", ".join(filter(None, (f"{rank_text(row)} {row.method}", row.arch, variant_text(row))))
        try:
            curve, records = row_curve(row, runs, convention, published), row_records(row, runs, published, "attack")
        except UserError as error:
            logger.warning(f"no curve of {name}: {error}")
            continue
        lines = {column: values(curve[column]) for column in ("accuracy", "low", "high")}
        own = {"colour": number, "dash": number}
        certified.append({"name": escape(name), **own, "x": values(curve["radius"], 1), **lines})
        if len(records):
            distances = attack_curve(records)
            for dash, attack in enumerate(["best"] if "best" in distances else ["pgd", "ddn"]):
                line = {"name": escape(f"{name}: {ATTACKS[attack]}"), "colour": number, "dash": dash}
                line |= {"x": values(distances["distance"], 1), "accuracy": values(distances[attack])}
                attacked.append(line | {"low": [], "high": []})
    axes = {"x": "ℓ2 radius, pixels in [0,1]", "y": "certified accuracy, %"}
    found = [{**axes, "lines": certified}] if any(line["x"] for line in certified) else []
    axes = {"x": "ℓ2 distance, pixels in [0,1]", "y": "images attacked successfully, %"}
    return found + ([{**axes, "lines": attacked}] if attacked else [])


def values(column: pd.Series[Any], scale: float = 100) -> list[float | None]:
    """Numbers for JSON, rounded to what a plot can show."""
    return [None if pd.isna(value) else round(scale * value, 5) for value in column]
