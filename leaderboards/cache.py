"""The results of finished runs, each file read once while it stays as it is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, FiniteFloat, ValidationError

from suite.statistics.bounds import largest_radius

EARLIER = "earlier adaptive sampling"  # of results without `decided`: its rule gave some images up too soon

_read: dict[
    str, tuple[tuple[int, int], dict[str, Any] | str]
] = {}  # by path: (time, size) and content, or what ails it


class Result(BaseModel):
    """What every result.json says; the figures of further protocols are beside it."""

    method: str
    dataset: str


class Certified(Result):
    """What a result with certificates says besides: only such a run stands on a board."""

    data: str
    arch: str
    sigma: FiniteFloat
    seed: int
    inference: str
    top: int
    images: int
    n0: int
    n: int
    alpha: FiniteFloat
    clean_accuracy: FiniteFloat | None
    certified_accuracy: dict[str, float]
    certified_accuracy_paper: dict[str, float]
    acr: FiniteFloat
    abstained: FiniteFloat
    seconds_per_certificate: float | None
    claim: str
    image_radii: list[float | None] = []


def read_results(runs: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The results of the runs with certificates in a store, by folder name, and what ails those that cannot be read.

    A folder's name is its run's id. A file is read again once its time or size has changed; one that is deleted
    meanwhile is as if it had never been there.
    """
    results, damaged = [], []
    for file in sorted(runs.glob("*/result.json")) if runs.is_dir() else []:
        try:
            status = file.stat()
            stamp = status.st_mtime_ns, status.st_size
            path = os.path.abspath(file)
            if path not in _read or _read[path][0] != stamp:
                _read[path] = stamp, _parse(file)
        except FileNotFoundError:
            continue
        except OSError as error:
            damaged.append(f"{file} cannot be read: {error.strerror}")
            continue
        found = _read[path][1]
        if isinstance(found, str):
            damaged.append(found)
        elif "acr" in found:
            results.append(found)
    return results, damaged


def _parse(file: Path) -> dict[str, Any] | str:
    try:
        row = json.loads(file.read_bytes())
        (Certified if "acr" in row else Result).model_validate(row, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{file} is damaged ({'.'.join(map(str, first['loc']))}: {first['msg']})"
    except (ValueError, TypeError, RecursionError) as error:
        return f"{file} is damaged ({error})"
    row |= {"run_id": file.parent.name, "source": "run"}
    if row.get("sampling") == "adaptive" and "decided" not in row:
        largest = largest_radius(row["n"], row["alpha"], row["sigma"])
        decided = [0.0, *(r for r in map(float, row["certified_accuracy"]) if r < largest)]
        row |= {"sampling": EARLIER, "decided": decided}
    return row
