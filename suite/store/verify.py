"""Whether what is kept is what it says: radii from their counts, the row from records and settings, labels."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

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
from suite.store.result import Result, metrics_of, settings_of

TOLERANCE = 1e-9
MOST = 10**7  # images of a test set
KEPT = re.compile(r"(spec|environment|training|result|[\w-]+-[0-9a-f]{8})\.json|[\w-]+-[0-9a-f]{8}\.jsonl\.xz")
OF_THE_DATA = ("schema", "dataset", "data", "fingerprint", "date")  # what neither settings nor records give a row


class Earlier(UserError):
    """A run of an earlier version."""


class Labels(NamedTuple):
    """The labels of test images by index, and where they are from."""

    by_image: Mapping[int, int]
    source: str


def verify(folder: Path, labels: Labels | None = None) -> Iterator[str]:
    """What is wrong with a run's folder, a line each; nothing where all is as it should be.

    Records may be compressed, as those of kept rows are. It needs neither the network nor the images, so it says
    nothing of what depends on them: the votes themselves, the radii of margins and, unless `labels` are given, the
    labels. Raises Earlier for a run of an earlier version, whose records followed other rules.
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
    yield from _verify_files(folder)
    about = (run.environment or {}).get("data")
    about = about if isinstance(about, dict) else {}
    records = {}
    for name in run.protocols:
        found = yield from _verify_records(folder, spec, name)
        if found is not None and len(found):
            records[name] = found
            yield from _verify_images(name, spec, found, about, labels)
    if run.result is not None:
        try:
            Result.from_file(folder / "result.json")
        except UserError as error:
            yield str(error)
            return
        if about.get("title", run.result.get("data")) != run.result.get("data"):
            yield f"the row says data = {run.result.get('data')}, but its environment says {about['title']}"
        yield from _verify_result(run.result, spec, records)


def recorded_labels(folder: Path) -> Labels:
    """The labels that the records of a run say: of the whole test set, where it has its accuracy on that."""
    spec = read_spec(folder)
    files = [folder / f"{name}-{spec.records_digest(name)}.jsonl" for name in ("accuracy", "certify")]
    found = [records for records in map(read_records, files) if "label" in records]
    by_image = {} if not found else dict(zip(found[0]["idx"].tolist(), found[0]["label"].tolist(), strict=True))
    return Labels(by_image, folder.name)


def _verify_files(folder: Path) -> Iterator[str]:
    """The files that no run has, in a folder that came with a board, whose records are compressed."""
    names = sorted(file.name for file in folder.iterdir())
    if any(name.endswith(".jsonl.xz") for name in names):
        yield from (f"{name} is no file of a run" for name in names if not KEPT.fullmatch(name))


def _verify_images(
    name: str, spec: RunSpec, records: pd.DataFrame, data: dict[str, Any], labels: Labels | None
) -> Iterator[str]:
    """Whether records are of the images that the settings name, no others and none left out, with their labels."""
    total = data.get("test")
    if isinstance(total, int) and 0 < total <= MOST:
        wanted, found = set(PROTOCOLS.get(name).indices(spec, total)), set(records["idx"])
        if missing := sorted(wanted - found):
            yield f"{name}: {len(missing)} of its {len(wanted)} images have no record, the first of them {missing[0]}"
        if others := sorted(found - wanted):
            yield f"{name}: image {others[0]} is none of those that its settings name"
    if labels and "label" in records:
        for idx, label in zip(records["idx"], records["label"], strict=True):
            if (right := labels.by_image.get(idx, label)) != label:
                yield f"{name}: image {idx} has the label {label}, but {labels.source} says {right}"


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
    """Whether a row's metrics are those of the records, and what else it says that of the settings."""
    protocols = list(result.get("protocols", ()))
    for name in protocols:
        if name not in records:
            yield f"the row has metrics of {name}, but there are no records of it"
    row: dict[str, Any] = {}
    for name, found in reversed(records.items()):
        own = metrics_of(name, spec, found)
        if name in protocols and own and not own.keys() & result.keys():
            yield f"the row lacks the metrics of {name}"
        row |= own
    for key, wanted in row.items():
        if key in result and not agree(result[key], wanted):
            yield f"the row says {key} = {brief(result[key])}, but the records give {brief(wanted)}"
    yield from _verify_settings(result, spec, protocols, set(row))


def _verify_settings(result: dict[str, Any], spec: RunSpec, protocols: list[str], measured: set[str]) -> Iterator[str]:
    """Whether a row says of itself what its settings say. A command may lack settings of protocols that came later."""
    known = [name for name in protocols if name in PROTOCOLS.loadable()]
    settings = settings_of(spec, known) | {"dataset": Path(spec.dataset).name}
    if not set(_words(result.get("command"))) <= set(_words(settings.pop("command"))):
        yield f"the row says command = {brief(result.get('command'))}, but its settings give another"
    for key, wanted in settings.items():
        if key in result and key not in measured and not agree(result[key], wanted):
            yield f"the row says {key} = {brief(result[key])}, but its settings give {brief(wanted)}"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", str(result.get("date"))):
        yield f"the row says date = {brief(result.get('date'))}, which is no day"
    for key in result.keys() - settings.keys() - measured - {"command", *OF_THE_DATA}:
        yield f"the row says {key}, which neither records nor settings give"


def _words(command: Any) -> list[str]:
    try:
        return shlex.split(str(command or ""))
    except ValueError:  # no closing quotation
        return [str(command)]


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
