"""Commands that search for settings, and show what was found."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from suite.cli.options import (
    PLAIN,
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
    Trust,
    out,
    parse_setting,
    show_list,
)
from suite.cli.runs import carry_out, show_result
from suite.cli.workers import Crew, with_workers
from suite.errors import UserError, require

if TYPE_CHECKING:
    import optuna

    from suite.tuning.definition import StudyOptions
    from suite.tuning.results import StudyReport

Url = Annotated[
    str | None,
    typer.Option(
        "--storage", help="sqlite:///FILE, postgresql://… or a journal file (default: studies.db in the runs)"
    ),
]


@with_workers
def tune(
    method: Annotated[str | None, typer.Option(help="see 'suite methods'; of a study that is there: its own")] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, cifar10, …, or a folder's path; likewise")] = None,
    trials: Annotated[int, typer.Option(min=1, help="to be finished in the study, over all processes at work")] = 30,
    search: Annotated[
        list[str] | None,
        typer.Option(help="sigma=0.1:0.5, lr=1e-3:1e-1:log, arch=cnn,resnet8, kappa (default: all the method's)"),
    ] = None,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="certified_accuracy (mean over the board's radii), certified_accuracy@0.25, acr, clean_accuracy, "
            "seconds; several: a Pareto front (default: certified_accuracy)"
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="its name (default: from method, data set and search)")] = None,
    storage: Url = None,
    sampler: Annotated[str | None, typer.Option(help="tpe, gp, cma-es, nsga-ii, random or grid (default: tpe)")] = None,
    pruner: Annotated[
        str | None, typer.Option(help="quartile, median, halving or none; with one objective (default: quartile)")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="of the sampler (default: 0)")] = None,
    validation: Annotated[
        float | None, typer.Option(help="share of the training images to measure on (default: 0.2)")
    ] = None,
    n: Annotated[int | None, typer.Option(help="draws for a trial's certificates (default: 1000)")] = None,
    images: Annotated[
        int | None, typer.Option(min=1, help="validation images to certify, at most (default: 300)")
    ] = None,
    profile: Profile = None,
    settings: Settings = None,
    then: Annotated[str | None, typer.Option(help="run: run the best trial's settings on the test set")] = None,
    data_root: DataRoot = None,
    runs: Runs = RUNS,
    device: Device = "auto",
    batch_size: BatchSize = 256,
    track: Track = True,
    trust: Trust = False,
    format: Output = Format.table,
    crew: Crew = Crew(),  # noqa: B008
) -> None:
    """Search a method's settings on validation images; the same command goes on, also from several shells at once."""
    require_optuna("suite tune")
    from suite.pipeline import Machine
    from suite.tuning.by_workers import tune_by
    from suite.tuning.results import best_trials, row_settings
    from suite.tuning.storage import Storage, default_url
    from suite.tuning.trials import tune as take_part

    if then not in (None, "run"):
        raise UserError(f"--then takes run, not '{then}'")
    shared = ({"profile": profile} if profile else {}) | dict(map(parse_setting, settings or ()))
    options: dict[str, Any] = {
        "method": method, "dataset": dataset, "search": search, "objectives": objective, "sampler": sampler,
        "pruner": pruner, "seed": seed, "validation": validation, "n": n, "images": images, "settings": shared or None,
    }  # fmt: skip
    given = cast("StudyOptions", {name: value for name, value in options.items() if value is not None})
    machine = Machine(data_root=data_root, runs=runs, device=device, batch_size=batch_size, track=track, trust=trust)
    if storage is None:
        runs.mkdir(parents=True, exist_ok=True)
    url = storage or default_url(runs)
    with crew.at_work(device) as executor:
        if executor:
            found = tune_by(executor, given, study, trials, url, machine, shared=crew.shared_files)
        else:
            found = take_part(given, study, trials, Storage(url), machine)
    show_study(found, format)
    if then:
        for row in carry_out([row_settings(found, trial) for trial in best_trials(found)], machine):
            show_result(row, format)


def require_optuna(user: str) -> None:
    require(user, "tune", "optuna", "cmaes", "sqlalchemy")


studies = typer.Typer(invoke_without_command=True, subcommand_metavar="[show NAME]")


@studies.callback()
def list_studies(context: typer.Context, runs: Runs = RUNS, storage: Url = None, format: Output = Format.table) -> None:
    """List the studies; `suite studies show NAME` shows one."""
    if context.invoked_subcommand:
        return
    require_optuna("suite studies")
    from suite.tuning.results import open_studies, summarise
    from suite.tuning.storage import default_url

    found = [asdict(summarise(study)) for study in open_studies(storage or default_url(runs))]
    if found or format is Format.json:
        show_list(found, format)
    else:
        out.print("no study yet; begin one: suite tune --method heat --dataset digits", **PLAIN)


@studies.command()
def show(name: str, runs: Runs = RUNS, storage: Url = None, format: Output = Format.table) -> None:
    """Show a study: its best trials, the importance of what was searched, and the commands for the board's rows."""
    require_optuna("suite studies")
    from suite.tuning.results import open_study
    from suite.tuning.storage import default_url

    show_study(open_study(name, storage or default_url(runs)), format)


def show_study(study: optuna.Study, format: Format) -> None:
    from suite.tuning.results import report

    content = report(study)
    if format is Format.json:
        print(json.dumps(content.to_json()))
        return
    for line in describe_study(content):
        out.print(line, **PLAIN)


def describe_study(report: StudyReport) -> list[str]:
    """A study in lines: what it is, how far it is, its best trials with their commands, and what mattered."""
    summary, definition = report.summary, report.definition
    searched = ", ".join(f"{name} {text}" for name, text in definition.search.items())
    lines = [
        f"{summary.study}: {summary.method} on {summary.dataset}, {summary.objectives} on "
        f"{definition.validation:.0%} of the training images; searched: {searched}",
        f"{summary.finished} trials finished, {summary.pruned} of them pruned; {summary.failed} failed, "
        f"{summary.running} running",
    ]
    kind = "best" if len(definition.objectives) == 1 else "front"
    for trial in report.best_trials:
        values = ", ".join(f"{name} {value:.4g}" for name, value in trial.values.items())
        chosen = " ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in trial.settings.items())
        lines += [f"{kind}: trial {trial.trial}: {values}; {chosen}", f"  {trial.command}"]
    for name, shares in report.importances.items():
        ranks = ", ".join(f"{setting} {100 * share:.0f} %" for setting, share in shares.items())
        lines.append(f"importance for {name}: {ranks}")
    return lines
