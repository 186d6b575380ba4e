"""The command line. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import errno
import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from suite.errors import UserError

if TYPE_CHECKING:
    from suite.run import Machine

app = typer.Typer(
    help="A suite and leaderboard for l2-robust image classifiers: train, certify, compare.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
if not out.is_terminal:
    out = Console(width=160)  # a file or a pipe has no width of its own


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
RUNS = Path("runs")
USAGE_ERROR: Any = typer.BadParameter.__base__  # click's UsageError, wherever typer keeps its click


@app.command()
def run(
    method: Annotated[str, typer.Option(help="see 'suite methods'")],
    dataset: Dataset,
    profile: Annotated[str | None, typer.Option(help="demo, quick or paper [default: what fits the machine]")] = None,
    arch: Annotated[str | None, typer.Option(help="resnet8/20/56/110[-wWIDTH], resnet18/34/50, cnn")] = None,
    sigma: Annotated[float | None, typer.Option(help="noise, pixels in [0,1]")] = None,
    init: Annotated[str | None, typer.Option(help="a checkpoint of your own to start from")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, batches and noise")] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the training images")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate")] = None,
    kappa: Annotated[int | None, typer.Option(help="heat: random projections per image")] = None,
    n0: Annotated[int | None, typer.Option(help="certify: selection draws")] = None,
    n: Annotated[int | None, typer.Option(help="certify: estimation draws")] = None,
    alpha: Annotated[float | None, typer.Option(help="certify: failure probability")] = None,
    images: Annotated[int | None, typer.Option(help="certify: how many test images")] = None,
    protocols: Annotated[str | None, typer.Option(help="comma-separated: accuracy,certify")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="any other setting, e.g. training.momentum=0.8"),
    ] = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="of the protocols; changes the speed only")] = 256,
    track: Track = True,
    format: Output = Format.table,
) -> None:
    """Train a method, certify its model, record the run and print its row."""
    from suite.run import Machine

    options: dict[str, Any] = {
        "profile": profile, "arch": arch, "sigma": sigma, "init": init, "seed": seed, "epochs": epochs, "lr": lr,
        "kappa": kappa, "n0": n0, "n": n, "alpha": alpha, "images": images, "protocols": protocols,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"method": method, "dataset": dataset} | dict(parse_setting(text) for text in settings or ())
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
    show_result(carry_out([given], machine)[0], format)


@app.command()
def certify(
    checkpoint: Annotated[str, typer.Option(help="a state_dict, safetensors or pickle (its code is never run)")],
    arch: Annotated[str, typer.Option(help="resnet8/20/56/110[-wWIDTH], resnet18/34/50, cnn")],
    dataset: Dataset,
    sigma: Annotated[float, typer.Option(help="noise, pixels in [0,1]")],
    mean: Annotated[str | None, typer.Option(help="R,G,B to subtract [default: the data set's]")] = None,
    std: Annotated[str | None, typer.Option(help="R,G,B to divide by [default: the data set's]")] = None,
    deployed: Annotated[str, typer.Option(help="pass or vote: what the row stands for")] = "pass",
    n0: Annotated[int | None, typer.Option(help="selection draws (vote only)")] = None,
    n: Annotated[int | None, typer.Option(help="estimation draws")] = None,
    alpha: Annotated[float | None, typer.Option(help="failure probability")] = None,
    images: Annotated[int | None, typer.Option(help="how many test images")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any other")] = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="changes the speed only")] = 256,
    track: Track = True,
    format: Output = Format.table,
) -> None:
    """Certify somebody else's model, and give it a row on the board."""
    from suite.run import Machine

    options: dict[str, Any] = {
        "n0": n0,
        "n": n,
        "alpha": alpha,
        "images": images,
        "mean": numbers(mean),
        "std": numbers(std),
    }
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"method": "checkpoint", "file": checkpoint, "deployed": deployed}
    given |= {"dataset": dataset, "arch": arch, "sigma": sigma} | dict(parse_setting(text) for text in settings or ())
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
    show_result(carry_out([given], machine)[0], format)


def numbers(text: str | None) -> list[str] | None:
    return text.split(",") if text else None


@app.command()
def demo(runs: Runs = RUNS, track: Track = True, format: Output = Format.table) -> None:
    """Every method on the embedded digits in about a minute, and their leaderboard."""
    from methods import METHODS
    from suite.run import Machine

    machine = Machine(runs=runs, track=track)
    carry_out(
        [
            {"method": name, "dataset": "digits", "profile": "demo"}
            for name in METHODS.paths()
            if METHODS.get(name).trains
        ],
        machine,
    )
    leaderboard("digits", runs=runs, format=format)


def carry_out(given: list[dict[str, Any]], machine: Machine) -> list[dict[str, Any]]:
    """Validate all the runs, then do them; their results."""
    from suite.run import run
    from suite.spec import make_spec

    folders = [run(spec, machine) for spec in [make_spec(**settings) for settings in given]]
    return [json.loads((folder.path / "result.json").read_text()) | {"folder": str(folder.path)} for folder in folders]


def parse_setting(text: str) -> tuple[str, Any]:
    """'kappa=5' → ('kappa', 5); the value is JSON where it can be, 'a,b' a list, else text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set takes KEY=VALUE, not '{text}'")
    try:
        return name, json.loads(f"[{value}]" if "," in value and value[0] not in "[{" else value)
    except ValueError:
        return name, value


def show_result(result: dict[str, Any], format: Format) -> None:
    if format is Format.json:
        print(json.dumps(result))
        return
    from suite.tables import result_table

    out.print(result_table(result))
    out.print(f"records, model and environment: {result['folder']}", highlight=False, soft_wrap=True)
    out.print(f"next: suite leaderboard {result['dataset']} --runs {Path(result['folder']).parent}", highlight=False)


@app.command()
def leaderboard(
    dataset: Annotated[str, typer.Argument(help="digits, cifar10, …")],
    runs: Runs = RUNS,
    paper_convention: Paper = False,
    format: Output = Format.table,
) -> None:
    """Print the board of a data set: all finished runs, those that are comparable in one table, best first."""
    from leaderboards import table
    from suite.tables import leaderboard_tables

    frame = table(dataset, runs, "paper" if paper_convention else "standard")
    if frame.empty and format is Format.table:
        raise UserError(
            f"no finished run on '{dataset}' in {runs}; begin one: suite run --method heat --dataset {dataset}"
        )
    if format is Format.json:
        print(frame.to_json(orient="records", double_precision=15))
        return
    for block in leaderboard_tables(frame, paper_convention):
        out.print(block)


@app.command()
def illustrate(
    out_folder: Annotated[Path, typer.Option("--out", help="where the figures go")] = Path("figures"),
    format: Output = Format.table,
) -> None:
    """Draw the paper's Figures 4 and 5: one-dimensional heat steps beside the exact Gaussian average."""
    from suite.illustrate import illustrate as draw

    files = [str(file) for file in draw(out_folder)]
    if format is Format.json:
        print(json.dumps(files))
    else:
        for file in files:
            out.print(file, highlight=False, soft_wrap=True)


@app.command("app")
def serve(
    runs: Runs = RUNS,
    port: Annotated[int, typer.Option(help="of the page, on this machine only")] = 8501,
) -> None:
    """Open the leaderboard in a browser."""
    from streamlit.web import cli as streamlit

    page = Path(__file__).parents[1] / "app" / "main.py"
    where = ["--server.address", "127.0.0.1", "--server.port", str(port), "--browser.gatherUsageStats", "false"]
    where += ["--client.toolbarMode", "minimal"]
    streamlit.main(["run", str(page), *where, "--", str(runs)], standalone_mode=False)


@app.command()
def methods(format: Output = Format.table) -> None:
    """List the methods and their settings."""
    from methods import METHODS

    found = [
        {
            "name": name,
            "summary": kind.summary,
            "settings": {k: f.default for k, f in kind.Parameters.model_fields.items()},
        }
        for name, kind in ((name, METHODS.get(name)) for name in METHODS.paths())
    ]
    show_list(found, format)


@app.command()
def datasets(data_root: DataRoot = None, format: Output = Format.table) -> None:
    """List the data sets, and where they are looked for."""
    from suite.data import DATASETS

    root = data_root or Path(os.environ.get("SUITE_DATA") or "data")
    found = [{"name": name, "loader": path} for name, path in DATASETS.paths().items()]
    show_list(found, format)
    if format is Format.table:
        out.print(f"looked for under {root}; a folder of your own goes by its path", highlight=False, soft_wrap=True)


def show_list(entries: list[dict[str, Any]], format: Format) -> None:
    if format is Format.json:
        print(json.dumps(entries))
        return
    from suite.tables import plain_table

    out.print(plain_table(entries))


@app.command()
def sync(runs: Runs = RUNS, format: Output = Format.table) -> None:
    """Send finished runs to MLflow that were made without it, or while it was down."""
    from suite.tracking import sync as send
    from suite.tracking import tracking_uri

    there, finished = send(runs)
    if format is Format.json:
        print(json.dumps({"logged": there, "finished": finished, "tracking_uri": tracking_uri(runs)}))
    else:
        out.print(f"{there} of {finished} finished runs are in MLflow at {tracking_uri(runs)}", highlight=False)
    if there < finished:
        raise typer.Exit(1)


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
