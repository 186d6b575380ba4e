"""The command that makes a row to hand in."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.boards import import_published
from suite.cli.check import known_labels
from suite.cli.options import PLAIN, RUNS, DataRoot, Format, Output, Runs, out, run_ids
from suite.errors import UserError

if TYPE_CHECKING:
    from leaderboards.submission import Submission

Checkout = Annotated[Path, typer.Option(help="a clone of the suite's repository, which the row is written into")]


def submit(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN... | LOG... [OPTIONS OF IMPORT]",
            help="finished runs: ids, how these begin, or folders; or certification logs, with what suite import needs",
            autocompletion=run_ids,
        ),
    ],
    checkout: Checkout = Path("."),
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    format: Output = Format.table,
) -> None:
    """Make a row to hand in: write finished runs, or logs, into a clone of the repository, and check them."""
    from leaderboards.published.kept import KEPT, keep
    from leaderboards.submission import check_run
    from suite.store.read import find_run, run_folders

    root = checkout / "leaderboards" / "published"
    if not root.is_dir():
        raise UserError(f"{checkout.absolute()} is no clone of the suite's repository; --checkout FOLDER names one")
    if any(Path(word).is_file() for word in what):
        submit_logs(what, root, data_root, format)
        return
    if options := [word for word in what if word.startswith("-")]:
        raise UserError(f"no such option for a run: {options[0]}; a log to hand in has to be a file that is here")
    folders = [find_run(name, runs) for name in what]
    others = list(run_folders(root / KEPT).values())
    checked = [check_run(folder, root, known_labels(folder, data_root, others)) for folder in folders]
    for folder, done in zip(folders, checked, strict=True):  # all of them or none
        keep(folder, root)
        if format is Format.json:
            lists = {"checked": done.checked, "not_checked": done.not_checked, "warnings": done.warnings}
            print(json.dumps({"run": folder.name, "folder": str(done.place)} | lists))
        else:
            say(done)
    if format is Format.table:
        first = checked[0]
        subject = f"Row: {first.result.method}, {first.result.arch}, on {first.result.data}"
        say_next(checkout, first.place.name, root / KEPT, subject)


def submit_logs(words: list[str], root: Path, data_root: Path | None, format: Format) -> None:
    """Import logs into a clone, by `suite import`, which checks them; its options are among the words."""
    command = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    command.command()(import_published)
    more = ["--board-root", str(root), "--format", format.value]
    more += ["--data-root", str(data_root)] if data_root else []
    typer.main.get_command(command).main([*words, *more], prog_name="suite submit", standalone_mode=False)
    if format is Format.table:
        log = next(Path(word) for word in words if Path(word).is_file())
        say_next(root.parents[1], log.stem, root, f"Rows from {log.name}")


def say(done: Submission) -> None:
    out.print(f"{done.place}\nchecked:", **PLAIN)
    for line in done.checked:
        out.print(f"  {line}", **PLAIN)
    for line in done.not_checked:
        out.print(f"not checked: {line}", **PLAIN)
    for line in done.warnings:
        out.print(f"a reader will ask: {line}", **PLAIN)


def say_next(checkout: Path, name: str, place: Path, subject: str) -> None:
    """What is left to do with git, in a few lines."""
    git = "git" if checkout == Path(".") else shlex.join(["git", "-C", str(checkout)])
    out.print(
        f"next:\n  {git} switch --create {shlex.quote(f'row-{name}')}\n"
        f"  {git} add {shlex.quote(place.relative_to(checkout).as_posix())}\n"
        f"  {git} commit --message {shlex.quote(subject)}\n"
        f"  {git} push, and open a pull request: docs/submitting-a-row.md says what happens then",
        **PLAIN,
    )
