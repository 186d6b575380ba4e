"""Commands about the runs that are kept: which there are, what one is, and how to be rid of some."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.options import PLAIN, RUNS, Format, Output, Runs, out, run_ids, show_list
from suite.errors import UserError
from suite.progress import duration, megabytes

RunId = Annotated[str, typer.Argument(help="its id, or how that begins", autocompletion=run_ids)]
RunIds = Annotated[list[str], typer.Argument(metavar="RUN...", help="ids, or how these begin", autocompletion=run_ids)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


def list_runs(runs: Runs = RUNS, format: Output = Format.table) -> None:
    """List the runs: state, size, and when they changed last."""
    from suite.store.inventory import inventory
    from suite.store.read import check_store

    check_store(runs)
    entries = [
        {
            "run": entry.name,
            "method": entry.method,
            "dataset": entry.dataset,
            "state": entry.state,
            "size": entry.size if format is Format.json else megabytes(entry.size),
            "changed": entry.changed if format is Format.json else f"{duration(time.time() - entry.changed)} ago",
        }
        for entry in inventory(runs)
    ]
    if not entries and format is Format.table:
        out.print(f"no runs in {runs}: 'suite run --method heat --dataset digits' makes one", **PLAIN)
        return
    show_list(entries, format)


def show(run: RunId, runs: Runs = RUNS, format: Output = Format.table) -> None:
    """Show a run, also one that comes with the suite: its row, settings, command, and the files in its folder."""
    from leaderboards.published import all_roots
    from leaderboards.published.kept import find_shown_run
    from suite.spec.shell_line import command
    from suite.store.files import read_json
    from suite.store.inventory import state_of
    from suite.store.read import machine_of, read_spec
    from suite.store.result import Result

    folder = find_shown_run(run, runs, all_roots())
    spec = read_spec(folder)
    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir()) if file.is_file()}
    about: dict[str, Any] = {"run": folder.name, "folder": str(folder), "state": state_of(folder), "files": files}
    result = Result.from_file(folder / "result.json") if "result.json" in files else None
    about["command"] = result.command if result else command(spec, spec.protocols)
    if format is Format.json:
        row = read_json(folder / "result.json") if result else None
        print(json.dumps(about | {"spec": spec.to_json(), "result": row}))
        return
    if result:
        from leaderboards.render.terminal import result_table

        out.print(result_table(result))
    out.print(f"{folder.name}: {about['state']}, {megabytes(sum(files.values()))} in {folder}", **PLAIN)
    for name, size in files.items():
        out.print(f"  {name:40} {megabytes(size):>10}", **PLAIN)
    out.print(f"made on: {machine_of(folder)}", **PLAIN)
    out.print(f"command: {about['command']}", **PLAIN)


def rm(run: RunIds, runs: Runs = RUNS, yes: Yes = False) -> None:
    """Delete runs. Their shared models stay until 'suite clean'; what MLflow has of them stays there."""
    from suite.store.inventory import remove, size_of, state_of
    from suite.store.locks import holder_of, lock_of
    from suite.store.read import find_run

    folders = list(dict.fromkeys(find_run(name, runs) for name in run))
    for folder in folders:
        if state_of(folder) == "at work":
            by = holder_of(lock_of(folder)) or "a process"
            raise UserError(f"{by} is at work on {folder.name}: end it first; nothing was deleted")
    agree([f"{folder.name}, {state_of(folder)}, {megabytes(size_of(folder))}" for folder in folders], yes)
    for folder in folders:
        remove(folder)
    deleted = "1 run" if len(folders) == 1 else f"{len(folders)} runs"
    out.print(f"{deleted} deleted; 'suite clean' deletes models that no run needs any more", **PLAIN)


def clean(runs: Runs = RUNS, yes: Yes = False) -> None:
    """Delete trained models and weights that no run in the store needs; it asks."""
    from suite.store.inventory import remove, unused

    refuse_while_at_work(runs)
    found = unused(runs)
    if not found:
        out.print(f"every model in {runs} is needed by a run", **PLAIN)
        return
    agree([f"{path.relative_to(runs)}, {megabytes(size)}" for path, size in found], yes)
    refuse_while_at_work(runs)
    for path, _ in found:
        if path.is_dir():
            remove(path)
        else:
            path.unlink()
    out.print(f"{len(found)} deleted, {megabytes(sum(size for _, size in found))}", **PLAIN)


def refuse_while_at_work(runs: Path) -> None:
    """Raise UserError where a process is at work in the store: an experiment trains models before runs are there."""
    from suite.store.inventory import at_work

    if busy := at_work(runs):
        raise UserError(f"a process is at work on {busy}, and runs to come may need models that are here: end it first")


def agree(lines: list[str], yes: bool) -> None:
    """List what is about to be deleted and ask, unless it was agreed to."""
    for line in lines:
        out.print(f"  {line}", **PLAIN)
    try:
        agreed = yes or typer.confirm(f"delete {'this' if len(lines) == 1 else f'these {len(lines)}'}?")
    except typer.Abort as error:
        raise UserError("nothing was deleted: nobody answered; --yes does not ask") from error
    if not agreed:
        raise UserError("nothing was deleted")
