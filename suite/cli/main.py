"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection
from typing import Annotated, Any, NoReturn

import typer

import suite
from suite.cli import about, boards, check, compare, experiment, protocols, runs, serve, site, store, submit, tune
from suite.cli.options import with_verbosity
from suite.cli.terminal import print_anywhere
from suite.errors import UserError, comes_of_interrupt
from suite.progress import visible
from suite.spec.sections import PROTOCOLS


def add_protocols(names: Collection[str]) -> None:
    """A command for each of the protocols, in the order of the registry; a name that a command has is left to it."""
    taken = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    taken |= {group.name for group in app.registered_groups} | {"accuracy"}
    for name in PROTOCOLS.paths():
        if name in names and name not in taken:
            add(with_verbosity(protocols.protocol_command(name)), EXAMINE, name, help=PROTOCOLS.summary(name))


def add(command: Callable[..., None], panel: str, name: str | None = None, **more: Any) -> None:
    app.command(name, rich_help_panel=panel, **more)(command)


RUN, EXAMINE, SHOW, KEEP, LIST = (
    "Make runs", "Put a run or a checkpoint through a protocol", "Boards and reports", "Keep house", "What there is"
)  # fmt: skip
app = typer.Typer(pretty_exceptions_enable=False)
add(with_verbosity(runs.run), RUN)
add(with_verbosity(runs.demo), RUN)
add(with_verbosity(experiment.experiment), RUN)
add(with_verbosity(tune.tune), RUN)
app.add_typer(tune.studies, name="studies", rich_help_panel=RUN)
add(with_verbosity(protocols.certify), EXAMINE)
add_protocols(PROTOCOLS.builtin.keys() - {"accuracy", "certify"})  # a part of every run; a command with its own options
app.command(hidden=True, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(experiment.study)
add(boards.leaderboard, SHOW)
add(serve.serve, SHOW, "app")
add(compare.compare, SHOW)
add(boards.report, SHOW)
add(boards.import_published, SHOW, "import")
app.add_typer(boards.published, name="published", rich_help_panel=SHOW)
add(boards.publish, SHOW)
add(submit.submit, SHOW, context_settings={"ignore_unknown_options": True})  # those of import
app.add_typer(site.site, name="site", rich_help_panel=SHOW)
add(about.illustrate, SHOW)
add(store.list_runs, KEEP, "runs")
add(store.show, KEEP)
add(store.rm, KEEP)
add(store.clean, KEEP)
add(check.verify, KEEP)
add(check.doctor, KEEP)
add(about.sync, KEEP)
add(about.methods, LIST)
add(about.protocols, LIST, "protocols")
add(about.architectures, LIST)
add(about.datasets, LIST)
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
    print_anywhere()
    sys.unraisablehook = interrupt_again
    carry_out = in_a_team if "TORCHELASTIC_RUN_ID" in os.environ else app
    try:
        code = carry_out(sys.argv[1:] or ["--help"], prog_name="suite", standalone_mode=False)
        if code == 130:  # Ctrl-C, as typer tells it
            raise KeyboardInterrupt
        sys.exit(code)
    except USAGE_ERROR as error:
        fail(f"{error.format_message()} (see 'suite --help')".replace("\n", " "))
    except (KeyboardInterrupt, UserError, OSError) as error:
        if comes_of_interrupt(error):
            print("interrupted; the same command goes on from here", file=sys.stderr)
            sys.exit(130)
        if isinstance(error, KeyboardInterrupt | UserError):
            fail(str(error))
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = error.filename or "writing to the runs folder"
            fail(
                f"the disk is full ({where}): free some space and run the same command again; finished records are kept"
            )
        fail(f"{error.filename or 'a file'}: {error.strerror or error}")


def in_a_team(words: list[str], **options: Any) -> Any:
    """A command under torchrun: the first process carries it out, the others take part in its training.

    Raises UserError for commands that train nothing, or that begin processes of their own.
    """
    from suite.followers import dismiss, follow
    from suite.team import TEAM

    if words[0] not in ("run", "experiment"):
        raise UserError(f"'suite {words[0]}' is not for torchrun, which is for the training of 'run' and 'experiment'")
    if own := [word for word in words if word.startswith(("--executor", "--workers", "--devices", "--address"))]:
        raise UserError(f"{own[0]} begins processes of its own: leave it out, or torchrun")
    TEAM.join()
    code = follow() if TEAM.rank else app(words, **options)
    if code != 130:  # after Ctrl-C, or an error, torchrun ends the others
        dismiss()
    return code


def interrupt_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Of what a destructor or a callback of a collected object raised, Python says a traceback and goes on.

    Ctrl-C at such a moment must not be lost, so it comes once more, when this has returned.
    """
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # a signal, which also ends what the main thread waits for
        again = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(unraisable)


def fail(message: str) -> NoReturn:
    print(f"suite: {visible(message)}", file=sys.stderr)
    sys.exit(2)
