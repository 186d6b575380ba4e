"""Commands that make runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.boards import BoardFormat, leaderboard
from suite.cli.options import (
    ARCH,
    RUNS,
    BatchSize,
    DataRoot,
    Dataset,
    Deployed,
    Device,
    Format,
    Kind,
    Output,
    Profile,
    Runs,
    Settings,
    Track,
    Trust,
    out,
    parse_setting,
)

if TYPE_CHECKING:
    from suite.pipeline import Machine


def run(
    method: Annotated[str, typer.Option(help="see 'suite methods'")],
    dataset: Dataset,
    profile: Profile = None,
    arch: Annotated[str | None, typer.Option(help=ARCH)] = None,
    sigma: Annotated[float | None, typer.Option(help="noise, pixels in [0,1]; a margin has none")] = None,
    init: Annotated[str | None, typer.Option(help="a checkpoint of your own to start from")] = None,
    seed: Annotated[int | None, typer.Option(help="of weights, batches and noise")] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the training images")] = None,
    lr: Annotated[float | None, typer.Option(help="learning rate")] = None,
    kappa: Annotated[int | None, typer.Option(help="heat: random projections per image")] = None,
    kind: Kind = None,
    deployed: Deployed = None,
    n0: Annotated[int | None, typer.Option(help="certify: selection draws")] = None,
    n: Annotated[int | None, typer.Option(help="certify: estimation draws")] = None,
    alpha: Annotated[float | None, typer.Option(help="certify: failure probability")] = None,
    images: Annotated[int | None, typer.Option(help="certify: how many test images")] = None,
    sampling: Annotated[str | None, typer.Option(help="certify: fixed, or adaptive with at most n draws")] = None,
    radii: Annotated[str | None, typer.Option(help="certify, adaptive: the radii to decide [the board's]")] = None,
    noise: Annotated[str | None, typer.Option(help="certify: gaussian, or discrete: exact for 8-bit images")] = None,
    precision: Annotated[str | None, typer.Option(help="certify: fp32 or bf16")] = None,
    protocols: Annotated[
        str | None, typer.Option(help="comma-separated: accuracy,certify,lbound,attack,timing,agreement,audit; or all")
    ] = None,
    settings: Settings = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    track: Track = True,
    trust: Trust = False,
    format: Output = Format.table,
) -> None:
    """Train a method, certify its model, record the run and print its row."""
    from suite.pipeline import Machine
    from suite.spec.run_spec import RunSpec, refuse_noise

    options: dict[str, Any] = {
        "profile": profile, "arch": arch, "sigma": sigma, "init": init, "seed": seed, "epochs": epochs, "lr": lr,
        "kappa": kappa, "n0": n0, "n": n, "alpha": alpha, "images": images, "protocols": protocols,
        "sampling": sampling, "radii": radii and radii.split(","), "certify.noise": noise,
        "certify.precision": precision, "certify.kind": kind, "certify.deployed": deployed,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    given |= {"method": method, "dataset": dataset} | dict(parse_setting(text) for text in settings or ())
    machine = Machine(data_root, runs, device, batch_size, track, trust)
    refuse_noise(RunSpec(**given), given)
    show_result(carry_out([given], machine)[0], format)


def demo(runs: Runs = RUNS, track: Track = True, format: Output = Format.table) -> None:
    """Every method on the embedded digits in two or three minutes, and their leaderboard."""
    from methods import METHODS
    from suite.pipeline import Machine

    machine = Machine(runs=runs, track=track)
    trained = [name for name, method in METHODS.loadable().items() if method.trains]
    carry_out([{"method": name, "dataset": "digits", "profile": "demo"} for name in trained], machine)
    leaderboard("digits", runs=runs, format=BoardFormat(format))


def carry_out(given: list[dict[str, Any]], machine: Machine, *, train: bool = True) -> list[dict[str, Any]]:
    """Validate all the runs, then do them; their results."""
    from suite.pipeline import run
    from suite.spec.run_spec import RunSpec

    folders = [run(spec, machine, train=train) for spec in [RunSpec(**settings) for settings in given]]
    return [json.loads((folder.path / "result.json").read_text()) | {"folder": str(folder.path)} for folder in folders]


def show_result(result: dict[str, Any], format: Format) -> None:
    if format is Format.json:
        print(json.dumps(result))
        return
    from leaderboards.render.terminal import result_table
    from suite.store.result import Result

    out.print(result_table(Result.from_file(Path(result["folder"]) / "result.json")))
    out.print(f"records, model and environment: {result['folder']}", highlight=False, soft_wrap=True)
    out.print(f"next: suite leaderboard {result['dataset']} --runs {Path(result['folder']).parent}", highlight=False)
