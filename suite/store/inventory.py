"""What a store of runs holds and how much room it takes; runs removed from it, and models that no run needs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from suite.errors import UserError
from suite.leftovers import LEFTOVER, beside
from suite.spec.model_spec import ModelSpec
from suite.spec.sections import Frozen
from suite.store.files import read_json
from suite.store.locks import hold, is_free, lock_of
from suite.store.read import read_spec, run_folders

State = Literal["finished", "unfinished", "at work"]


@dataclass(frozen=True)
class Entry:
    """A run's folder: `changed` in seconds since 1970, `size` in bytes, weights that it shares with others included."""

    name: str
    path: Path
    method: str
    dataset: str
    state: State
    size: int
    changed: float


def inventory(runs: Path) -> list[Entry]:
    """The runs of a store, those that changed last first."""
    found = []
    for name, folder in run_folders(runs).items():
        about: dict[str, Any] = {}
        with suppress(UserError, TypeError, ValueError):  # of a damaged spec nothing is known
            about |= read_json(folder / "spec.json")
        files = [file.stat() for file in folder.iterdir() if file.is_file()]
        changed = max((file.st_mtime for file in files), default=0.0)
        method, dataset = str(about.get("method", "?")), str(about.get("dataset", "?"))
        size = sum(file.st_size for file in files)
        found.append(Entry(name, folder, method, dataset, state_of(folder), size, changed))
    return sorted(found, key=lambda entry: -entry.changed)


def state_of(folder: Path) -> State:
    """Whether a process is at work on a run or, if none is, whether the run is finished."""
    if not is_free(lock_of(folder)):
        return "at work"
    return "finished" if (folder / "result.json").exists() else "unfinished"


def remove(folder: Path) -> None:
    """Delete a run's folder, or a model's, and its lock. Raises Busy where a process is at work on it."""
    with hold(lock_of(folder), wait=False, what=folder.name):
        doomed = beside(folder, folder.name)
        folder.rename(doomed)  # at once: a half of a run is never there
        shutil.rmtree(doomed)
    lock_of(folder).unlink(missing_ok=True)


def at_work(runs: Path) -> str:
    """The name of a run or a model of the store that a process is at work on; empty where there is none."""
    locks = (lock for place in ("", "models/") for lock in sorted(runs.glob(f"{place}.*.lock")))
    return next((lock.name[1:].removesuffix(".lock") for lock in locks if not is_free(lock)), "")


def unused(runs: Path) -> list[tuple[Path, int]]:
    """Models, weights from Python, and leftovers that no run of a store needs, with their sizes in bytes.

    Raises UserError where the spec of a run cannot be read: then it is not known what that run needs.
    """
    needed, weights = set[str](), set[str]()
    for folder in run_folders(runs).values():
        for spec in models_of(read_spec(folder)):
            needed.add(spec.name)
            weights.add(Path(str(spec.parameters.get("file", ""))).name)
    models = [folder for folder in sorted(runs.glob("models/[!.]*")) if folder.is_dir() and folder.name not in needed]
    files = [file for file in sorted(runs.glob("weights/*.safetensors")) if file.name not in weights]
    hidden = [path for place in ("", "models/", "*/", "models/*/") for path in sorted(runs.glob(f"{place}.*"))]
    left = [path for path in hidden if LEFTOVER.fullmatch(path.name)]
    return [(path, size_of(path)) for path in (*models, *files, *left)]


def models_of(spec: ModelSpec) -> Iterator[ModelSpec]:
    """A run's own model, those that it starts from, and those that its protocols compare it with."""
    own: ModelSpec | None = getattr(spec, "model", spec)
    while own:
        yield own
        own = own.start
    sections: dict[str, Frozen] = getattr(spec, "sections", {})
    others: list[Any] = [value for section in sections.values() for _, value in section]
    for other in others:
        if isinstance(other, ModelSpec):
            yield from models_of(other.on(spec.data))


def size_of(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
