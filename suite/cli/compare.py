"""The command that compares two rows of a board."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.options import PLAIN, RUNS, BoardRoot, Format, Output, Paper, Runs, out
from suite.errors import UserError

if TYPE_CHECKING:
    from leaderboards.rows import Row
    from suite.boards.board import Roots
    from suite.statistics.bounds import Convention


def compare(
    dataset: Annotated[str, typer.Argument(help="digits, cifar10, …")],
    a: Annotated[str, typer.Argument(metavar="A", help="a row: the id of one of its runs, or how that begins")],
    b: Annotated[str, typer.Argument(metavar="B", help="another row")],
    runs: Runs = RUNS,
    paper_convention: Paper = False,
    board_root: BoardRoot = None,
    format: Output = Format.table,
) -> None:
    """Compare two rows of a board at each radius, on the images that both have where their records are here."""
    from leaderboards.curves import row_records
    from leaderboards.published import all_roots
    from leaderboards.render.labels import labels
    from leaderboards.verdict import compared, sentence
    from suite.boards.board import radius_text

    root = all_roots(board_root)
    convention: Convention = "paper" if paper_convention else "standard"
    rows = [find_row(name, dataset, runs, root, convention) for name in (a, b)]
    if rows[0].run_id == rows[1].run_id:
        raise UserError(f"A and B are the same row: {rows[0].run_id}")
    found = compared(rows[0], rows[1], lambda row: row_records(row, runs, root), convention)
    names = labels(rows, full=True)
    if format is Format.json:
        lines = [
            {"radius": at.radius, "difference": at.difference, "interval": [at.low, at.high], "ahead": at.ahead or None}
            for at in found.verdict
        ]
        ids = [row.run_id for row in rows]
        images = len(found.pair.images) if found.pair else 0
        said = {"rows": ids, "images": images, "at": lines, "verdict": sentence(found.verdict)}
        print(json.dumps(said))
        return
    for letter, row in zip("AB", rows, strict=True):
        out.print(f"{letter}: {names[row.run_id]} ({row.run_id})", **PLAIN)
    out.print(f"A minus B, {found.basis}, 95 % for all radii at once:", **PLAIN)
    for at in found.verdict:
        points = f"{100 * at.difference:+6.1f} points ({100 * at.low:+.1f} to {100 * at.high:+.1f})"
        out.print(f"  r = {radius_text(at.radius):7} {points}: {at.verdict}", **PLAIN)
    out.print(sentence(found.verdict), **PLAIN)


def find_row(name: str, dataset: str, runs: Path, roots: Roots, convention: Convention) -> Row:
    """The row of a board that one of its runs, or how its name begins, stands for; UserError where it is not one."""
    from leaderboards import rows

    known = [row for row in rows(dataset, runs, convention, roots) if row.read == "log"]
    names = {id: row for row in known for id in (row.run_id, row.run_id.partition("/")[2], *row.runs) if id}
    fits = [names[name]] if name in names else [row for id, row in names.items() if name and id.startswith(name)]
    ids = sorted({row.run_id for row in fits})
    if len(ids) == 1:
        return names[ids[0]]
    if ids:
        raise UserError(f"'{name}' is how {len(ids)} rows begin: {', '.join(ids[:3])}{', …' * (len(ids) > 3)}")
    raise UserError(f"no row '{name}' on {dataset}; 'suite leaderboard {dataset} --format json' has their run_id")
