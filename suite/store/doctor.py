"""What is odd in a store of runs, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from suite.errors import UserError, unless_interrupted
from suite.progress import megabytes
from suite.spec.shell_line import command
from suite.store.inventory import state_of, unused
from suite.store.locks import holder_of, is_free, is_held_elsewhere
from suite.store.migrate import EARLIER_NAME
from suite.store.read import check_store, read_run, read_spec


@dataclass(frozen=True)
class Finding:
    """What is odd about what lies at `path`, and what to do about it."""

    path: Path
    what: str
    do: str


def find_oddities(runs: Path) -> Iterator[Finding]:
    """All that is odd in a store; it changes nothing. Raises UserError where the store cannot be read."""
    check_store(runs)
    for folder in sorted(runs.glob("[!.]*")) if runs.is_dir() else []:
        if folder.is_dir() and folder.name not in ("models", "weights", "mlartifacts"):
            yield from _of_a_run(folder)
    yield from _of_locks(runs)
    yield from _of_what_nobody_needs(runs)
    yield from _of_mlflow(runs)


def _of_a_run(folder: Path) -> Iterator[Finding]:
    if not any(folder.glob("*.json*")):
        return  # somebody's own folder
    try:
        spec = read_spec(folder)
    except (UserError, OSError) as error:
        why = str(error) if (folder / "spec.json").exists() else "it has no spec.json"
        yield Finding(folder, why, "nobody can go on with it: move the folder away, or delete it")
        return
    again = command(spec, spec.protocols)
    for name in read_run(folder).damaged:
        yield Finding(folder / name, "it is damaged", f"delete the file; this makes it again: {again}")
    if state_of(folder) == "unfinished" and not EARLIER_NAME.fullmatch(folder.name):
        yield Finding(folder, "it is not finished, and no process is at work on it", f"this goes on with it: {again}")
    if (folder / "result.json").exists() and not (folder / "environment.json").exists():
        yield Finding(folder, "it has no environment.json", f"this makes it again, with today's: {again}")


def _of_locks(runs: Path) -> Iterator[Finding]:
    for held in sorted([*runs.glob(".*.held"), *runs.glob("models/.*.held")]):
        lock = held.with_suffix(".lock")
        holder = holder_of(lock)
        if is_held_elsewhere(lock):
            yield Finding(held, f"{holder} is at work", "nothing, unless that machine is gone: then wait two minutes")
        elif is_free(lock):
            yield Finding(held, f"{holder or 'its process'} died", "nothing: the next one takes over")


def _of_what_nobody_needs(runs: Path) -> Iterator[Finding]:
    try:
        for path, size in unused(runs):
            yield Finding(path, f"no run needs it; it takes {megabytes(size)}", "suite clean")
    except UserError:
        pass  # a run's spec cannot be read, which has been said


def _of_mlflow(runs: Path) -> Iterator[Finding]:
    if not (runs / "mlflow.db").exists() or not find_spec("mlflow"):
        return
    from suite.store.mlflow.resend import missing

    try:
        if lacking := missing(runs):
            names = ", ".join(lacking[:3]) + (" …" if len(lacking) > 3 else "")
            yield Finding(runs / "mlflow.db", f"it lacks {len(lacking)} finished runs: {names}", "suite sync")
    except Exception as error:  # whatever MLflow's client raises
        unless_interrupted(error)
        yield Finding(runs / "mlflow.db", str(error).splitlines()[0], "move it away; 'suite sync' makes it again")
