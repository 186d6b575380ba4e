"""What several commands share: their options, how a setting is read, and where output goes."""

from __future__ import annotations

import json
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from suite.errors import UserError

out = Console()
if not out.is_terminal:
    out = Console(width=200)  # a file or a pipe has no width of its own


class Format(StrEnum):
    table = "table"
    json = "json"


Dataset = Annotated[str, typer.Option(help="digits, cifar10, cifar100, imagenet, or the path of a folder")]
DataRoot = Annotated[Path | None, typer.Option(help="where data sets lie [default: $SUITE_DATA or ./data]")]
Runs = Annotated[Path, typer.Option(help="where runs are kept")]
Device = Annotated[str, typer.Option(help="cpu, cuda, or auto")]
Output = Annotated[Format, typer.Option("--format", help="how to print results")]
Track = Annotated[bool, typer.Option(help="log to MLflow ($MLFLOW_TRACKING_URI, or an SQLite file in the runs)")]
Paper = Annotated[bool, typer.Option(help="certified accuracy as in the paper: abstentions dropped, R > r")]
BoardRoot = Annotated[Path | None, typer.Option(help="where published rows are kept [default: in the package]")]
Profile = Annotated[str | None, typer.Option(help="demo, quick or paper [default: what fits the machine]")]
Kind = Annotated[
    str | None, typer.Option(help="of certificate, vote or margin [default: margin for a pass of a Lipschitz network]")
]
Deployed = Annotated[str | None, typer.Option(help="pass or vote: what the row stands for [default: the method's own]")]
Trust = Annotated[bool, typer.Option("--trust", help="run the code that a hub:… architecture fetches")]
ARCH = "see 'suite architectures'; timm:NAME, FILE.py:NAME, …; -wN sets the width"
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any other setting")]
BatchSize = Annotated[int, typer.Option(min=1, max=100_000, help="images in a pass; changes the speed only")]
RUNS = Path("runs")


def parse_setting(text: str) -> tuple[str, Any]:
    """'kappa=5' → ('kappa', 5); the value is JSON where it can be, 'a,b' a list, else text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set takes KEY=VALUE, not '{text}'")
    for text in (value, f"[{value}]" if "," in value else ""):
        with suppress(ValueError):
            return name, json.loads(text)
    return name, value


def show_list(entries: list[dict[str, Any]], format: Format) -> None:
    if format is Format.json:
        print(json.dumps(entries))
        return
    from leaderboards.render.terminal import plain_table

    out.print(plain_table(entries))
