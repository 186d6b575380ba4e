"""The command that carries out an experiment."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.options import (
    DATASET,
    PLAIN,
    RUNS,
    WHAT,
    BatchSize,
    DataRoot,
    Device,
    DryRun,
    Format,
    Output,
    Profile,
    Runs,
    Settings,
    Track,
    Trust,
    datasets,
    methods,
    numbers,
    option,
    out,
    parse_setting,
    show_list,
)
from suite.cli.workers import Crew, with_workers
from suite.errors import UserError, require
from suite.progress import duration, logger

if TYPE_CHECKING:
    from suite.experiments.plan import Plan


@with_workers
def experiment(
    name: Annotated[str, typer.Argument(help="paper, strong, authors-cifar10, authors-imagenet, or a TOML file")],
    dataset: Annotated[
        str | None, option(panel=WHAT, help=f"{DATASET} (default: the experiment's own)", autocompletion=datasets)
    ] = None,
    profile: Profile = None,
    method: Annotated[
        list[str] | None, option(panel=WHAT, help="only this of its methods; repeatable", autocompletion=methods)
    ] = None,
    sigma: Annotated[list[str] | None, option(panel=WHAT, help="0.1,0.25: instead of its σ, pixels in [0,1]")] = None,
    seed: Annotated[list[str] | None, option(panel=WHAT, help="0,1,2: instead of its seeds")] = None,
    settings: Settings = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    track: Track = True,
    trust: Trust = False,
    dry_run: DryRun = False,
    format: Output = Format.table,
    crew: Crew = Crew(),  # noqa: B008
) -> None:
    """Carry out a grid of runs, methods × σ × seeds; run it again to go on where it stopped."""
    from suite.experiments.by_workers import carry_out_by
    from suite.experiments.experiment import carry_out, load_experiment, runs_of
    from suite.experiments.plan import make_plan
    from suite.pipeline import Machine

    asked = load_experiment(name).select(method or (), numbers("sigma", sigma, float), numbers("seed", seed, int))
    given: dict[str, Any] = dict(map(parse_setting, settings or ())) | ({"profile": profile} if profile else {})
    specs = runs_of(asked, dataset, **given)
    dataset = specs[0].dataset
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track, trust=trust)
    with crew.at_work(device) as executor:
        if dry_run:
            show_grid(make_plan(specs, machine), format)
            return
        made = (
            carry_out_by(executor, specs, machine, shared=crew.shared_files) if executor else carry_out(specs, machine)
        )
        folders, failure = list[str](), None
        try:
            for folder in made:
                folders.append(str(folder))
        except UserError as error:  # of some of the runs: the others are made by now
            if not folders:
                raise
            failure = error
    written = write_report(Path(name).stem, dataset, runs, [Path(folder).name for folder in folders])
    if format is Format.json:
        print(json.dumps(folders))
    else:
        next_command = shlex.join(["suite", "leaderboard", dataset, "--runs", str(runs)])
        out.print(f"{len(folders)} runs; next: {next_command}", **PLAIN)
        if written:
            out.print(f"report: {' and '.join(map(str, written))}", **PLAIN)
    if failure:
        raise failure


def show_grid(plans: Sequence[Plan], format: Format) -> None:
    """The runs of an experiment, and the time of what is left of each."""
    from leaderboards.variants import variants
    from suite.spec.shell_line import command

    planned: list[Any] = [
        SimpleNamespace(
            run_id=str(number), method=spec.method, arch=spec.arch, data="", kind=spec.certify.kind, sigma=spec.sigma,
            command=command(spec, spec.protocols),
        )
        for number, spec in enumerate(plan.spec for plan in plans)
    ]  # fmt: skip
    apart = variants(planned)
    times = [None if plan.seconds is None else sum(plan.seconds.values()) for plan in plans]
    entries = [
        {"method": plan.spec.method, "variant": apart[str(number)], "arch": plan.spec.arch, "sigma": plan.spec.sigma}
        | {"seed": plan.spec.seed, "seconds": time if time is None or format is Format.json else duration(time)}
        for number, (plan, time) in enumerate(zip(plans, times, strict=True))
    ]
    show_list(entries, format)
    if format is Format.table and None not in times:
        out.print(f"{len(plans)} runs, about {duration(sum(filter(None, times)))}", **PLAIN)


def write_report(name: str, dataset: str, runs: Path, finished: list[str]) -> list[Path]:
    """Write the report on an experiment's finished runs beside them; the files, none where no two can be compared."""
    try:
        require("the report", "app", "plotly")
    except UserError as error:
        logger.warning(f"no report was written: {error}")
        return []
    from leaderboards.paper.report import report
    from leaderboards.render.document import to_html, to_markdown
    from suite.store.files import write_atomically

    try:
        sections = report(runs, Path(dataset).name, only=finished)
    except UserError as error:
        logger.info(f"no report was written: {error}")
        return []
    files = {"md": to_markdown(sections), "html": to_html(sections)}
    places = {runs / f"report-{name}-{Path(dataset).name}.{ending}": text for ending, text in files.items()}
    for place, text in places.items():
        write_atomically(place, text.encode())
    return list(places)


def study(context: typer.Context) -> None:
    """What became of a command of earlier versions."""
    words = shlex.join(["suite", "experiment", *context.args])
    raise UserError(f"'suite study' is now: {words} (a study is a search for settings: suite tune, suite studies)")
