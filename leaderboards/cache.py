"""The results of finished runs. A file is read once while it stays as it is."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from suite.errors import UserError
from suite.protocols.protocol import columns
from suite.store.result import Result

CERTIFIED = (
    "data", "arch", "seed", "deployed", "top", "images", "alpha", "certified_accuracy", "certified_accuracy_paper",
    "abstained", "claim",
)  # fmt: skip
MOST = 1e15  # no metric is as large
OF_A_VOTE = ("sigma", "n0", "n")  # a margin has no noise


def read_results(runs: Path) -> tuple[list[Result], list[str]]:
    """The results of a store's runs that have certificates, by folder name, and what is wrong with damaged files.

    A folder's name is its run's id. A file that is deleted meanwhile is left out.
    """
    results, damaged = [], []
    for file in sorted(runs.glob("[!.]*/result.json")) if runs.is_dir() else []:
        try:
            found = read_result(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            found = f"{file} cannot be read: {error.strerror}"
        if isinstance(found, str):
            damaged.append(found)
        elif found.is_certified:
            results.append(found)
    return results, damaged


def read_result(file: Path) -> Result | str:
    """A run's result, or what is wrong with its file. It is read again once the file's time or size has changed."""
    status = file.stat()
    return _read(file.absolute(), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=2**14)
def _read(file: Path, changed: int, size: int) -> Result | str:
    return _parse(file)


def _parse(file: Path) -> Result | str:
    try:
        result = Result.from_file(file)
    except UserError as error:
        return str(error)
    needed = (*CERTIFIED, *(OF_A_VOTE if result.kind == "vote" else ()))
    for name in needed if result.is_certified else ():
        if name not in result.model_fields_set:
            return f"{file} is damaged ({name}: Field required)"
        if getattr(result, name) is None:
            return f"{file} is damaged ({name}: a result with certificates needs it)"
    if fault := fault_of(result):
        return f"{file} is damaged ({fault})"
    return result.model_copy(update={"run_id": file.parent.name, "source": "run"})


def fault_of(result: Result) -> str:
    """What is wrong with the metrics that boards show; empty where nothing is."""
    if result.image_radii and len(result.image_radii) != result.images:
        return f"image_radii: {len(result.image_radii)} of {result.images} images"
    own = vars(result) | (result.model_extra or {})
    for column in columns().values():
        for path in filter(None, (column.path, column.of, *(column.interval or ()))):
            first, *rest = path.split(".")
            if first not in own:
                continue
            value = own[first]
            for name in rest:
                if not isinstance(value, Mapping | None):
                    return f"{path}: {first} is no table of metrics"
                value = (value or {}).get(name)
            if column.by_radius and not isinstance(value, Mapping | None):
                return f"{path}: no table of numbers by radius"
            values = (value or {}).values() if column.by_radius else [value]
            kind = int if column.of else (int, float)
            if not all(each is None or (isinstance(each, kind) and abs(each) < MOST) for each in values):
                return f"{path}: not a number that can be"
    return ""
