"""A page for each row: what its certificates guarantee and of which classifier, its numbers, where it is from."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from leaderboards.estimates import CURVES
from leaderboards.published import row_files
from leaderboards.published.kept import run_folder
from leaderboards.render import html
from leaderboards.render.cells import Block, Cell, bounds, number, rank_text
from leaderboards.render.labels import deployment
from leaderboards.render.page import places, plots, script_data
from leaderboards.render.schema import DESCRIPTIONS
from leaderboards.render.site_page import NOWHERE, Page, Shown, is_date, relative, slug
from leaderboards.rows import Estimate, Row
from leaderboards.variants import variant_text
from suite.protocols.protocol import Column, columns
from suite.store.read import read_run

SETTINGS = (
    "data", "arch", "variant", "kind", "deployed", "sigma", "top", "images", "every", "n0", "n", "alpha", "sampling",
    "noise", "precision", "decided", "seeds",
)  # fmt: skip
ORIGIN = ("repository", "commit", "path", "file", "sha256", "licence", "url")  # of a published log, in its row's file
ADDRESS = re.compile(r"https://[^\s<>\"']+[^\s<>\"'.,;:)]")
HOLDS = {
    True: "The certificates hold for what this row deploys: {deployed}.",
    False: "The certificates do not hold for what this row deploys. They are of the vote under noise, and it deploys a "
    "single pass, for which no radius here is guaranteed.",
    None: "What this row deploys is not known, and so not whether the certificates hold for it.",
}


def row_pages(board: Shown) -> Iterator[Page]:
    """The pages of a board's rows. The other runs of a row have addresses that lead to it."""
    for run_id, row in board.rows.items():
        yield row_page(board, row)
        for other in row.runs:
            if other != run_id:
                yield moved_page(board, row, other)


def row_page(board: Shown, row: Row) -> Page:
    """All there is to say of a row."""
    place = board.places[row.run_id]
    [block, *_] = [block for block in board.blocks if row.run_id in set(block.rows["run_id"])]
    line = block.rows[block.rows["run_id"] == row.run_id]
    drawn = {"row": plots(Block(block.title, [], [], line), NOWHERE, "standard", board.root)}
    name = ", ".join(filter(None, (row.method, row.arch, variant_text(row))))
    rank = "" if line["rank"].isna().all() else f", rank {rank_text(line.iloc[0])} of {len(block.rows)}"
    tables = f"In the table {html.link(block.title, relative(place, board.table_place(block)))}{rank}."
    content = [
        f"<p>{tables}</p>",
        *guarantee(row),
        html.heading("Certified accuracy", 2),
        curve_table(row),
        places("row", len(drawn["row"])),
        html.heading("Other numbers", 2),
        metrics_table(row),
        html.heading("Settings", 2),
        facts_table(settings(row)),
        html.heading("Where it is from", 2),
        *origin(board, row),
        script_data(drawn),
    ]
    figures = [f"{percent} % at {r}" for r, percent in shown_shares(row)[:3]]
    summary = f"{name} on {row.data}: certified accuracy {', '.join(figures)}. {row.claim}"
    title = f"{name}: {block.title}"
    date = row.date if is_date(row.date) else ""
    return Page(place, title, summary, content, date, name, ((board.board.title, board.place),), script=True)


def moved_page(board: Shown, row: Row, run: str) -> Page:
    """Where the address of a run leads that is one of several seeds."""
    place = f"rows/{slug(run)}.html"
    there = relative(place, board.places[row.run_id])
    text = f"The run {run} is one of the seeds of a row"
    content = [f"<p>{html.link(text, there)}.</p>"]
    return Page(place, text, text, content, trail=((board.board.title, board.place),), moved=there)


def guarantee(row: Row) -> Iterator[str]:
    """What is guaranteed, of which classifier, whether that is what is deployed, and what attacks found."""
    yield html.heading("What is guaranteed", 2)
    yield f"<p>{escape(sentence(row.claim))}</p>" if row.claim else ""
    holds = HOLDS[row.holds].format(deployed=deployment(row) or "–")
    mark = "" if row.holds else ' class="warn"'
    yield f"<p{mark}>{escape(holds)}</p>"
    counts = [(column, row.metrics[key]) for key, column in columns().items() if column.of and row.metrics[key].of]
    said = [f"{column.title}: {own.value:.0f} of {own.of:.0f}. {sentence(column.help)}" for column, own in counts]
    found = [f"<li>{escape(line)}</li>" for line in said]
    nothing = "<p>Nobody has attacked these certificates, as far as the records say.</p>"
    yield f"<p>What attacks inside the radii found:</p><ul>{''.join(found)}</ul>" if found else nothing


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def shown_shares(row: Row) -> list[tuple[str, str]]:
    """Certified accuracy in percent at the radii where it is known."""
    curves = [row.curves["certified_accuracy"], row.curves["certified_accuracy_paper"]]
    for curve in curves:
        known = [(r, f"{100 * own.value:.1f}") for r, own in curve.items() if own.value is not None]
        if known:
            return known
    return []


def curve_table(row: Row) -> str:
    """Every number by radius with its interval, a line for each radius."""
    shown = {
        key: column
        for key, column in columns().items()
        if column.by_radius and any(own.value is not None for own in row.curves[key].values())
    }
    titles = {key: f"{column.title}{', the paper’s' * (key == CURVES['paper'])}, %" for key, column in shown.items()}
    radii = list(dict.fromkeys(r for key in shown for r in row.curves[key]))
    lines: list[Sequence[Cell]] = [
        [(r, ""), *(cell(row.curves[key].get(r, Estimate()), column) for key, column in shown.items())] for r in radii
    ]
    meanings = "".join(f"<li>{escape(f'{titles[key]}: {column.help}')}</li>" for key, column in shown.items())
    headings = ["radius r", *titles.values()]
    return f"{html.table(headings, lines, 1)}<ul>{meanings}<li>Small print: 95 % intervals; ±: over seeds.</li></ul>"


def cell(own: Estimate, column: Column) -> Cell:
    spread = "" if own.spread is None else f" ± {number(own.spread, column)}"
    return number(own.value, column) + spread, bounds(own.interval, column)


def metrics_table(row: Row) -> str:
    """The row's other numbers, with what they mean."""
    lines: list[Sequence[Cell]] = []
    for key, column in columns().items():
        if not column.by_radius and not column.of and row.metrics[key].value is not None:
            units = {"share": ", %", "": "", column.title: ""}
            unit = units.get(column.unit, f", {column.unit}")
            lines.append([(f"{column.title}{unit}", column.help), cell(row.metrics[key], column)])
    return f'<div class="facts">{html.table(["metric", "value"], lines, 1)}</div>' if lines else "<p>None.</p>"


def settings(row: Row) -> list[tuple[str, str, str]]:
    """What the row is of: name, value, meaning."""
    found = []
    for name in SETTINGS:
        value = getattr(row, name)
        if value not in (None, "", [], ()):
            found.append((name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else f"{value}", name))
    return [(name, value, DESCRIPTIONS.get(key, "")) for name, value, key in found]


def facts_table(facts: Sequence[tuple[str, str, str]]) -> str:
    lines: list[Sequence[Cell]] = [[(name, meaning), (value, "")] for name, value, meaning in facts]
    return f'<div class="facts">{html.table(["what", "value"], lines, 2)}</div>'


def origin(board: Shown, row: Row) -> Iterator[str]:
    """Citation, log or runs, and the command that makes the row again."""
    if row.citation:
        yield f"<p>{linked(row.citation)}</p>"
    if row.note:
        yield f"<p>{linked(sentence(row.note))}</p>"
    if row.source == "published":
        dataset, _, name = row.run_id.partition("/")
        yield published_log(row_files(dataset, board.root)[name])
    if row.source == "run":
        for number, run in enumerate(row.runs):
            yield html.heading(f"Seed {row.seeds[number]}" if len(row.seeds) == len(row.runs) else f"Run {run}", 3)
            yield facts_table(run_facts(run, run_folder(run, NOWHERE, board.root)))
    if row.device:
        yield f"<p>Seconds were measured on: {escape(row.device)}.</p>"
    yield f"<p>Row <code>{escape(row.run_id)}</code>, of {escape(row.date or 'no date')}.</p>"
    if row.command:
        what = "Get its figures from the log again:" if row.source == "published" else "Make the row again:"
        yield f"<p>{what}</p>" + "".join(
            f"<pre><code>{escape(line)}</code></pre>" for line in row.command.split(" && ")
        )


def published_log(file: Path) -> str:
    """What the file of a published row says of the log that its figures were counted from."""
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    known = {name: str(content[name]) for name in ORIGIN if content.get(name)}
    lines: list[Sequence[Cell]] = [[(name, ""), (value, "")] for name, value in known.items()]
    links: dict[tuple[int, int], str] = {}
    where = {name: known.get(name, "") for name in ("repository", "commit", "path")}
    for place, name in enumerate(known):
        if name == "url" and ADDRESS.fullmatch(known[name]):
            links[place, 1] = known[name]
        if name in ("repository", "path") and re.fullmatch(r"[\w.-]+/[\w.-]+", where["repository"]):
            more = f"/blob/{where['commit']}/{where['path']}" if name == "path" and where["commit"] else ""
            links[place, 1] = f"https://github.com/{where['repository']}{more}"
    return f'<div class="facts">{html.table(["log", ""], lines, 2, links)}</div>'


def run_facts(run: str, folder: Path) -> list[tuple[str, str, str]]:
    """Of a run: where it was made, with which code, and the digests of its certificates' records."""
    environment: dict[str, Any] = read_run(folder).environment or {}
    versions = environment.get("versions")
    used = [f"Python {environment.get('python', '–')}"]
    used += [f"{name} {text}" for name, text in versions.items()] if isinstance(versions, dict) else []
    facts = [
        ("run", run, ""),
        ("device", str(environment.get("device_name") or environment.get("device") or "–"), ""),
        ("versions", ", ".join(used), ""),
        ("code", str(environment.get("git_commit") or "–"), "commit; dirty: with changes that no commit has"),
    ]
    for file in sorted(folder.glob("certify*.jsonl*")):
        facts.append((file.name, hashlib.sha256(file.read_bytes()).hexdigest(), "SHA-256 of the certificates' records"))
    return facts


def linked(text: str) -> str:
    """Text with its web addresses as links."""
    parts, end = [], 0
    for found in ADDRESS.finditer(text):
        parts += [escape(text[end : found.start()]), html.link(found[0], found[0])]
        end = found.end()
    return "".join([*parts, escape(text[end:])])
