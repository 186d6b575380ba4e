"""A document of sections, as Markdown or as one HTML page. All text is shown as it is, never read as markup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from leaderboards.render.export import markdown


@dataclass(frozen=True)
class Section:
    """A heading of level 1 to 3, paragraphs, a table of text, and a figure, which Markdown leaves out."""

    heading: str
    level: int
    paragraphs: tuple[str, ...] = ()
    table: pd.DataFrame | None = None
    figure: go.Figure | None = None


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


PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: light dark }
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1rem;
         overflow-wrap: anywhere }
  h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.5rem } h3 { font-size: 1rem }
  .wide { overflow-x: auto }
  table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal }
  th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #8886; white-space: nowrap }
  .figure { background: #fff; color-scheme: light; margin-top: 1rem }
</style>
<script>$plotly</script>
</head>
<body>
$content
</body>
</html>
""")


def to_html(sections: Sequence[Section]) -> str:
    """One page that needs nothing else, with the curves."""
    blocks: list[str] = []
    for section in sections:
        blocks.append(f"<h{section.level}>{escape(section.heading)}</h{section.level}>")
        blocks += [f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs]
        if section.figure is not None:
            drawn = section.figure.to_html(full_html=False, include_plotlyjs=False, config={"responsive": True})
            blocks.append(f'<div class="figure">{drawn}</div>')
        if section.table is not None:
            blocks.append(f'<div class="wide">{section.table.to_html(index=False, border=0)}</div>')
    return PAGE.substitute(title=escape(sections[0].heading), plotly=get_plotlyjs(), content="\n".join(blocks))
