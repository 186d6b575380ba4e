"""The results of finished runs, each file read once while it stays as it is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from suite.store.result import Result


def read_results(runs: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The results of the runs with certificates in a store, by folder name, and what is wrong with those that cannot be
    read.

    A folder's name is its run's id. A file is read again once its time or size has changed; one that is deleted
    meanwhile is as if it had never been there.
    """
    results, damaged = [], []
    for file in sorted(runs.glob("*/result.json")) if runs.is_dir() else []:
        try:
            status = file.stat()
            found = _read(file.absolute(), status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            continue
        except OSError as error:
            damaged.append(f"{file} cannot be read: {error.strerror}")
            continue
        if isinstance(found, str):
            damaged.append(f"{file} is damaged ({found})")
        elif found["acr"] is not None:
            results.append(found)
    return results, damaged


@lru_cache(maxsize=4096)
def _read(file: Path, changed: int, size: int) -> dict[str, Any] | str:
    """The content of a result, or what is wrong with it."""
    try:
        result = Result.from_file(file)
    except ValidationError as error:
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return str(error)
    return result.model_dump() | {"run_id": file.parent.name, "source": "run"}
