"""The pages of a site that show many rows: the index, boards, their tables, and figures typed from papers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Any

import pandas as pd

from leaderboards.about import WHAT_CERTIFIED_MEANS
from leaderboards.field import field
from leaderboards.orders import orders, usual
from leaderboards.render import html
from leaderboards.render.cells import Block, Cell, certificates, legend
from leaderboards.render.field import field_tables
from leaderboards.render.page import DRAWN, field_section, places, plots, script_data
from leaderboards.render.site_page import NAME, NOWHERE, SUBMITTING, Page, Shown, count, is_date, relative
from leaderboards.variants import variant_text
from leaderboards.whose import authors

FIRST = 10  # rows of a table that its board shows
WITH_CURVES = 3  # tables whose curves a board shows, its first ones
ROOM = 250_000  # bytes of tables on a board's page; further tables are links
MOST = 150  # rows on a page

ACR_WARNING = (
    "ACR rewards large radii on easy images: a row that leads by ACR may be behind at small radii. Compare the columns."
)
COMPARABLE = (
    "Rows in one table are comparable: same images, same noise, same number of draws. Rows in different tables are not."
)


def index_page(boards: Sequence[Shown], repository: str) -> Page:
    """What the site is, and its boards."""
    lines: list[Sequence[Cell]] = []
    links: dict[tuple[int, int], str] = {}
    for number, board in enumerate(boards):
        recorded = sum(row.read == "log" for row in board.rows.values())
        counts = [recorded, len(board.rows) - recorded + len(board.typed), len(board.blocks)]
        lines.append([(board.board.title, ""), *((str(count), "") for count in counts), (board.date or "–", "")])
        links[number, 0] = board.place
    headings = ["board", "rows from records", "rows from papers, without records", "tables", "newest row"]
    how = f"{repository}/blob/HEAD/{SUBMITTING}" if repository else ""
    content = [
        f'<p class="lead">{escape(WHAT_CERTIFIED_MEANS)}</p>',
        "<p>Every row from records is computed from a line for each image: from the authors’ published logs, or from "
        "runs whose records are in the repository. A row says of which classifier its certificates hold, whether that "
        "is the one it deploys, and what an attack inside the certified radii found.</p>",
        html.heading("Boards", 2),
        html.table(headings, lines, 1, links),
        html.heading("Submit a row", 2),
        "<p><code>suite submit RUN</code> or <code>suite submit LOG</code> makes the row in a clone of the repository "
        f"and checks it; {html.link('how, and what is checked', how) if how else f'{SUBMITTING} says how'}.</p>",
    ]
    date = max((board.date for board in boards), default="")
    return Page("index.html", NAME, WHAT_CERTIFIED_MEANS, content, date)


def board_page(board: Shown) -> Page:
    """A board: what it measures, its tables with their first rows, and what all of it means."""
    sort = board.board.sort
    lead = f"In each table the best row comes first, by {orders(board.board)[usual(board.board)]}."
    content = [
        f'<p class="lead">{escape(WHAT_CERTIFIED_MEANS)}</p>',
        f"<p>{escape(lead)} {escape(ACR_WARNING) if sort == 'acr' else ''} {escape(COMPARABLE)}</p>",
    ]
    if board.typed:
        papers = len({row.key for row in board.typed})
        text = f"{len(board.typed)} lines typed from the tables of {papers} papers, without records"
        content.append(f"<p>Apart from these tables: {html.link(text, relative(board.place, board.typed_place))}.</p>")
    content.append(contents(board))
    lines = [line for line in field(board.name, NOWHERE, "standard", board.root) if line.source == "records"]
    content += map(field_section, field_tables(lines))
    drawn: dict[str, list[dict[str, Any]]] = {}
    used = 0
    for number, block in enumerate(board.blocks):
        section = html.heading(block.title, 2) + table_section(board, block, board.place, block.lines[:FIRST])
        used += len(section)
        if number and used > ROOM:
            break
        if number < WITH_CURVES:
            drawn[f"group{number}"] = own = plots(block, NOWHERE, "standard", board.root)
            section += places(f"group{number}", len(own))
        more = len(block.lines) - FIRST
        text = f"all {len(block.lines)} rows, and their curves" if more > 0 else "this table on its own page"
        link = html.link(text, relative(board.place, board.table_place(block)))
        content.append(f'<section class="board">{section}<p>{link}</p></section>')
    if not board.frame.empty:
        content += meaning(board.frame, board.blocks)
    title = f"{board.board.title}: {NAME[0].lower()}{NAME[1:]}"
    summary = (
        f"{len(board.rows)} rows in {len(board.blocks)} tables of certified accuracy on {board.board.title}. {lead}"
    )
    script = [script_data(drawn)] if drawn else []
    return Page(board.place, title, summary, content + script, board.date, script=bool(board.blocks))


def contents(board: Shown) -> str:
    """A list of a board's tables."""
    links = [html.link(block.title, relative(board.place, board.table_place(block))) for block in board.blocks]
    sizes = [count(len(block.lines), "row") for block in board.blocks]
    lines = [f"<li>{link}, {size}</li>" for link, size in zip(links, sizes, strict=True)]
    return (
        f'<details class="contents"><summary>{count(len(lines), "table")}</summary><ul>{"".join(lines)}</ul></details>'
    )


def table_pages(board: Shown, block: Block) -> Iterator[Page]:
    """A table with all of its rows, on as many pages as these need; curves on the first."""
    total = -(-len(block.lines) // MOST)
    for number in range(1, total + 1):
        place, lines = board.table_place(block, number), block.lines[(number - 1) * MOST : number * MOST]
        drawn = {"group": plots(block, NOWHERE, "standard", board.root)} if number == 1 else {}
        section = table_section(board, block, place, lines, (number - 1) * MOST)
        pages = [
            html.link(f"page {other}", relative(place, board.table_place(block, other)))
            for other in range(1, total + 1)
            if other != number
        ]
        dates = [date for date in block.rows["date"] if is_date(date)]
        yield Page(
            place,
            f"{block.title}{f', page {number}' if number > 1 else ''}",
            f"{count(len(block.lines), 'row')}, best first, of certified ℓ2 robustness. {COMPARABLE}",
            [
                f"<p>{escape(COMPARABLE)}</p>",
                f'<section class="board">{section}</section>',
                f"<p>{' · '.join(pages)}</p>" if pages else "",
                places("group", len(drawn["group"])) if drawn else "",
                f"<p>Curves: of the best {DRAWN} rows at most.</p>" if number == 1 and total else "",
                *meaning(block.rows, [block]),
                script_data(drawn),
            ],
            max(dates, default=""),
            trail=((board.board.title, board.place),),
            script=True,
        )


def table_section(board: Shown, block: Block, place: str, lines: Sequence[Sequence[Cell]], skipped: int = 0) -> str:
    """A table's lines, each with a link to its row's page, and with whose it is in the place of a number.

    What attacks found comes right after the names, beside whether the certificates hold.
    """
    method = block.headings.index("method")
    source = block.headings.index("source") if "source" in block.headings else None
    shown: list[list[Cell]] = []
    links: dict[tuple[int, int], str] = {}
    own = block.rows.iloc[skipped : skipped + len(lines)]
    for number, (line, (_, row)) in enumerate(zip(lines, own.iterrows(), strict=True)):
        cells = list(line)
        cells[method] = (row["method"], variant_text(row))
        if source is not None:
            cells[source] = ("run" if row["source"] == "run" else authors(row["citation"], row["date"]), "")
        shown.append(cells)
        links[number, method] = relative(place, board.places[row["run_id"]])
    order = list(range(len(block.headings)))
    if "audit" in block.headings:
        order.insert(block.names, order.pop(block.headings.index("audit")))
    headings = [block.headings[column] for column in order]
    return html.table(headings, [[cells[column] for column in order] for cells in shown], block.names, links)


def meaning(frame: pd.DataFrame, blocks: Sequence[Block]) -> list[str]:
    """What the columns and the certificates of some rows say."""
    headings = {heading for block in blocks for heading in block.headings}
    lines = [*legend(frame, headings, False), "Small print: 95 % intervals, over test sets like this one."]
    return [*html_list("What the columns say", lines), *html_list("What the certificates say", certificates(frame))]


def html_list(heading: str, lines: Iterable[str]) -> list[str]:
    items = "\n".join(f"<li>{escape(line)}</li>" for line in lines)
    return [html.heading(heading, 2), f"<ul>\n{items}\n</ul>"]


def typed_page(board: Shown) -> Page:
    """Lines typed from papers' tables, newest paper first. Nothing in them was counted from records."""
    rows = sorted(board.typed, key=lambda row: (-row.paper.year, row.key))
    lines: list[Sequence[Cell]] = []
    links: dict[tuple[int, int], str] = {}
    for number, row in enumerate(rows):
        line = row.line
        at = ", ".join(f"{percent:g} at {radius}" for radius, percent in zip(line.at, line.percent, strict=True))
        sigma = "–" if line.sigma is None else str(line.sigma)
        cells = [
            (authors(row.paper.citation, str(row.paper.year)), row.said),
            (line.method, line.variant),
            (f"{'over ' if line.at_least else ''}{at}", ""),
        ]
        lines.append([*cells, *((text, "") for text in (line.arch or "–", line.kind, sigma, line.extra_data))])
        links[number, 0] = row.paper.link
    headings = ["paper", "method", "certified accuracy, %, at radius", "arch", "kind", "σ", "extra data"]
    text = (
        "These figures were typed from papers whose logs nobody published. They have no records and no intervals, "
        "nothing here recomputes them, and they share no table with rows from records. The small print says where each "
        "was read. σ “best”: the best over several at each radius."
    )
    return Page(
        board.typed_place,
        f"{board.board.title}: figures typed from papers, without records",
        text,
        [
            f'<p class="warn">{escape(text)}</p>',
            f'<div class="typed">{html.table(headings, lines, 7, links)}</div>',
        ],
        heading="Figures typed from papers, without records",
        trail=((board.board.title, board.place),),
    )
