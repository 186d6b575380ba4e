"""Commands that check what is kept, and change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.options import PLAIN, RUNS, DataRoot, Format, Output, Runs, out, run_ids
from suite.errors import UserError

if TYPE_CHECKING:
    from suite.data import Dataset
    from suite.spec.run_spec import RunSpec
    from suite.store.verify import Labels

FEW = 10  # faults of a run that are printed


def verify(
    run: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN...]", help="ids, how these begin, or folders", autocompletion=run_ids),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="all runs of the store, and those that come with the suite")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="a run that cannot be checked is a fault")] = False,
    runs: Runs = RUNS,
    data_root: DataRoot = None,
    format: Output = Format.table,
) -> None:
    """Check runs: radii from their counts, the row from records and settings, labels from the data or other rows."""
    from leaderboards.published import all_roots
    from leaderboards.published.kept import find_shown_run, kept_folders
    from suite.store.read import run_folders
    from suite.store.verify import Earlier
    from suite.store.verify import verify as faults_of

    if bool(run) == every:
        raise UserError("name runs to verify, or --all")
    roots = all_roots()
    places = list(reversed(kept_folders(roots)))
    named = [find_shown_run(name, runs, roots) for name in run or ()]
    folders = named or list(run_folders(*places, runs).values())
    wrong = 0
    kept = list(run_folders(*places).values())
    for folder in folders:
        labels = known_labels(folder, data_root, kept)
        try:
            faults, earlier = list(faults_of(folder, labels)), ""
        except Earlier as error:
            faults, earlier = [], str(error)
        wrong += bool(faults) or (strict and bool(earlier))
        if format is Format.json:
            found = {"run": folder.name, "folder": str(folder), "faults": faults, "not_checked": earlier}
            print(json.dumps(found | {"labels": labels and labels.source}))
            continue
        said = f"as it says{', labels too' if labels else '; there are no labels here to compare its own with'}"
        said = f"{len(faults)} faults" if faults else said
        out.print(earlier or f"{folder.name}: {said}", **PLAIN)
        for fault in faults[:FEW]:
            out.print(f"  {fault}", **PLAIN)
        if len(faults) > FEW:
            out.print(f"  and {len(faults) - FEW} more: --format json", **PLAIN)
    if wrong:
        raise typer.Exit(1)


def known_labels(folder: Path, data_root: Path | None, others: Iterable[Path]) -> Labels | None:
    """The labels of a run's test images: the data set's where it is here, else those of another run on the same data.

    None where there is neither, or where the run's settings cannot be read.
    """
    from suite.store.read import read_spec
    from suite.store.verify import Labels

    try:
        spec = read_spec(folder)
    except (UserError, OSError):
        return None
    if spec.data and (data := data_at_hand(spec.dataset, data_root)) and data.fingerprint == spec.data:
        return Labels(dict(enumerate(data.test.labels.tolist())), data.title)
    for other in others:
        if other.resolve() != folder.resolve() and (labels := labels_of(other, *whose(folder, spec))):
            return labels
    return None


def whose(folder: Path, spec: RunSpec) -> tuple[str, str]:
    """What tells the data of a run apart: their fingerprint, and the title of a data set that comes with the suite."""
    from suite.data import DATASETS
    from suite.store.read import read_run

    about = (read_run(folder).environment or {}).get("data")
    title = about.get("title") if isinstance(about, dict) and spec.dataset in DATASETS.builtin else ""
    return spec.data, str(title or "")


@cache
def data_at_hand(dataset: str, data_root: Path | None) -> Dataset | None:
    from suite.data import load

    try:
        return load(dataset, data_root, download=False)
    except UserError:
        return None


@cache
def labels_of(folder: Path, fingerprint: str, title: str) -> Labels | None:
    """The labels that a run's records say, if its data have this fingerprint or this title."""
    from suite.store.read import read_spec
    from suite.store.verify import recorded_labels

    try:
        own = whose(folder, read_spec(folder))
        alike = (fingerprint and own[0] == fingerprint) or (title and own[1] == title)
        return recorded_labels(folder) if alike else None
    except (UserError, OSError):
        return None


def doctor(runs: Runs = RUNS, format: Output = Format.table) -> None:
    """Say what is odd in the store, and what to do about it."""
    from suite.store.doctor import find_oddities

    found = list(find_oddities(runs))
    if format is Format.json:
        print(json.dumps([asdict(finding) | {"path": str(finding.path)} for finding in found]))
    elif not found:
        out.print(f"nothing is odd in {runs}", **PLAIN)
    for finding in found if format is Format.table else ():
        out.print(f"{finding.path}: {finding.what}\n  {finding.do}", **PLAIN)
