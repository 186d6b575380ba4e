"""Commands that show boards, and put published rows on them."""

from __future__ import annotations

import json
import math
import shlex
import sys
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.options import PLAIN, RUNS, BoardRoot, DataRoot, Format, Output, OwnRoot, Paper, Runs, out
from suite.errors import UserError, require

if TYPE_CHECKING:
    from suite.statistics.bounds import Convention


class BoardFormat(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"
    latex = "latex"
    html = "html"
    schema = "schema"


def leaderboard(
    dataset: Annotated[str, typer.Argument(help="digits, cifar10, …")],
    runs: Runs = RUNS,
    paper_convention: Paper = False,
    published: Annotated[bool, typer.Option(help="published rows beside those of runs")] = True,
    board_root: BoardRoot = None,
    sort: Annotated[str | None, typer.Option(help="acr, p_a, clean or a radius (default: the board's)")] = None,
    wide: Annotated[bool, typer.Option("--wide", help="all metrics, at all radii of the board")] = False,
    method: Annotated[list[str] | None, typer.Option(help="only this method's rows; may be repeated")] = None,
    sigma: Annotated[list[float] | None, typer.Option(help="only votes at this noise, and margins; repeatable")] = None,
    format: Annotated[BoardFormat, typer.Option(help="how to print it; schema: of the JSON")] = BoardFormat.table,
    file: Annotated[Path | None, typer.Option("--out", help="write to this file instead")] = None,
) -> None:
    """Print or export the board of a data set: runs and published rows, comparable ones in one table, best first."""
    from leaderboards import table
    from leaderboards.board import left_out, select_rows
    from leaderboards.field import field
    from leaderboards.published import all_roots
    from leaderboards.render import export
    from leaderboards.render.schema import schema
    from leaderboards.render.terminal import field_blocks, leaderboard_tables
    from suite.boards.board import radius_key

    root = all_roots(board_root) if published else None
    convention: Convention = "paper" if paper_convention else "standard"
    if format is BoardFormat.schema:
        write(json.dumps(schema(), indent=2), file)
        return
    if damaged := left_out(dataset, runs, root):
        print(f"left out: {'; '.join(damaged)}", file=sys.stderr)
    if format is BoardFormat.json:
        chosen: dict[str, Any] = {"sort": sort, "methods": method or (), "sigmas": sigma or ()}
        content = export.document(dataset, runs, root, convention=convention, **chosen)
        write(export.to_json(content), file)
        return
    frame = table(dataset, runs, convention, root, sort=sort)
    lines = [] if method or sigma or sort else field(dataset, runs, convention, root)
    if frame.empty and lines and format is BoardFormat.table and file is None:
        for block in field_blocks(lines):
            out.print(block)
        return
    if frame.empty:
        raise UserError(
            f"no finished run on '{dataset}' in {runs}; begin one: suite run --method heat --dataset {dataset}"
        )
    columns: dict[str, Any] = {"wide": wide, "sort": radius_key(sort or "").lower()}
    known = frame
    frame = select_rows(frame, method=method or (), sigma=sigma or ())
    if frame.empty:
        methods, sigmas = sorted(known["method"].unique()), sorted(known["sigma"].dropna().unique())
        raise UserError(f"no such row; methods: {', '.join(methods)}; sigma: {', '.join(map(str, sigmas))}")
    if format is BoardFormat.table and file is None:
        recorded = [line for line in lines if line.source == "records"]
        typed = [line for line in lines if line.source != "records"]
        for block in (
            *field_blocks(recorded),
            *leaderboard_tables(frame, paper_convention, **columns),
            *field_blocks(typed),
        ):
            out.print(block)
    elif format is BoardFormat.table:
        raise UserError("--out takes a --format besides table: json, csv, markdown, latex or html")
    elif format is BoardFormat.csv:
        write(export.to_csv(frame), file)
    elif format is BoardFormat.html:
        require("--format html", "app", "plotly")
        from leaderboards.render.page import to_html

        write(to_html(frame, dataset, runs, convention, root or (), lines, **columns), file)
    else:
        form = export.to_markdown if format is BoardFormat.markdown else export.to_latex
        write(form(frame, paper_convention, **columns), file)


def write(text: str, file: Path | None) -> None:
    """To a file, whole or not at all, or to standard output."""
    if file is None:
        print(text)
        return
    from suite.store.files import write_atomically

    try:
        write_atomically(file, text.encode())
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}") from error


class ReportFormat(StrEnum):
    markdown = "markdown"
    html = "html"


def report(
    dataset: Annotated[str, typer.Argument(help="cifar10, digits, …")],
    runs: Runs = RUNS,
    board_root: BoardRoot = None,
    format: Annotated[ReportFormat, typer.Option(help="html: one page with curves")] = ReportFormat.markdown,
    file: Annotated[Path | None, typer.Option("--out", help="write to this file instead")] = None,
) -> None:
    """The paper's figures and tables with the runs on a data set beside them, and whether they bear the paper out."""
    require("suite report", "app", "plotly")
    from leaderboards.paper.report import report
    from leaderboards.published import all_roots
    from leaderboards.render.document import to_html, to_markdown

    sections = report(runs, dataset, all_roots(board_root))
    write(to_html(sections) if format is ReportFormat.html else to_markdown(sections), file)


def import_published(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help="logs: idx, label, predict, radius, correct and, if known, time"),
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="a catalogue of logs beside it, in the place of files and what they are of")
    ] = None,
    board: Annotated[str | None, typer.Option(help="cifar10, imagenet, …")] = None,
    method: Annotated[str | None, typer.Option(help="what the rows are called")] = None,
    citation: Annotated[str | None, typer.Option(help="authors, title, venue and year")] = None,
    arch: Annotated[str | None, typer.Option(help="(default: from the file's name)")] = None,
    variant: Annotated[str | None, typer.Option(help="what sets the rows apart from others of the method")] = None,
    kind: Annotated[str, typer.Option(help="of certificate: vote, or margin of a Lipschitz network")] = "vote",
    sigma: Annotated[float | None, typer.Option(help="vote: noise, pixels in [0,1] (default: from names)")] = None,
    trained_sigma: Annotated[float | None, typer.Option(help="noise in training (default: from names)")] = None,
    seed: Annotated[int | None, typer.Option(help="of training (default: from the file's name)")] = None,
    n0: Annotated[
        int | None, typer.Option(help="vote: selection draws; 0: the class of a single pass (default: 100)")
    ] = None,
    n: Annotated[int | None, typer.Option(help="vote: estimation draws (default: 100000)")] = None,
    alpha: Annotated[
        float | None, typer.Option(help="vote: failure probability; the radii have to fit it (default: 0.001)")
    ] = None,
    top: Annotated[int, typer.Option(help="a draw counts if its class is among the top this many")] = 1,
    corruption: Annotated[str | None, typer.Option(help="fog, …, of a board of corrupted images (cifar10-c)")] = None,
    note: Annotated[str | None, typer.Option(help="what else a reader has to know")] = None,
    row: Annotated[str | None, typer.Option(help="what one log's row is called (default: METHOD-FILE)")] = None,
    few: Annotated[bool, typer.Option("--few", help="take a log of fewer than 50 images, too")] = False,
    data_root: DataRoot = None,
    board_root: OwnRoot = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="put new content in the place of rows that are there")
    ] = False,
    format: Output = Format.table,
) -> None:
    """Put the figures of published per-image certification logs (Cohen et al.'s layout) on a board."""
    from leaderboards.published.manifest import import_manifest
    from leaderboards.published.store import import_logs
    from suite.boards.board import own_root

    given = {"method": method, "citation": citation, "arch": arch, "sigma": sigma, "trained_sigma": trained_sigma}
    given |= {"seed": seed, "n0": n0, "n": n, "alpha": alpha, "variant": variant, "corruption": corruption}
    root = board_root or own_root()
    if manifest:
        if files or board or row or any(value is not None for value in given.values()):
            raise UserError("--manifest says what each of its logs is of: leave out files and what they are of")
        labels = cache(lambda board: labels_at_hand(board, data_root, root))
        done = import_manifest(manifest, root, replace=replace, few=few, labels=labels)
    else:
        needed = {"FILE": files, "--board": board, "--method": method, "--citation": citation}
        if missing := [name for name, value in needed.items() if not value]:
            raise UserError(f"import needs {', '.join(missing)}, or a --manifest that says what its logs are of")
        more: dict[str, Any] = {"kind": kind, "top": top, "note": note, "row": row, **given}
        known = labels_at_hand(board or "", data_root, root)
        done = import_logs(files or (), board or "", root, replace=replace, few=few, labels=known, **more)
        done = [said | {"dataset": board} for said in done]
        labels = cache(lambda board: known)
    if format is Format.json:
        print(json.dumps(done))
        return
    for line in done:
        out.print(import_line(line, labels(line["dataset"])), **PLAIN)
    if manifest:
        figures = sum(line["figures"] for line in done)
        new = sum(line["new"] for line in done)
        out.print(f"{len(done)} logs, {new} rows new; {figures} printed figures came out of them", **PLAIN)
    where = shlex.join(["--board-root", str(board_root)]) if board_root else ""
    for name in dict.fromkeys(line["dataset"] for line in done):
        out.print(f"next: suite leaderboard {name} {where}".rstrip(), **PLAIN)


def import_line(line: dict[str, Any], labels: tuple[Any, str] | None) -> str:
    """What is said of an imported log."""
    from leaderboards.published.log import WEAK

    said = [f"{line['row']}: {line['images']} images{'' if line['new'] else ', there already'}"]
    if line["chance"] is None:
        said.append("radii not checked: they rest on the Lipschitz constant that its authors prove")
    elif line["chance"] <= WEAK:  # else its note says so
        said.append(f"arbitrary radii would have been taken with probability {probability(line['chance'])}")
    said.append(f"labels {'not checked: no such test set here' if labels is None else f'as in {labels[1]}'}")
    return "; ".join([*said, *filter(None, [line["note"]])])


published = typer.Typer(help="The logs behind published rows.", no_args_is_help=True)


@published.callback()
def _group() -> None:
    """The logs behind published rows."""


@published.command()
def fetch(
    row: Annotated[list[str], typer.Argument(metavar="ROW...", help="BOARD/ROW, or how its name begins")],
    source: Annotated[Path | None, typer.Option("--from", help="the log of one row, at hand")] = None,
    board_root: BoardRoot = None,
    format: Output = Format.table,
) -> None:
    """Get the logs of published rows from their repositories, for comparisons image by image.

    A log is checked by its SHA-256, and the row's figures are counted again from it. It is kept in the user's cache
    ($SUITE_CACHE). $SUITE_LOGS_URL is where the repositories' files are asked for, if not at GitHub.
    """
    from leaderboards.published import all_roots, read_entry
    from leaderboards.published.fetch import fetch_log, find_row

    root = all_roots(board_root)
    names = [find_row(name, root) for name in row]
    if source and len(names) > 1:
        raise UserError("--from FILE is the log of one row")
    done = []
    for name in names:
        place, new = fetch_log(name, root, source)
        done.append({"row": name, "file": str(place), "new": new, "images": read_entry(name, root).images})
        if format is Format.table:
            there = "" if new else ", there already"
            out.print(
                f"{name}: {done[-1]['images']} images, every figure of the row is the log's; {place}{there}", **PLAIN
            )
    if format is Format.json:
        print(json.dumps(done))


def labels_at_hand(board: str, data_root: Path | None, board_root: Path) -> tuple[Any, str] | None:
    """The labels of the board's test set and where they are from; None where it is not here in this variant.

    Those of corrupted images are the test set's, once for each of five severities.
    """
    from suite.boards.board import load_board
    from suite.data import DATASETS, load

    plain = board.removesuffix("-c")
    if plain not in DATASETS.paths():
        return None
    try:
        data = load(plain, data_root, download=False)
    except UserError:
        return None
    if data.title != load_board(plain, board_root).title:
        return None
    labels = data.test.labels
    return labels.repeat(1 if plain == board else 5).numpy(), data.source


def probability(exponent: float) -> str:
    """A bound on 10 to `exponent`, as it is read: < 1e-57."""
    return f"< 1e{math.floor(exponent) + 1}"


def publish(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="finished runs: ids, or how these begin")],
    runs: Runs = RUNS,
    board_root: OwnRoot = None,
    format: Output = Format.table,
) -> None:
    """Put finished runs, without their weights, beside the published rows, for a board that needs no store."""
    from leaderboards.published.kept import keep
    from suite.boards.board import own_root
    from suite.store.read import find_run

    done = [keep(find_run(name, runs), board_root or own_root()) for name in run]
    if format is Format.json:
        print(json.dumps([{"folder": str(place), "new": new} for place, new in done]))
        return
    for place, new in done:
        out.print(f"{place}{'' if new else ', there already'}", **PLAIN)
