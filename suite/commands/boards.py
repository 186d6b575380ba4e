"""Commands that show boards, and put published rows on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from suite.commands.options import RUNS, BoardRoot, DataRoot, Format, Output, Paper, Runs, out
from suite.errors import UserError


def leaderboard(
    dataset: Annotated[str, typer.Argument(help="digits, cifar10, …")],
    runs: Runs = RUNS,
    paper_convention: Paper = False,
    published: Annotated[bool, typer.Option(help="published rows beside those of runs")] = True,
    board_root: BoardRoot = None,
    format: Output = Format.table,
) -> None:
    """Print the board of a data set: finished runs and published rows, comparable ones in one table, best first."""
    from leaderboards import table
    from leaderboards.published import PUBLISHED
    from suite.tables import leaderboard_tables

    root = (board_root or PUBLISHED) if published else None
    frame = table(dataset, runs, "paper" if paper_convention else "standard", root)
    if frame.empty and format is Format.table:
        raise UserError(
            f"no finished run on '{dataset}' in {runs}; begin one: suite run --method heat --dataset {dataset}"
        )
    if format is Format.json:
        print(frame.to_json(orient="records", double_precision=15))
        return
    for block in leaderboard_tables(frame, paper_convention):
        out.print(block)


def import_published(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="logs: idx, label, predict, radius, correct, time")
    ],
    board: Annotated[str, typer.Option(help="cifar10, imagenet, …")],
    method: Annotated[str, typer.Option(help="what the rows are called")],
    citation: Annotated[str, typer.Option(help="authors, title, venue and year")],
    arch: Annotated[str | None, typer.Option(help="[default: from the file's name]")] = None,
    sigma: Annotated[float | None, typer.Option(help="noise, pixels in [0,1] [default: from the file's name]")] = None,
    trained_sigma: Annotated[float | None, typer.Option(help="noise in training [default: the file's name]")] = None,
    n0: Annotated[int, typer.Option(help="selection draws; 0: the class of a single pass")] = 100,
    n: Annotated[int, typer.Option(help="estimation draws")] = 100_000,
    alpha: Annotated[float, typer.Option(help="failure probability; the radii have to fit it")] = 0.001,
    top: Annotated[int, typer.Option(help="a draw counts if its class is among the top this many")] = 1,
    note: Annotated[str | None, typer.Option(help="what else a reader has to know")] = None,
    board_root: BoardRoot = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="put new content in the place of rows that are there")
    ] = False,
    format: Output = Format.table,
) -> None:
    """Put published per-image certification logs (Cohen et al.'s layout) on a board."""
    from leaderboards.published import PUBLISHED
    from leaderboards.published.store import import_logs

    given = {"method": method, "citation": citation, "arch": arch, "sigma": sigma, "trained_sigma": trained_sigma}
    given |= {"n0": n0, "n": n, "alpha": alpha, "top": top, "note": note}
    done = import_logs(files, board, board_root or PUBLISHED, replace=replace, **given)
    if format is Format.json:
        print(json.dumps(done))
        return
    for row in done:
        said = f"{row['row']}: {row['images']} images{'' if row['new'] else ', there already'}"
        out.print(f"{said}{'; ' * bool(row['note'])}{row['note']}", highlight=False, markup=False, soft_wrap=True)
    out.print(f"next: suite leaderboard {board}", highlight=False)


def serve(
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    host: Annotated[str, typer.Option(help="address to serve on; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
) -> None:
    """Open the leaderboard in a browser."""
    from streamlit.web import cli as streamlit

    page = Path(__file__).parents[2] / "app" / "main.py"
    where = ["--server.address", host, "--server.port", str(port), "--browser.gatherUsageStats", "false"]
    where += ["--client.toolbarMode", "minimal", "--client.showErrorDetails", "none"]
    streamlit.main(
        ["run", str(page), *where, "--", str(runs), *map(str, filter(None, [data_root]))], standalone_mode=False
    )
