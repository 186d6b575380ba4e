"""What a store of runs holds, finished or not: read as it is, never written, and without torch."""

from __future__ import annotations

import difflib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from methods import METHODS
from suite.errors import MISFIT, UserError
from suite.spec.run_spec import RunSpec
from suite.spec.sections import Training
from suite.store.files import read_json


@dataclass(frozen=True)
class Run:
    """What lies in a run's folder; None, empty or no records where a file is not there or not whole.

    `damaged` names the files that are there and cannot be read as what they are.
    """

    spec: dict[str, Any] | None
    result: dict[str, Any] | None
    environment: dict[str, Any] | None
    history: pd.DataFrame
    protocols: tuple[str, ...]
    damaged: tuple[str, ...]


def check_store(runs: Path) -> None:
    """Raise UserError, which says what to do, where the folder of runs cannot be listed; one not there is no error."""
    try:
        next(runs.iterdir(), None)
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        raise UserError(f"{runs} is a file; --runs takes the folder that runs are kept in") from error
    except OSError as error:
        raise UserError(f"cannot read the runs in {runs} ({error.strerror}); see to its permissions") from error


def run_folders(*stores: Path) -> dict[str, Path]:
    """The folders of all runs, finished or not, by name; a later store's in place of an earlier one's."""
    found = {file.parent.name: file.parent for store in stores for file in store.glob("[!.]*/spec.json")}
    return dict(sorted(found.items()))


def find_run(name: str, runs: Path) -> Path:
    """A run's folder, by its id, by the beginning of its id, or by its path. Raises UserError where there is none."""
    if not name:
        raise UserError("name a run: its id, or how that begins")
    if (Path(name) / "spec.json").exists():
        return Path(name)
    folders = {known: folder for known, folder in run_folders(runs).items() if known.startswith(name)}
    found = [folders[name]] if name in folders else list(folders.values())
    if len(found) != 1:
        said = f"'{name}' begins {len(found)} of the runs" if found else f"there is no run '{name}'"
        near = sorted(folders) or difflib.get_close_matches(name, run_folders(runs), n=3, cutoff=0.4)
        raise UserError(f"{said} in {runs}" + (f": {', '.join(near)}" if near else ""))
    return found[0]


def machine_of(folder: Path) -> str:
    """What a run ran on, as its environment.json says."""
    try:
        machine = read_json(folder / "environment.json")
        return f"{machine['device_name']}, threads: {machine['threads']}, torch {machine['versions']['torch']}"
    except (UserError, OSError, *MISFIT):
        return f"unknown: {folder.name} has no whole environment.json"


def describe_start(start: Any) -> str:
    """The stored model that a run's training started from, in words. Raises UserError for what is no model."""
    try:
        return f"{start['method']}, {start['arch']}, {start['training']['epochs']:g} epochs, seed {start['seed']:d}"
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise UserError("spec.json is damaged in what it says of the model that training started from") from error


def runs_of_model(model: dict[str, Any], folders: dict[str, Path]) -> list[str]:
    """Which runs are of a model, as specs have it stored; training that knows no σ is the same in runs with any."""
    told = {name: value for name, value in model.items() if name != "sigma" or value is not None}
    begin, seed = f"{model.get('method')}-", f"-seed{model.get('seed')}-"
    found = []
    for name in (name for name in folders if name.startswith(begin) and seed in name):
        with suppress(OSError, UserError):  # gone meanwhile, or damaged
            spec = read_json(folders[name] / "spec.json")
            if isinstance(spec, dict) and told.items() <= spec.items():
                found.append(name)
    return found


def read_run(folder: Path) -> Run:
    """All of a run but its records. Raises UserError where there is no such folder."""
    if not folder.is_dir():
        raise UserError(f"there is no run {folder.name} in {folder.parent}; it may have been deleted or moved")
    damaged = []

    def content(name: str, kind: type) -> Any:
        file = folder / f"{name}.json"
        try:
            found: Any = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError):
            found = None
        lines = found if kind is list and isinstance(found, list) else []
        if not isinstance(found, kind) or not all(isinstance(line, dict) for line in lines):
            damaged.append(file.name)
            return None
        return found

    return Run(
        spec=content("spec", dict),
        result=content("result", dict),
        environment=content("environment", dict),
        history=pd.DataFrame(content("training", list)),
        protocols=tuple(sorted({protocol_of(file) for file in folder.glob("[!.]*.jsonl*")})),
        damaged=tuple(damaged),
    )


def protocol_of(file: Path) -> str:
    """The protocol of a file of records: `certify-1a2b3c4d.jsonl`, or before schema 4 `certify.jsonl`."""
    return re.sub(r"(-[0-9a-f]{8})?\.jsonl(\.xz)?$", "", file.name)


def read_spec(folder: Path) -> RunSpec:
    """The spec in a run's folder, or in a file, also of an earlier version. Raises UserError where there is none."""
    file = folder / "spec.json" if folder.is_dir() else folder
    try:
        content = read_json(file)
        if isinstance(content, dict) and "schema" not in content:
            return RunSpec(**with_defaults(content))  # before schema 4 a spec was stored as RunSpec takes it
        spec = RunSpec.from_json(content)
        for model in (spec, spec.agreement.against):
            while model is not None:
                model.build_method()  # a stored spec is not filled in, so nothing has looked at its parameters
                model = model.start
        return spec
    except (ValueError, TypeError, AttributeError, KeyError, UserError) as error:
        raise UserError(f"{file} is not the spec of a run: {error}".splitlines()[0]) from error


def with_defaults(model: dict[str, Any]) -> dict[str, Any]:
    """The settings of a model that was stored whole; those that came later have their defaults, not a recipe's."""
    kind = METHODS.get(model["method"])
    found = model | {
        "parameters": kind.Parameters(**model["parameters"]).model_dump(mode="json"),
        "training": Training(**model["training"]).model_dump(mode="json"),
    }
    if model.get("start"):
        found["start"] = with_defaults(model["start"])
    against = model.get("agreement", {}).get("against")
    return found | ({"agreement": model["agreement"] | {"against": with_defaults(against)}} if against else {})
