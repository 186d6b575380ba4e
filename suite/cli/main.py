"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import errno
import sys
from collections.abc import Collection
from typing import Annotated, Any

import typer

import suite
from suite.cli import about, boards, experiment, protocols, runs, store, tune
from suite.errors import UserError
from suite.spec.sections import PROTOCOLS


def add_protocols(names: Collection[str]) -> None:
    """A command for each of the protocols, in the order of the registry; a name that a command has is left to it."""
    taken = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    taken |= {group.name for group in app.registered_groups} | {"accuracy"}
    for name in PROTOCOLS.paths():
        if name in names and name not in taken:
            app.command(name, help=PROTOCOLS.summary(name))(protocols.protocol_command(name))


app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(runs.run)
app.command()(protocols.certify)
add_protocols(PROTOCOLS.builtin.keys() - {"accuracy", "certify"})  # a part of every run; a command with its own options
app.command()(tune.tune)
app.add_typer(tune.studies, name="studies")
app.command()(runs.demo)
app.command()(experiment.experiment)
app.command(hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(experiment.study)
app.command()(boards.leaderboard)
app.command()(boards.report)
app.command("import")(boards.import_published)
app.command()(boards.publish)
app.command("app")(boards.serve)
app.command("runs")(store.list_runs)
app.command()(store.show)
app.command()(store.rm)
app.command()(store.clean)
app.command()(about.methods)
app.command()(about.architectures)
app.command("protocols")(about.protocols)
app.command()(about.datasets)
app.command()(about.illustrate)
app.command()(about.sync)
add_protocols(PROTOCOLS.paths())


def print_version(asked: bool) -> None:
    if asked:
        print(f"suite {suite.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=print_version)
    ] = False,
) -> None:
    """A suite and leaderboard for l2-robust image classifiers: train, certify, compare."""


USAGE_ERROR: Any = typer.BadParameter.__base__  # click's UsageError, wherever typer keeps its click


def main() -> None:
    """The console script: mistakes of the user end in one line and exit code 2, Ctrl-C in 130."""
    try:
        code = app(sys.argv[1:] or ["--help"], standalone_mode=False)
        if code == 130:  # Ctrl-C, as typer tells it
            raise KeyboardInterrupt
        sys.exit(code)
    except UserError as error:
        fail(str(error))
    except USAGE_ERROR as error:
        fail(f"{error.format_message()} (see 'suite --help')".replace("\n", " "))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        fail(
            f"the disk is full ({error.filename or 'writing to the runs folder'}): free some space and run the same "
            "command again; finished records are kept"
        )


def fail(message: str) -> None:
    print(f"suite: {message}", file=sys.stderr)
    sys.exit(2)
