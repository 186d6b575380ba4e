"""Whether what is kept is what it says: radii from their counts, the row from the records, names from the settings."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from suite.errors import MISFIT, UserError
from suite.spec.identity import records_content
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS
from suite.store.files import read_json
from suite.store.folder import differs
from suite.store.migrate import EARLIER_NAME
from suite.store.read import read_run, read_spec
from suite.store.records import read_records
from suite.store.result import Result, metrics_of

TOLERANCE = 1e-9


class Earlier(UserError):
    """A run of an earlier version."""


def verify(folder: Path) -> Iterator[str]:
    """What is wrong with a run's folder, a line each; nothing where all is as it should be.

    Records may be compressed, as those of kept rows are. It needs neither the network nor the images, so it says
    nothing of what depends on them: the votes themselves, the labels, and the radii of margins. Raises Earlier for a
    run of an earlier version, whose records followed other rules.
    """
    if EARLIER_NAME.fullmatch(folder.name):
        raise Earlier(f"{folder.name} was made by an earlier version, by other rules: it is not checked")
    try:
        spec, run = read_spec(folder), read_run(folder)
    except UserError as error:
        yield str(error)
        return
    yield from (f"{name} is damaged" for name in run.damaged)
    if run.environment is None and "environment.json" not in run.damaged:
        yield "environment.json is missing"
    if folder.name != spec.name:
        yield f"its settings are those of {spec.name}"
    records = {}
    for name in run.protocols:
        found = yield from _verify_records(folder, spec, name)
        if found is not None and len(found):
            records[name] = found
    if run.result is not None:
        try:
            Result.from_file(folder / "result.json")
        except UserError as error:
            yield str(error)
            return
        yield from _verify_result(run.result, spec, records)


def _verify_records(folder: Path, spec: RunSpec, name: str) -> Generator[str, None, pd.DataFrame | None]:
    """The faults of a protocol's records with the spec's settings; gives the records that can be read."""
    try:
        protocol = PROTOCOLS.get(name)
        file = folder / f"{name}-{spec.records_digest(name)}.jsonl"
        records = read_records(file)
    except (UserError, OSError) as error:
        yield str(error)
        return None
    settings = file.with_suffix(".json")
    wanted = {"protocol": name, **records_content(spec, name, defaults=True)}
    try:
        if settings.exists() and differs(read_json(settings), wanted):
            yield f"{settings.name} says other settings than those that its name stands for"
    except UserError as error:
        yield str(error)
    if records["idx"].duplicated().any():
        yield f"{name}: image {records['idx'][records['idx'].duplicated()].iloc[0]} has two records"
    try:
        yield from (f"{name}: {fault}" for fault in protocol.faults(spec, records))
        if len(records):
            protocol.metrics(spec, records)
    except MISFIT as error:
        yield f"{name}: a record is not whole ({error})"
        return None
    return records


def _verify_result(result: dict[str, Any], spec: RunSpec, records: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Whether a row's figures are those of the records."""
    for name in result.get("protocols", ()):
        if name not in records:
            yield f"the row has figures of {name}, but there are no records of it"
    row: dict[str, Any] = {}
    for name, found in reversed(records.items()):
        row |= metrics_of(name, spec, found)
    for key, wanted in row.items():
        if key in result and not agree(result[key], wanted):
            yield f"the row says {key} = {brief(result[key])}, but the records give {brief(wanted)}"


def agree(one: Any, other: Any) -> bool:
    """Whether JSON values are the same, numbers but for the last digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(agree(one[name], other[name]) for name in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(agree, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(one == other)


def brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
