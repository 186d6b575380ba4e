"""The command that carries out an experiment."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.options import (
    RUNS,
    BatchSize,
    DataRoot,
    Device,
    Format,
    Output,
    Profile,
    Runs,
    Settings,
    Track,
    out,
    parse_setting,
    show_list,
)
from suite.errors import UserError, require
from suite.progress import console


def experiment(
    name: Annotated[str, typer.Argument(help="paper, authors-cifar10, authors-imagenet, or a TOML file of your own")],
    dataset: Annotated[str | None, typer.Option(help="as 'suite run' takes it [default: the experiment's own]")] = None,
    profile: Profile = None,
    method: Annotated[list[str] | None, typer.Option(help="only these of its methods")] = None,
    sigma: Annotated[list[float] | None, typer.Option(help="these instead of its σ, pixels in [0,1]")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="these instead of its seeds")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="say which runs it has, and make none")] = False,
    settings: Settings = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    track: Track = True,
    format: Output = Format.table,
) -> None:
    """Carry out a grid of runs, methods × σ × seeds; run it again to go on where it stopped."""
    from suite.experiments.experiment import carry_out, load_experiment, runs_of
    from suite.pipeline import Machine

    asked = load_experiment(name).select(method or (), sigma or (), seed or ())
    given: dict[str, Any] = dict(map(parse_setting, settings or ())) | ({"profile": profile} if profile else {})
    specs = runs_of(asked, dataset, **given)
    dataset = specs[0].dataset
    if plan:
        entries = [{"method": spec.method, "arch": spec.arch, "sigma": spec.sigma, "seed": spec.seed} for spec in specs]
        show_list(entries, format)
        return
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track)
    folders = [str(folder) for folder in carry_out(specs, machine)]
    written = write_report(Path(name).stem, dataset, runs, [Path(folder).name for folder in folders])
    if format is Format.json:
        print(json.dumps(folders))
        return
    out.print(f"{len(folders)} runs; next: suite leaderboard {dataset} --runs {runs}", highlight=False)
    if written:
        out.print(f"report: {' and '.join(map(str, written))}", highlight=False, soft_wrap=True)


def write_report(name: str, dataset: str, runs: Path, finished: list[str]) -> list[Path]:
    """Write the report on an experiment's finished runs beside them; the files, none where no two can be compared."""
    try:
        require("the report", "app", "plotly")
    except UserError as error:
        console.print(f"no report was written: {error}", style="yellow", highlight=False, markup=False, soft_wrap=True)
        return []
    from leaderboards.paper.report import report
    from leaderboards.render.document import to_html, to_markdown
    from suite.store.files import write_atomically

    try:
        sections = report(runs, Path(dataset).name, only=finished)
    except UserError:
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
