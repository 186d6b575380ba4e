"""A document of sections, as Markdown or as one HTML page. All text is shown as it is, never read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from leaderboards.render import html
from leaderboards.render.export import markdown

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Section:
    """A heading of level 1 to 3, paragraphs, a table of text, and a plot, which Markdown leaves out."""

    heading: str
    level: int
    paragraphs: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    plot: go.Figure | None = None


def to_markdown(sections: Sequence[Section]) -> str:
    """GitHub's Markdown: all but the curves, whose values at some places are in the tables."""
    blocks = []
    for section in sections:
        blocks += ["#" * section.level + " " + markdown(section.heading), *map(markdown, section.paragraphs)]
        if section.table is not None:
            lines = [
                list(map(str, section.table)),
                ["---"] * section.table.shape[1],
                *section.table.to_numpy().tolist(),
            ]
            cells = [line if number == 1 else list(map(markdown, line)) for number, line in enumerate(lines)]
            blocks.append("\n".join("| " + " | ".join(line) + " |" for line in cells))
    return "\n\n".join(blocks) + "\n"


def to_html(sections: Sequence[Section]) -> str:
    """One page that needs nothing else, with the curves. The first section's heading is its title."""
    blocks: list[str] = []
    for number, section in enumerate(sections):
        blocks += [html.heading(section.heading, section.level)] * bool(number)
        blocks += [f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs]
        if section.plot is not None:
            drawing = section.plot.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
            blocks.append(f'<div class="picture">{drawing}</div>')
        if section.table is not None:
            lines = [[(str(text), "") for text in line] for line in section.table.to_numpy().tolist()]
            blocks.append(html.table(list(map(str, section.table)), lines, names=section.table.shape[1]))
    return html.page(sections[0].heading, blocks)
