"""Commands that make runs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from suite.cli.boards import BoardFormat, leaderboard
from suite.cli.options import (
    HOW_LONG,
    N0,
    PLAIN,
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
    Images,
    Kind,
    N,
    Noise,
    Output,
    Precision,
    Profile,
    Radii,
    Runs,
    Sampling,
    Settings,
    Track,
    Trust,
    datasets,
    methods,
    numbers,
    option,
    out,
    parse_setting,
)
from suite.errors import UserError
from suite.progress import duration

if TYPE_CHECKING:
    from suite.experiments.plan import Plan
    from suite.pipeline import Machine, Make
    from suite.spec.run_spec import RunSpec


def run(
    method: Annotated[str | None, option(panel=WHAT, help="see 'suite methods'", autocompletion=methods)] = None,
    dataset: Annotated[
        str | None, option(panel=WHAT, help="see 'suite datasets', or the path of a folder", autocompletion=datasets)
    ] = None,
    config: Annotated[
        Path | None, option(panel=WHAT, help="settings: a TOML file, or a run's spec.json; options go before them")
    ] = None,
    profile: Profile = None,
    arch: Arch = None,
    sigma: Annotated[
        list[str] | None, option(panel=WHAT, help="noise, pixels in [0,1]; a margin has none; 0.1,0.25: a run for each")
    ] = None,
    seed: Annotated[
        list[str] | None, option(panel=WHAT, help="of weights, batches and noise; 0,1,2: a run for each")
    ] = None,
    init: Annotated[str | None, option(panel=WHAT, help="a checkpoint of your own to start from")] = None,
    kind: Kind = None,
    deployed: Deployed = None,
    kappa: Annotated[int | None, option(panel=WHAT, help="heat: random projections per image")] = None,
    settings: Settings = None,
    epochs: Annotated[float | None, option(panel=HOW_LONG, help="passes over the training images")] = None,
    lr: Annotated[float | None, option(panel=HOW_LONG, help="learning rate")] = None,
    images: Images = None,
    n0: N0 = None,
    n: N = None,
    protocols: Annotated[
        str | None,
        option(panel=PROTOCOL, help="with commas: accuracy,certify,lbound,attack,timing,agreement,audit; or all"),
    ] = None,
    alpha: Alpha = None,
    sampling: Sampling = None,
    radii: Radii = None,
    noise: Noise = None,
    precision: Precision = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    track: Track = True,
    trust: Trust = False,
    dry_run: DryRun = False,
    format: Output = Format.table,
) -> None:
    """Train a method, certify its model, record the run and print its row."""
    from suite.cli.config import lay_over, read_config
    from suite.pipeline import Machine
    from suite.spec.run_spec import RunSpec, refuse_noise

    options: dict[str, Any] = {
        "method": method, "dataset": dataset, "profile": profile, "arch": arch, "init": init, "epochs": epochs,
        "lr": lr, "kappa": kappa, "n0": n0, "n": n, "alpha": alpha, "images": images, "protocols": protocols,
        "sampling": sampling, "radii": radii and radii.split(","), "certify.noise": noise,
        "certify.precision": precision, "certify.kind": kind, "certify.deployed": deployed,
        "sigma": numbers("sigma", sigma, float) or None, "seed": numbers("seed", seed, int) or None,
    }  # fmt: skip
    given = {name: value for name, value in options.items() if value is not None}
    given |= dict(map(parse_setting, settings or ()))
    asked = combinations(lay_over(read_config(config) if config else {}, given))
    for settings_of_one in asked:
        refuse_noise(RunSpec(**settings_of_one), settings_of_one)
    machine = Machine(data_root, runs, device, batch_size, track, trust)
    for result in carry_out(asked, machine, dry_run=format if dry_run else None):
        show_result(result, format)


def combinations(given: dict[str, Any]) -> list[dict[str, Any]]:
    """Settings with several seeds or σ as those of one run each: all σ of a seed before the next seed."""
    several = {name: given.pop(name) for name in ("seed", "sigma") if isinstance(given.get(name), list)}
    if empty := [name for name, values in several.items() if not values]:
        raise UserError(f"{empty[0]} = []: give at least one")
    return [given | dict(zip(several, values, strict=True)) for values in product(*several.values())]


def demo(runs: Runs = RUNS, track: Track = True, format: Output = Format.table) -> None:
    """Every method on the embedded digits in two or three minutes, and their leaderboard."""
    from methods import METHODS
    from suite.pipeline import Machine

    machine = Machine(runs=runs, track=track)
    trained = [name for name, method in METHODS.loadable().items() if method.trains]
    list(carry_out([{"method": name, "dataset": "digits", "profile": "demo"} for name in trained], machine))
    leaderboard("digits", runs=runs, format=BoardFormat(format))


def carry_out(
    given: Sequence[dict[str, Any]],
    machine: Machine,
    *,
    train: bool = True,
    dry_run: Format | None = None,
    make: Make | None = None,
) -> Iterator[dict[str, Any]]:
    """Validate all the runs, then do them; their results as they come. A `dry_run` prints the plan, in a format."""
    from suite.experiments.experiment import carry_out as do_all
    from suite.experiments.plan import make_plan
    from suite.pipeline import run
    from suite.spec.run_spec import RunSpec
    from suite.store.read import check_store

    check_store(machine.runs)
    specs = [RunSpec(**settings) for settings in given]
    if dry_run:
        show_plan(make_plan(specs, machine, train=train), machine, dry_run)
        return
    one = len(specs) == 1
    for path in [run(specs[0], machine, train=train, make=make).path] if one else do_all(specs, machine):
        yield json.loads((path / "result.json").read_text()) | {"folder": str(path)}


def show_plan(plans: Sequence[Plan], machine: Machine, format: Format) -> None:
    """Each run that is to be made: its folder, its settings, its command, and the time of each part of it.

    The folder's name depends on the images: it is not known where they are not there.
    """
    from suite.spec.shell_line import command

    places = {"--runs": machine.runs, "--data-root": machine.data_root}
    where = "".join(f" {shlex.join([name, str(path)])}" for name, path in places.items() if path not in (None, RUNS))
    for plan in plans:
        spec, seconds = plan.spec, plan.seconds
        folder = None if seconds is None else str(machine.runs / spec.name)
        again = command(spec, spec.protocols) + where
        if format is Format.json:
            print(json.dumps({"folder": folder, "command": again, "seconds": seconds, "spec": spec.to_json()}))
            continue
        out.print(folder or f"{spec.method} on {spec.dataset}", **PLAIN)
        for line in describe_spec(spec):
            out.print(f"  {line}", **PLAIN)
        out.print(f"  command: {again}", **PLAIN)
        if seconds is not None:
            named = {name.removeprefix(f"{spec.name} "): duration(time) for name, time in seconds.items()}
            parts = ", ".join(f"{name} {time}" for name, time in named.items())
            out.print(f"  about {duration(sum(seconds.values()))}: {parts or 'all is there'}", **PLAIN)
    if format is Format.table and len(plans) > 1:
        total = duration(sum(sum((plan.seconds or {}).values()) for plan in plans))
        out.print(f"{len(plans)} runs, about {total}", **PLAIN)


def describe_spec(spec: RunSpec) -> Iterator[str]:
    """All settings of a run by section, a line each, but for those of protocols that it does not go through."""
    from suite.effort import needed

    def line(values: dict[str, Any]) -> str:
        return " ".join(f"{k}={json.dumps(v)}" for k, v in values.items() if not isinstance(v, dict))

    content = spec.model_dump(mode="json")
    yield line(content)
    for name, section in content.items():
        if isinstance(section, dict) and name not in spec.sections.keys() - needed(spec):
            yield f"{name}: {line(section)}"
            yield from (f"{name}.{k}: {line(v)}" for k, v in section.items() if isinstance(v, dict))


def show_result(result: dict[str, Any], format: Format) -> None:
    if format is Format.json:
        print(json.dumps(result), flush=True)
        return
    from leaderboards.render.terminal import result_table
    from suite.store.result import Result

    out.print(result_table(Result.from_file(Path(result["folder"]) / "result.json")))
    out.print(f"records, model and environment: {result['folder']}", **PLAIN)
    next_command = ["suite", "leaderboard", result["dataset"], "--runs", str(Path(result["folder"]).parent)]
    out.print(f"next: {shlex.join(next_command)}", **PLAIN)
