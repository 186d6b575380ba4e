"""What several commands share: their options, how a setting is read, and where output goes."""

from __future__ import annotations

import inspect
import json
import logging
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from suite.errors import UserError
from suite.progress import logger, verbosity

Number = TypeVar("Number", int, float)
out = Console()
if not out.is_terminal:
    out = Console(width=200)  # a file or a pipe has no width of its own
PLAIN: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False, "soft_wrap": True}


class Format(StrEnum):
    table = "table"
    json = "json"


# The panels of a command's help.
WHAT, HOW_LONG, PROTOCOL, MACHINE = "What", "How long", "Protocols", "Machine and output"


def methods() -> list[str]:
    from methods import METHODS

    return list(METHODS.paths())


def datasets() -> list[str]:
    from suite.data import DATASETS

    return list(DATASETS.paths())


def architectures() -> list[str]:
    from suite.networks.architectures import ARCHITECTURES

    return [name for name in ARCHITECTURES.paths() if "{" not in name]


def run_ids(context: typer.Context) -> list[str]:
    from suite.store.read import run_folders

    return list(run_folders(Path(context.params.get("runs") or RUNS)))


def option(*names: str, panel: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, **more)


DATASET = "digits, cifar10, …, see 'suite datasets', or the path of a folder"
ARCH = "see 'suite architectures'; timm:NAME, FILE.py:NAME, …; -wN sets the width"
Dataset = Annotated[str, option(panel=WHAT, help=DATASET, autocompletion=datasets)]
Profile = Annotated[str | None, option(panel=WHAT, help="demo, quick or paper (default: what fits the machine)")]
Arch = Annotated[str | None, option(panel=WHAT, help=ARCH, autocompletion=architectures)]
Kind = Annotated[
    str | None,
    option(panel=WHAT, help="of certificate, vote or margin (default: margin for a pass of a Lipschitz network)"),
]
Deployed = Annotated[
    str | None, option(panel=WHAT, help="pass or vote: what the row stands for (default: the method's own)")
]
Settings = Annotated[
    list[str] | None, option("--set", panel=WHAT, metavar="KEY=VALUE", help="any other setting; see 'suite methods'")
]
N0 = Annotated[int | None, option(panel=HOW_LONG, help="certify a vote: selection draws")]
N = Annotated[int | None, option(panel=HOW_LONG, help="certify a vote: estimation draws; adaptive: at most")]
Images = Annotated[int | None, option(panel=HOW_LONG, help="how many test images to certify")]
Alpha = Annotated[float | None, option(panel=PROTOCOL, help="certify a vote: failure probability")]
Sampling = Annotated[
    str | None, option(panel=PROTOCOL, help="certify: fixed, or adaptive: as many draws as decide the radii")
]
Radii = Annotated[
    str | None, option(panel=PROTOCOL, help="certify, adaptive: radii to decide, as 0.1,0.2 (default: the board's)")
]
Noise = Annotated[str | None, option(panel=PROTOCOL, help="certify: gaussian, or discrete: exact for 8-bit images")]
Precision = Annotated[str | None, option(panel=PROTOCOL, help="certify: fp32 or bf16, of the classifier")]
DataRoot = Annotated[Path | None, option(panel=MACHINE, help="where data sets lie (default: $SUITE_DATA or ./data)")]
Runs = Annotated[Path, option(panel=MACHINE, help="where runs are kept")]
Device = Annotated[str, option(panel=MACHINE, help="cpu, cuda, or auto")]
BatchSize = Annotated[int, option(panel=MACHINE, min=1, max=100_000, help="images in a pass; changes the speed only")]
Track = Annotated[
    bool, option(panel=MACHINE, help="log to MLflow ($MLFLOW_TRACKING_URI, or an SQLite file in the runs)")
]
Trust = Annotated[bool, option("--trust", panel=MACHINE, help="run the code that a hub:… architecture fetches")]
DryRun = Annotated[
    bool, option("--dry-run", panel=MACHINE, help="say what is to be done, with all settings and the time; do nothing")
]
Output = Annotated[Format, option("--format", panel=MACHINE, help="how to print results")]
Paper = Annotated[bool, typer.Option(help="certified accuracy as in the paper: abstentions dropped, R > r")]
BoardRoot = Annotated[
    Path | None,
    typer.Option(help="boards and rows beside those of the suite and of $SUITE_BOARDS, else ./boards"),
]
OwnRoot = Annotated[
    Path | None, typer.Option("--board-root", help="where it goes (default: $SUITE_BOARDS, else ./boards)")
]
RUNS = Path("runs")


def with_verbosity(command: Callable[..., None]) -> Callable[..., None]:
    """A command of long work with three more options: how much it says on standard error, and in a log file."""
    more = {
        "quiet": Annotated[bool, option("--quiet", "-q", panel=MACHINE, help="say what warns, and nothing else")],
        "verbose": Annotated[bool, option("--verbose", "-v", panel=MACHINE, help="say more of each step")],
        "log_file": Annotated[Path | None, option(panel=MACHINE, help="a file that all of this is added to")],
    }

    @wraps(command)
    def verbose_command(
        *, quiet: bool = False, verbose: bool = False, log_file: Path | None = None, **given: Any
    ) -> None:
        if quiet and verbose:
            raise UserError("--quiet and --verbose contradict each other")
        with verbosity(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO, log_file):
            logger.debug(f"command: {shlex.join(map(str, ['suite', *sys.argv[1:]]))}")
            command(**given)

    defaults = {name: (kind, None if name == "log_file" else False) for name, kind in more.items()}
    add_options(verbose_command, command, defaults)
    return verbose_command


def add_options(
    wrapper: Callable[..., None],
    command: Callable[..., None],
    more: Mapping[str, tuple[Any, Any]],
    instead_of: str = "",
) -> None:
    """Let a function that wraps a command have its options, but for one, and more: by name their types and defaults."""
    signature = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    given = [each.replace(kind=keyword) for each in signature.parameters.values() if each.name != instead_of]
    given += [
        inspect.Parameter(name, keyword, annotation=kind, default=default) for name, (kind, default) in more.items()
    ]
    wrapper.__signature__ = signature.replace(parameters=given)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in given}


def parse_setting(text: str) -> tuple[str, Any]:
    """'kappa=5' → ('kappa', 5); the value is JSON where it can be, 'a,b' a list, else text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set takes KEY=VALUE, not '{text}'")
    for text in (value, f"[{value}]" if "," in value else ""):
        with suppress(ValueError, RecursionError):
            return name, json.loads(text)
    return name, value


def numbers(option: str, given: Sequence[str] | None, kind: type[Number]) -> list[Number]:
    """['0,1', '2'] → [0, 1, 2]: an option that may be given several times, each time with several numbers.

    Raises UserError for what is none.
    """
    words = [word.strip() for text in given or () for word in text.split(",")]
    try:
        return list(dict.fromkeys(kind(word) for word in words))
    except ValueError:
        whole = "whole numbers" if kind is int else "numbers"
        raise UserError(f"--{option} takes {whole}, several with commas, not '{','.join(given or ())}'") from None


def show_list(entries: list[dict[str, Any]], format: Format) -> None:
    if format is Format.json:
        print(json.dumps(entries))
        return
    from leaderboards.render.terminal import plain_table

    out.print(plain_table(entries))
