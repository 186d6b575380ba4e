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
BoardRoot = Annotated[Path | None, typer.Option(help="where published rows are kept [default: in the package]")]
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
    sampling: Annotated[str | None, typer.Option(help="certify: fixed, or adaptive with at most n draws")] = None,
    radii: Annotated[str | None, typer.Option(help="certify, adaptive: the radii to decide [the board's]")] = None,
    precision: Annotated[str | None, typer.Option(help="certify: fp32 or bf16")] = None,
    protocols: Annotated[
        str | None, typer.Option(help="comma-separated: accuracy,certify,lbound,attack,timing,agreement,audit; or all")
    ] = None,
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
        "sampling": sampling, "radii": radii and radii.split(","), "certify.precision": precision,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"method": method, "dataset": dataset} | dict(parse_setting(text) for text in settings or ())
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
    show_result(carry_out([given], machine)[0], format)


RunId = Annotated[str | None, typer.Argument(metavar="[RUN]", help="a run of yours: its id or how that begins")]
Checkpoint = Annotated[
    str | None, typer.Option(help="or a state_dict, safetensors or pickle (its code is never run), with --arch …")
]
Arch = Annotated[str | None, typer.Option(help="resnet8/20/56/110[-wWIDTH], resnet18/34/50, cnn")]
ItsDataset = Annotated[str | None, typer.Option("--dataset", help="digits, cifar10, …, or a folder's path")]
Sigma = Annotated[float | None, typer.Option(help="noise, pixels in [0,1]")]
Mean = Annotated[str | None, typer.Option(help="R,G,B to subtract [default: the data set's]")]
Std = Annotated[str | None, typer.Option(help="R,G,B to divide by [default: the data set's]")]
Deployed = Annotated[str, typer.Option(help="pass or vote: what the checkpoint's row stands for")]
Count = Annotated[int | None, typer.Option(help="how many test images")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="any other setting")]
BatchSize = Annotated[int, typer.Option(min=1, help="changes the speed only")]


def subject(
    run: str | None, checkpoint: str | None, arch: str | None, dataset: str | None, sigma: float | None,
    mean: str | None, std: str | None, deployed: str,
) -> dict[str, Any]:  # fmt: skip
    """What a protocol's command is about, as settings: a run of the store, or somebody's checkpoint."""
    if (run is None) == (checkpoint is None):
        raise UserError("name a run, or a --checkpoint with --arch, --dataset and --sigma")
    if run is not None:
        return {"run": run}
    missing = [f"--{name}" for name, value in (("arch", arch), ("dataset", dataset), ("sigma", sigma)) if value is None]
    if missing:
        raise UserError(f"a --checkpoint needs {' and '.join(missing)} as well")
    constants = {"mean": mean and mean.split(","), "std": std and std.split(",")}
    own = {"method": "checkpoint", "file": checkpoint, "deployed": deployed}
    return own | {"arch": arch, "dataset": dataset, "sigma": sigma} | {k: v for k, v in constants.items() if v}


def examine(about: dict[str, Any], protocols: list[str], given: dict[str, Any], machine: Machine, form: Format) -> None:
    """Put a run or a checkpoint through protocols, with changed settings where some are given, and print its row."""
    from suite.run import reopen

    given = {name: value for name, value in given.items() if value is not None}
    known = about if "run" not in about else reopen(about["run"], machine).model_dump(mode="json")
    results = carry_out([known | given | {"protocols": protocols}], machine, train="run" not in about)
    show_result(results[0], form)


@app.command()
def certify(
    run: RunId = None, checkpoint: Checkpoint = None, arch: Arch = None, dataset: ItsDataset = None,
    sigma: Sigma = None, mean: Mean = None, std: Std = None, deployed: Deployed = "pass",
    n0: Annotated[int | None, typer.Option(help="selection draws (vote only)")] = None,
    n: Annotated[int | None, typer.Option(help="estimation draws; with adaptive sampling at most")] = None,
    alpha: Annotated[float | None, typer.Option(help="failure probability")] = None,
    sampling: Annotated[str | None, typer.Option(help="fixed or adaptive: as many draws as decide the radii")] = None,
    radii: Annotated[str | None, typer.Option(help="adaptive: the radii to decide, as 0.1,0.2 [the board's]")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16, of the certified classifier")] = None,
    images: Count = None, settings: Settings = None, data_root: DataRoot = None, runs: Runs = RUNS,
    device: Device = "auto", batch_size: BatchSize = 256, track: Track = True, format: Output = Format.table,
) -> None:  # fmt: skip
    """Certify a run's model again, or somebody else's, which then gets a row of its own."""
    from suite.run import Machine

    about = subject(run, checkpoint, arch, dataset, sigma, mean, std, deployed)
    given: dict[str, Any] = {"n0": n0, "n": n, "alpha": alpha, "sampling": sampling}
    given |= {"certify.precision": precision, "images": images, "radii": radii and radii.split(",")} | dict(
        map(parse_setting, settings or ())
    )
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
    examine(about, ["accuracy", "certify"] if checkpoint else ["certify"], given, machine, format)


def protocol_command(name: str, help: str) -> None:
    """A command that puts a finished run, or a checkpoint, through one protocol."""

    def command(
        run: RunId = None, checkpoint: Checkpoint = None, arch: Arch = None, dataset: ItsDataset = None,
        sigma: Sigma = None, mean: Mean = None, std: Std = None, deployed: Deployed = "pass",
        images: Count = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a setting, the protocol's unless dotted")
        ] = None,
        data_root: DataRoot = None, runs: Runs = RUNS, device: Device = "auto", batch_size: BatchSize = 256,
        track: Track = True, format: Output = Format.table,
    ) -> None:  # fmt: skip
        from suite.run import Machine

        about = subject(run, checkpoint, arch, dataset, sigma, mean, std, deployed)
        own = dict(map(parse_setting, settings or ())) | ({"images": images} if images is not None else {})
        given = {key if "." in key else f"{name}.{key}": value for key, value in own.items()}
        machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
        examine(about, [name], given, machine, format)

    app.command(name, help=help)(command)


protocol_command("lbound", "Bound a run's single pass by Theorem 3, and measure how far it is from a Gaussian average.")
protocol_command("attack", "Find adversarial examples of what a run deploys, by PGD and DDN, and their distances.")
protocol_command("timing", "Time what a run deploys: one pass against a vote, and a certificate.")
protocol_command("agreement", "Count how often a run's single pass answers as a vote does.")
protocol_command("audit", "Attack every certificate of a run inside its own radius.")


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


def carry_out(given: list[dict[str, Any]], machine: Machine, *, train: bool = True) -> list[dict[str, Any]]:
    """Validate all the runs, then do them; their results."""
    from suite.run import run
    from suite.spec import make_spec

    folders = [run(spec, machine, train=train) for spec in [make_spec(**settings) for settings in given]]
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


@app.command("import")
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
