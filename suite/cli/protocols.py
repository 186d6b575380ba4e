"""Commands that put a finished run, or somebody's checkpoint, through a protocol."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.options import RUNS, BatchSize, DataRoot, Device, Format, Output, Runs, Settings, Track, parse_setting
from suite.cli.runs import carry_out, show_result
from suite.errors import UserError

if TYPE_CHECKING:
    from suite.pipeline import Machine

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
    from suite.pipeline import reopen

    given = {name: value for name, value in given.items() if value is not None}
    known = about if "run" not in about else reopen(about["run"], machine).model_dump(mode="json")
    results = carry_out([known | given | {"protocols": protocols}], machine, train="run" not in about)
    show_result(results[0], form)


def certify(
    run: RunId = None, checkpoint: Checkpoint = None, arch: Arch = None, dataset: ItsDataset = None,
    sigma: Sigma = None, mean: Mean = None, std: Std = None, deployed: Deployed = "pass",
    n0: Annotated[int | None, typer.Option(help="selection draws (vote only)")] = None,
    n: Annotated[int | None, typer.Option(help="estimation draws; with adaptive sampling at most")] = None,
    alpha: Annotated[float | None, typer.Option(help="failure probability")] = None,
    sampling: Annotated[str | None, typer.Option(help="fixed or adaptive: as many draws as decide the radii")] = None,
    radii: Annotated[str | None, typer.Option(help="adaptive: the radii to decide, as 0.1,0.2 [the board's]")] = None,
    noise: Annotated[str | None, typer.Option(help="gaussian, or discrete: exact for 8-bit images")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16, of the certified classifier")] = None,
    images: Count = None, settings: Settings = None, data_root: DataRoot = None, runs: Runs = RUNS,
    device: Device = "auto", batch_size: BatchSize = 256, track: Track = True, format: Output = Format.table,
) -> None:  # fmt: skip
    """Certify a run's model again, or somebody else's, which then gets a row of its own."""
    from suite.pipeline import Machine

    about = subject(run, checkpoint, arch, dataset, sigma, mean, std, deployed)
    given: dict[str, Any] = {"n0": n0, "n": n, "alpha": alpha, "sampling": sampling}
    given |= {"certify.noise": noise, "certify.precision": precision, "images": images}
    given |= {"radii": radii and radii.split(",")} | dict(map(parse_setting, settings or ()))
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
    examine(about, ["accuracy", "certify"] if checkpoint else ["certify"], given, machine, format)


def protocol_command(name: str) -> Callable[..., None]:
    """The command that puts a finished run, or a checkpoint, through one protocol."""

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
        from suite.pipeline import Machine

        about = subject(run, checkpoint, arch, dataset, sigma, mean, std, deployed)
        own = dict(map(parse_setting, settings or ())) | ({"images": images} if images is not None else {})
        given = {key if "." in key else f"{name}.{key}": value for key, value in own.items()}
        machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
        examine(about, [name], given, machine, format)

    return command
