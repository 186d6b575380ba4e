"""Commands that check what is kept, and change nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer

from suite.cli.options import PLAIN, RUNS, Format, Output, Runs, out, run_ids
from suite.errors import UserError

FEW = 10  # faults of a run that are printed


def verify(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN...]", help="ids, how these begin, or folders", autocompletion=run_ids),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all runs of the store, and those that come with the suite")
    ] = False,
    runs: Runs = RUNS,
    format: Output = Format.table,
) -> None:
    """Check runs: each radius from its counts, the row from the records, names from the settings."""
    from leaderboards.published import PUBLISHED
    from leaderboards.published.kept import KEPT
    from suite.store.read import find_run, run_folders
    from suite.store.verify import Earlier
    from suite.store.verify import verify as faults_of

    if bool(run) == every:
        raise UserError("name runs to verify, or --all")
    folders = [find_run(name, runs) for name in run or ()] or list(run_folders(PUBLISHED / KEPT, runs).values())
    wrong = 0
    for folder in folders:
        try:
            faults, earlier = list(faults_of(folder)), ""
        except Earlier as error:
            faults, earlier = [], str(error)
        wrong += bool(faults)
        if format is Format.json:
            print(json.dumps({"run": folder.name, "folder": str(folder), "faults": faults, "not_checked": earlier}))
            continue
        out.print(earlier or f"{folder.name}: {'as it says' if not faults else f'{len(faults)} faults'}", **PLAIN)
        for fault in faults[:FEW]:
            out.print(f"  {fault}", **PLAIN)
        if len(faults) > FEW:
            out.print(f"  and {len(faults) - FEW} more: --format json", **PLAIN)
    if wrong:
        raise typer.Exit(1)


def doctor(runs: Runs = RUNS, format: Output = Format.table) -> None:
    """Say what is odd in the store, and what to do about it."""
    from suite.store.doctor import find_oddities

    found = list(find_oddities(runs))
    if format is Format.json:
        print(json.dumps([asdict(finding) | {"path": str(finding.path)} for finding in found]))
    elif not found:
        out.print(f"nothing is odd in {runs}", **PLAIN)
    for finding in found if format is Format.table else ():
        out.print(f"{finding.path}: {finding.what}\n  {finding.do}", **PLAIN)
