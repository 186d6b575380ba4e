"""Stores of earlier versions, brought into this version's form: renamed in place, nothing is computed again.

Before schema 4 a run's folder was named by one digest of all settings, and records were `<protocol>.jsonl`. Runs of the
earlier rule of adaptive sampling stay as they are: this version makes other records with their settings.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from suite.errors import UserError
from suite.leftovers import sweep
from suite.progress import logger
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import SCHEMA
from suite.store.files import read_json, write_atomically, write_json
from suite.store.folder import RunFolder, run_protocols
from suite.store.locks import hold
from suite.store.read import read_spec
from suite.store.result import SCHEMA as RESULT_SCHEMA
from suite.store.result import upgrade

EARLIER_NAME = re.compile(r".*-seed\d+-[0-9a-f]{10}")


def migrate(runs: Path) -> None:
    """Bring every folder of an earlier version under `runs` into this version's form; says so in a line."""
    marker = runs / "models" / ".schema"
    if not runs.is_dir() or (marker.exists() and not earlier_runs(runs)):
        return
    marker.parent.mkdir(exist_ok=True)
    with hold(runs / ".migrate.lock", what=str(runs)):
        moved = sum(map(migrate_run, earlier_runs(runs)))
        moved += sum(map(migrate_model, sorted(runs.glob("models/[!.]*/spec.json"))))
        sweep(marker.parent)
        write_atomically(marker, f"{SCHEMA}\n".encode())
    if moved:
        logger.info(f"{runs}: {moved} folders of an earlier version were renamed")


def earlier_runs(runs: Path) -> list[Path]:
    """The folders whose names are those of an earlier version's runs."""
    return sorted(file.parent for file in runs.glob("[!.]*/spec.json") if EARLIER_NAME.fullmatch(file.parent.name))


def migrate_run(folder: Path) -> bool:
    """Rename a run's folder and its records; False where it is left as it is."""
    try:
        stored = read_json(folder / "spec.json")
        if (
            "schema" not in stored
            and stored["certify"]["sampling"] == "adaptive"
            and not stored["certify"].get("radii")
        ):
            return False
        spec = read_spec(folder)
    except (UserError, KeyError, TypeError):
        return False
    new = RunFolder(folder.parent / spec.name, spec)
    if new.path.exists():
        return False
    old = RunFolder(folder, spec)
    for name in run_protocols(spec):
        if (folder / f"{name}.jsonl").exists():
            (folder / f"{name}.jsonl").replace(old.records_file(name))
            old.write_settings(name)
    if (folder / "result.json").exists():
        result = upgrade(read_json(folder / "result.json"))
        names = [name for name in result["protocols"] if name in run_protocols(spec)]
        result |= {
            "schema": RESULT_SCHEMA,
            "run_id": spec.name,
            "recipe": spec.recipe,
            "sections": {name: spec.records_digest(name, seeds=False) for name in names},
            "records": {name: old.records_file(name).name for name in names},
        }
        write_json(folder / "result.json", result)
    environment = read_json(folder / "environment.json") if (folder / "environment.json").exists() else {}
    write_json(folder / "environment.json", environment | {"formerly": folder.name})
    write_json(folder / "spec.json", spec.to_json())
    folder.replace(new.path)
    return True


def migrate_model(file: Path) -> bool:
    """Rename a shared model's folder; False where it is left as it is."""
    try:
        content = read_json(file)
        if "schema" in content:
            return False
        spec = ModelSpec(**content)
    except (UserError, ValidationError, TypeError):
        return False
    new = file.parent.with_name(spec.name)
    if new != file.parent and new.exists():
        return False
    write_json(file, {"schema": SCHEMA, **spec.model_dump(mode="json")})
    file.parent.replace(new)
    return True
