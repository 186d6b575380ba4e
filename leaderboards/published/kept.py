"""Finished runs: those of a store, and those that come with the suite, without weights and with compressed records."""

from __future__ import annotations

import lzma
from pathlib import Path

from leaderboards.cache import read_result, read_results
from suite.boards.board import Roots, layers
from suite.errors import UserError
from suite.leftovers import sweep
from suite.store.files import replace_folder
from suite.store.read import find_run, run_folders
from suite.store.result import Result

KEPT = "runs"  # beneath the published rows


def keep(folder: Path, root: Path) -> tuple[Path, bool]:
    """Put a finished run beside the published rows in `root`; where, and whether that changed anything.

    Raises UserError where the run has not finished, or where its result cannot be read or has no certificates.
    """
    try:
        result = read_result(folder / "result.json")
    except FileNotFoundError as error:
        raise UserError(f"{folder} is not a finished run: it has no result.json") from error
    if isinstance(result, str):
        raise UserError(result)
    if not result.is_certified:
        raise UserError(f"{folder} has no certificates, so no board has a row for it: suite certify {folder.name}")
    place = root / KEPT / folder.name
    files = {name: folder / name for name in ("spec.json", "environment.json", "training.json", "result.json")}
    content = {name: file.read_bytes() for name, file in files.items() if file.exists()}
    for protocol in result.protocols:
        file = records_file(folder, protocol)
        content[f"{file.name}.xz"] = lzma.compress(file.read_bytes(), preset=9)
        if (settings := file.with_suffix(".json")).exists():  # what the digest in the name stands for
            content[settings.name] = settings.read_bytes()
    sweep(place.parent)
    present = {file.name: file.read_bytes() for file in place.iterdir() if file.is_file()} if place.is_dir() else {}
    if present == content:
        return place, False
    replace_folder(place, content)
    return place, True


def kept_folders(published: Roots | None) -> list[Path]:
    """Where runs are kept, beneath the published rows."""
    return [root / KEPT for root in layers(published)]


def results(runs: Path, published: Roots | None) -> list[Result]:
    """The results of a store's runs and of those kept in `published`; a store's own replaces the kept one."""
    found: dict[str, Result] = {}
    for folder in (*reversed(kept_folders(published)), runs):
        found |= {result.run_id: result for result in read_results(folder)[0]}
    return list(found.values())


def run_folder(run: str, runs: Path, published: Roots) -> Path:
    """Where the files of a run lie, by its id: in the store or, if they do not, where runs are kept."""
    places = [folder / run for folder in (runs, *kept_folders(published))]
    return next((place for place in places if (place / "result.json").exists()), places[-1])


def find_shown_run(name: str, runs: Path, published: Roots) -> Path:
    """A run's folder as `find_run` finds it in the store or, if none there begins so, where runs are kept."""
    places = (runs, *kept_folders(published))
    return find_run(name, next((own for own in places if any(run.startswith(name) for run in run_folders(own))), runs))


def records_file(folder: Path, protocol: str) -> Path:
    """The file of a run's records of a protocol, which may lie there compressed, as FILE.xz (`read_records`).

    The run's result names it. A run that has not finished has the newest one; one of an earlier version has
    PROTOCOL.jsonl.
    """
    plain = folder / f"{protocol}.jsonl"
    try:
        result = read_result(folder / "result.json")
    except OSError:
        files = sorted(folder.glob(f"{protocol}-????????.jsonl"), key=lambda file: file.stat().st_mtime_ns)
        return files[-1] if files else plain
    return folder / result.records.get(protocol, plain.name) if isinstance(result, Result) else plain
