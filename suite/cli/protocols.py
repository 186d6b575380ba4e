"""Commands that put a finished run, or somebody's checkpoint, through a protocol."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.options import (
    DATASET,
    HOW_LONG,
    N0,
    PROTOCOL,
    RUNS,
    WHAT,
    Alpha,
    Arch,
    BatchSize,
    DataRoot,
    Deployed,
    Device,
    DryRun,
    Format,
    Kind,
    N,
    Noise,
    Output,
    Precision,
    Radii,
    Runs,
    Sampling,
    Settings,
    Track,
    Trust,
    datasets,
    option,
    parse_setting,
    run_ids,
)
from suite.cli.runs import carry_out, show_result
from suite.cli.workers import WORKERS, Crew, with_workers
from suite.errors import UserError
from suite.progress import logger

if TYPE_CHECKING:
    from suite.pipeline import Machine

RunId = Annotated[
    str | None,
    typer.Argument(metavar="[RUN]", help="a run of yours: its id or how that begins", autocompletion=run_ids),
]
Checkpoint = Annotated[
    str | None,
    option(panel=WHAT, help="or a state_dict, safetensors or pickle (its code is never run), with --arch …"),
]
ItsDataset = Annotated[str | None, option("--dataset", panel=WHAT, help=DATASET, autocompletion=datasets)]
Sigma = Annotated[float | None, option(panel=WHAT, help="noise, pixels in [0,1], of the vote to certify")]
Called = Annotated[str | None, option("--name", panel=WHAT, help="what the checkpoint's row is called")]
Mean = Annotated[str | None, option(panel=WHAT, help="R,G,B to subtract (default: the data set's)")]
Std = Annotated[str | None, option(panel=WHAT, help="R,G,B to divide by (default: the data set's)")]
Ranges = Annotated[
    int | None, option(panel=WORKERS, min=1, help="ranges of images that workers share (default: 4 a worker, if any)")
]
Count = Annotated[int | None, option(panel=HOW_LONG, help="how many test images")]


def subject(
    run: str | None, checkpoint: str | None, arch: str | None, dataset: str | None, data_root: Path | None,
    sigma: float | None, called: str | None, mean: str | None, std: str | None, kind: str | None, deployed: str | None,
) -> dict[str, Any]:  # fmt: skip
    """What a protocol's command is about, as settings: a run of the store, or somebody's checkpoint.

    A run that is deployed otherwise than before has the kind of certificate that follows from that; with noise, and
    without another kind, it is certified as a vote. Without `arch` the one that a checkpoint fits is taken, and said.
    """
    if (run is None) == (checkpoint is None):
        raise UserError("name a run, or a --checkpoint with --arch, --dataset and, for a vote, --sigma")
    named = {"certify.kind": kind or (None if sigma is None else "vote"), "certify.deployed": deployed}
    asked = {name: value for name, value in named.items() if value is not None}
    if run is not None:
        anew = {"certify.kind": None} if deployed else {}
        return {"run": run} | anew | asked | ({} if sigma is None else {"sigma": sigma})
    if checkpoint is None or dataset is None:
        raise UserError("a --checkpoint needs --dataset as well")
    chosen = arch or guess(checkpoint, dataset, data_root)
    about = {"mean": mean and mean.split(","), "std": std and std.split(","), "parameters.name": called}
    own = {"method": "checkpoint", "file": checkpoint, "arch": chosen, "dataset": dataset, "sigma": sigma}
    return own | asked | {key: value for key, value in about.items() if value}


def guess(checkpoint: str, dataset: str, data_root: Path | None) -> str:
    """The architecture that a checkpoint fits. Raises UserError where there is none, or more than one."""
    from suite import data as datasets
    from suite.networks.checkpoint_files import fetch
    from suite.networks.guess import fitting

    classes, shape = datasets.facts(dataset) or datasets.load(dataset, data_root).facts
    found = fitting(fetch(checkpoint), classes, shape)
    if not found:
        raise UserError(
            f"{checkpoint} fits none of the architectures here for {classes} classes and images of {shape}: say which "
            "network it is by --arch (timm:NAME, torchvision:NAME, FILE.py:NAME)"
        )
    if len(found) > 1:
        raise UserError(f"{checkpoint} fits {', '.join(found)}: choose one by --arch")
    logger.info(f"{checkpoint} fits {found[0]}")
    return found[0]


def examine(
    about: dict[str, Any], protocols: list[str], given: dict[str, Any], machine: Machine, form: Format, dry_run: bool,
    crew: Crew, shards: int | None,
) -> None:  # fmt: skip
    """Put a run or a checkpoint through protocols, with changed settings where some are given, and print its row."""
    from suite.experiments.parts import Shards
    from suite.spec.run_spec import RunSpec, refuse_noise
    from suite.spec.sections import PROTOCOLS

    many = (["--shards"] if shards else []) + crew.given
    if many and not any(PROTOCOLS.get(name).in_parts for name in protocols):
        raise UserError(f"{protocols[0]} measures one process that is left alone: it takes no {' or '.join(many)}")
    given = about | {name: value for name, value in given.items() if value is not None}
    run = given.pop("run", None)
    known = known_settings(run, given.get("sigma"), machine) if run else {}
    settings = known | given | {"protocols": protocols}
    refuse_noise(RunSpec(**settings), given)
    with crew.at_work(machine.device, asked=bool(shards)) as executor:
        make = Shards(executor, shards, shared=crew.shared_files) if executor else None
        for result in carry_out([settings], machine, train=not run, dry_run=form if dry_run else None, make=make):
            show_result(result, form)


def known_settings(run: str, sigma: float | None, machine: Machine) -> dict[str, Any]:
    """The settings of a run of the store, of which the noise may be another: `sigma`.

    Raises UserError where there is no such run, or where its model was trained for its own σ.
    """
    from methods import METHODS
    from suite.protocols.certify import OF_A_VOTE
    from suite.store.read import find_run, read_spec

    spec = read_spec(find_run(run, machine.runs))
    if sigma not in (None, spec.sigma) and METHODS.get(spec.method).uses_sigma:
        raise UserError(
            f"{spec.name} was trained for sigma = {spec.sigma:g}: 'suite run --sigma {sigma:g}' with its other "
            "settings trains a model for that one"
        )
    known = spec.model_dump(mode="json")
    if spec.certify.kind == "margin":  # which has none of these; a vote gets its profile's
        known["certify"] = {name: value for name, value in known["certify"].items() if name not in OF_A_VOTE}
    return known


@with_workers
def certify(
    run: RunId = None, checkpoint: Checkpoint = None, arch: Arch = None, dataset: ItsDataset = None,
    sigma: Sigma = None, called: Called = None, mean: Mean = None, std: Std = None, kind: Kind = None,
    deployed: Deployed = None,
    n0: N0 = None, n: N = None, alpha: Alpha = None, sampling: Sampling = None, radii: Radii = None,
    noise: Noise = None, precision: Precision = None,
    images: Count = None, settings: Settings = None, data_root: DataRoot = None, runs: Runs = RUNS,
    device: Device = "auto", batch_size: BatchSize = 256, track: Track = True, trust: Trust = False,
    dry_run: DryRun = False, format: Output = Format.table, shards: Ranges = None,
    crew: Crew = Crew(),  # noqa: B008
) -> None:  # fmt: skip
    """Certify a run's model again, or somebody else's, which then gets a row of its own."""
    from suite.pipeline import Machine

    about = subject(run, checkpoint, arch, dataset, data_root, sigma, called, mean, std, kind, deployed)
    given: dict[str, Any] = {"n0": n0, "n": n, "alpha": alpha, "sampling": sampling}
    given |= {"certify.noise": noise, "certify.precision": precision, "images": images}
    given |= {"radii": radii and radii.split(",")} | dict(map(parse_setting, settings or ()))
    machine = Machine(data_root, runs, device, batch_size, track, trust)
    examine(
        about, ["accuracy", "certify"] if checkpoint else ["certify"], given, machine, format, dry_run, crew, shards
    )


def protocol_command(name: str) -> Callable[..., None]:
    """The command that puts a finished run, or a checkpoint, through one protocol."""

    @with_workers
    def command(
        run: RunId = None, checkpoint: Checkpoint = None, arch: Arch = None, dataset: ItsDataset = None,
        sigma: Sigma = None, called: Called = None, mean: Mean = None, std: Std = None, kind: Kind = None,
        deployed: Deployed = None, images: Count = None,
        settings: Annotated[
            list[str] | None,
            option("--set", panel=PROTOCOL, metavar="KEY=VALUE", help="a setting, the protocol's unless dotted")
        ] = None,
        data_root: DataRoot = None, runs: Runs = RUNS, device: Device = "auto", batch_size: BatchSize = 256,
        track: Track = True, trust: Trust = False, dry_run: DryRun = False, format: Output = Format.table,
        shards: Ranges = None, crew: Crew = Crew(),  # noqa: B008
    ) -> None:  # fmt: skip
        from suite.pipeline import Machine

        about = subject(run, checkpoint, arch, dataset, data_root, sigma, called, mean, std, kind, deployed)
        own = dict(map(parse_setting, settings or ())) | ({"images": images} if images is not None else {})
        given = {key if "." in key else f"{name}.{key}": value for key, value in own.items()}
        machine = Machine(data_root, runs, device, batch_size, track, trust)
        examine(about, [name], given, machine, format, dry_run, crew, shards)

    return command
