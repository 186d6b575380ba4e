"""HTML pages that need nothing else, for boards and reports. All text is shown as it is, never read as markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from leaderboards.render.cells import Cell


def page(title: str, blocks: Iterable[str]) -> str:
    """A page with its style and plotly; blocks are HTML, the title is text."""
    from plotly.offline import get_plotlyjs

    template = Template((files("leaderboards.render") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(title=escape(title), plotly=get_plotlyjs(), content="\n".join(blocks))


def heading(text: str, level: int) -> str:
    return f"<h{level}>{escape(text)}</h{level}>"


def table(headings: Sequence[str], lines: Iterable[Sequence[Cell]], names: int) -> str:
    """A table of text with small print; what comes after the first `names` columns stands on the right."""

    def cell(tag: str, number: int, text: str, small: str = "") -> str:
        kind = "name" if number < names else "number"
        return f'<{tag} class="{kind}">{escape(text)}{f"<small>{escape(small)}</small>" if small else ""}</{tag}>'

    head = "".join(cell("th", number, text) for number, text in enumerate(headings))
    body = "\n".join(
        f"<tr>{''.join(cell('td', number, text, small) for number, (text, small) in enumerate(line))}</tr>"
        for line in lines
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
