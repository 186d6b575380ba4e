"""What a page of the static site is, where it lies, and how it becomes HTML; a board as the site shows it."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path, PurePosixPath
from string import Template

import pandas as pd

from leaderboards.board import rows, table
from leaderboards.published import PUBLISHED
from leaderboards.published.tables import TableRow, published_tables
from leaderboards.render import html
from leaderboards.render.cells import Block, blocks
from leaderboards.rows import Row
from suite.boards.board import Board, Roots, boards, load_board

NAME = "Certified ℓ2 robustness"
SUBMITTING = "docs/submitting-a-row.md"
NOWHERE = Path(os.devnull)  # the store of a site: it has the rows of the repository alone


@dataclass(frozen=True)
class Page:
    """A page: where it lies in the site, what it is about in a line, what is above it, its content, its newest row.

    `trail` are names and places of the pages above, below the index; `script` says whether it needs the shared script,
    `moved` where it sends the reader on.
    """

    place: str
    title: str
    summary: str
    content: list[str]
    date: str = ""
    heading: str = ""
    trail: tuple[tuple[str, str], ...] = ()
    script: bool = False
    moved: str = ""


@dataclass(frozen=True)
class Shown:
    """A board as the site shows it. `blocks` are its tables, `rows` are by id, `places` are the addresses of rows."""

    name: str
    board: Board
    root: Roots
    frame: pd.DataFrame
    blocks: list[Block]
    rows: dict[str, Row]
    typed: list[TableRow]
    places: dict[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"boards/{slug(self.name)}.html"

    @property
    def typed_place(self) -> str:
        return f"papers/{slug(self.name)}.html"

    @property
    def date(self) -> str:
        return max((row.date for row in self.rows.values() if is_date(row.date)), default="")

    def table_place(self, block: Block, number: int = 1) -> str:
        return f"tables/{slug(f'{self.name} {block.title}')}{f'-{number}' if number > 1 else ''}.html"


def slug(name: str) -> str:
    """A file's name for any text, the same for the same text; no two alike, also where letters have no case.

    A name that can be one is its own.
    """
    if re.fullmatch(r"[a-z0-9][a-z0-9.-]{,119}(?<!\.)", name) and not re.search(r"-[0-9a-f]{10}$", name):
        return name
    plain = re.sub(r"[^a-z0-9.]+", "-", name.lower().replace("σ", "sigma").replace("α", "alpha")).strip("-.")
    return f"{plain[:80].rstrip('-.')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}".lstrip("-")


def is_date(text: str) -> bool:
    """Whether a date is a year, or a day: what a site map takes."""
    return bool(re.fullmatch(r"\d{4}(-\d\d-\d\d)?", text))


def read_boards(root: Roots = PUBLISHED) -> Iterator[Shown]:
    """The boards that have rows, by name."""
    for name in boards(root):
        frame, typed = table(name, NOWHERE, "standard", root), published_tables(name, root)
        if frame.empty and not typed:
            continue
        found = {row.run_id: row for row in rows(name, NOWHERE, "standard", root)}
        ids: list[str] = [] if frame.empty else frame["run_id"].tolist()
        places = {run_id: f"rows/{slug(run_id)}.html" for run_id in ids}
        own = [] if frame.empty else list(blocks(frame))
        yield Shown(name, load_board(name, root), root, frame, own, {i: found[i] for i in ids}, typed, places)


def render(page: Page, url: str, repository: str, newest: str) -> str:
    """A page as HTML. `newest` is the date of the site's newest row."""
    up = "../" * page.place.count("/")
    address = escape(f"{url}/{page.place}")
    own = f'<link rel="canonical" href="{address}">\n<meta property="og:url" content="{address}">\n' if url else ""
    onward = f'<meta http-equiv="refresh" content="0; url={escape(page.moved)}">\n' if page.moved else ""
    updated = f"Last updated {escape(newest)}, the date of the newest row. " if newest else ""
    made = f"{updated}Built from the repository's records alone"
    ways = [html.link(name, address) for name, address in ways_on(repository)]
    parts = {
        "up": up,
        "site": NAME,
        "title": escape(page.title),
        "summary": escape(page.summary),
        "heading": escape(page.heading or page.title),
        "address": own + onward,
        "trail": "".join(f" › {html.link(name, up + place)}" for name, place in page.trail),
        "content": "\n".join(page.content),
        "footer": " · ".join([f"{made}, by <code>suite site build</code>.", *ways]),
        "script": f'<script src="{up}site.js"></script>\n' if page.script else "",
    }
    return Template(html.part("site.html")).substitute(parts)


def ways_on(repository: str) -> list[tuple[str, str]]:
    if not repository:
        return []
    return [("code", repository), ("submit a row", f"{repository}/blob/HEAD/{SUBMITTING}")]


def relative(here: str, there: str) -> str:
    """The address of a page of the site from another one."""
    return "../" * len(PurePosixPath(here).parents[1:]) + there


def count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
