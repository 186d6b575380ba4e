"""HTML pages that need nothing else, for boards and reports. All text is shown as it is, never read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from leaderboards.render.cells import Cell

EMPTY: Mapping[tuple[int, int], str] = {}


def page(title: str, blocks: Iterable[str]) -> str:
    """A page with its style and plotly; blocks are HTML, the title is text."""
    from plotly.offline import get_plotlyjs

    parts = {"style": part("page.css"), "plotly": get_plotlyjs(), "content": "\n".join(blocks)}
    return Template(part("page.html")).substitute(title=escape(title), **parts)


def part(name: str) -> str:
    """A file beside this one: a template, a style or a script."""
    return (files("leaderboards.render") / name).read_text(encoding="utf-8")


def link(text: str, address: str) -> str:
    return f'<a href="{escape(address)}">{escape(text)}</a>'


def heading(text: str, level: int) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def table(
    headings: Sequence[str], lines: Iterable[Sequence[Cell]], names: int, links: Mapping[tuple[int, int], str] = EMPTY
) -> str:
    """A table of text with small print; what comes after the first `names` columns stands on the right.

    `links` are where cells lead, by their line and column.
    """

    def cell(tag: str, line: int, number: int, text: str, small: str = "") -> str:
        kind, shown = "name" if number < names else "number", escape(text)
        shown = link(text, links[line, number]) if (line, number) in links else shown
        return f'<{tag} class="{kind}">{shown}{f"<small>{escape(small)}</small>" if small else ""}</{tag}>'

    head = "".join(cell("th", -1, number, text) for number, text in enumerate(headings))
    body = "\n".join(
        f"<tr>{''.join(cell('td', place, number, text, small) for number, (text, small) in enumerate(line))}</tr>"
        for place, line in enumerate(lines)
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
