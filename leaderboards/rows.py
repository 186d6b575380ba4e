"""A row of the board: the mean over the runs of one recipe, which differ in the seed alone, and what is uncertain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from suite.protocols.protocol import Column, columns
from suite.statistics.bounds import largest_radius
from suite.statistics.intervals import averaged_share, mean_interval, proportion_interval

# rows that differ in one of these stand in groups apart; read: from records (log), or read off a table or plot
COMPARABLE = ("read", "data", "sigma", "top", "images", "every", "n", "alpha", "sampling", "noise", "precision")
CURVES = ("certified_accuracy", "certified_accuracy_paper")  # by radius
SHARED = (
    "method", "dataset", "data", "arch", "variant", "sigma", "top", "images", "every", "n0", "n", "alpha", "sampling",
    "noise", "precision", "decided", "read", "deployed", "claim", "source", "citation", "note",
)  # fmt: skip
_made: dict[tuple[Any, ...], tuple[list[dict[str, Any]], dict[str, Any]]] = {}
USUAL = {
    "variant": "", "every": 1, "sampling": "fixed", "noise": "gaussian", "precision": "fp32", "decided": None,
    "read": "log",
    "citation": "", "note": "",
}  # fmt: skip


def board_rows(results: Iterable[dict[str, Any]], radii: Sequence[float]) -> list[dict[str, Any]]:
    """Rows of the board from results: those with the same recipe are one row; a result without one stands alone.

    A row is made once as long as its results are the same objects, as those of `cache` are while files do not change.
    """
    recipes: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        recipes.setdefault(result.get("recipe") or result["run_id"], []).append(result)
    found = []
    for recipe, group in recipes.items():
        group.sort(key=lambda result: (result["seed"] or 0, result["run_id"]))
        made_from, row = _made.get((recipe, *radii), ([], {}))
        if len(group) != len(made_from) or any(a is not b for a, b in zip(group, made_from, strict=True)):
            row = board_row(group, radii)
            _made[(recipe, *radii)] = group, row
        found.append(row)
    return found


def board_row(results: Sequence[Mapping[str, Any]], radii: Sequence[float]) -> dict[str, Any]:
    """The row of runs that differ in the seed alone: JSON values, in the form of `schema.json`.

    A figure is the mean over the runs that have it, and its `spread` their sample standard deviation: None for fewer
    than two. `intervals` are at 95 %, over test sets drawn like this one, for these seeds: they do not say what another
    seed would give, which is what the spread shows. For shares they are Wilson's, for the ACR that of `mean_interval`;
    with several seeds each image's value is averaged over them first. Where a result has no value for each image (clean
    accuracy, averaging error), the runs' own bounds are averaged, which is no narrower: the standard deviation of a
    mean is at most the mean of the standard deviations.
    """
    first = results[0]
    row: dict[str, Any] = {name: first.get(name, USUAL.get(name)) for name in SHARED}
    row |= {"seeds": [result["seed"] for result in results if result["seed"] is not None]}
    row |= {"run_id": first["run_id"], "runs": [result["run_id"] for result in results]}
    row["date"] = max(result.get("date") or "" for result in results)
    row["command"] = " && ".join(filter(None, (result.get("command") for result in results)))
    spread: dict[str, Any] = {}
    for key, (protocol, column) in columns().items():
        own = same_settings(results, protocol)
        if column.by_radius:
            found = {r: averaged(values) for r, values in shares(results, key, radii).items()}
            row[key] = {r: mean for r, (mean, _) in found.items()}
            spread[key] = {r: deviation for r, (_, deviation) in found.items()}
        elif column.of:
            row[key] = counted(own, column)
        else:
            row[key], spread[key] = averaged(number(result, column.path) for result in own)
    row |= {"intervals": intervals(results, row, radii), "spread": spread}
    row["device"] = ", ".join(sorted({str(result["timing"].get("device")) for result in results if "timing" in result}))
    return row


def same_settings(results: Sequence[Mapping[str, Any]], protocol: str) -> list[Mapping[str, Any]]:
    """The results in which a protocol has the settings of the first that went through it; those without are kept."""
    digests = [result.get("sections", {}).get(protocol) for result in results]
    first = next((digest for digest in digests if digest), None)
    return [result for result, digest in zip(results, digests, strict=True) if digest in (None, first)]


def counted(results: Sequence[Mapping[str, Any]], column: Column) -> dict[str, int] | None:
    """A column of counts, added up over the results: what is counted, and of how many; None where none has it."""
    assert column.of
    found = {}
    for path in (column.of, column.path):
        known = [n for result in results if (n := number(result, path)) is not None]
        if not known:
            return None
        found[path.rpartition(".")[2]] = int(sum(known))
    return found


def shares(results: Sequence[Mapping[str, Any]], name: str, radii: Sequence[float]) -> dict[str, list[float | None]]:
    """Each result's certified accuracy at the radii, in the convention of `name`, one of CURVES: by radius.

    It is counted from the images' radii, whatever the board's radii were when the result was made, and read from the
    result where that has none. None where a result does not say it.
    """
    found: dict[str, list[float | None]] = {str(r): [] for r in radii}
    for result in results:
        if result.get("image_radii"):
            hits, counted = hits_and_counted(np.array(result["image_radii"], float), name, radii)
            total = counted.sum(-1)
            known = [bool(total) and is_decided(result, r) for r in radii]
            values = [float(hit.sum() / total) if is_known else None for hit, is_known in zip(hits, known, strict=True)]
        else:
            values = [number(result[name], str(r), None) for r in radii]
        for r, value in zip(found, values, strict=True):
            found[r].append(value)
    return found


def hits_and_counted(
    radius: NDArray[np.float64], name: str, radii: Sequence[float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images are certified at each radius and which count, in the convention of `name`, one of CURVES.

    `radius` (…, N) is an image's R where it is classified correctly, −1 where wrongly, NaN where abstained; (…, N) →
    (R, …, N), (…, N).
    """
    r = np.reshape(radii, (-1, *[1] * radius.ndim))
    if name == "certified_accuracy":
        return radius >= r, np.ones(radius.shape, bool)
    return radius > r, ~np.isnan(radius)


def is_decided(result: Mapping[str, Any], r: float) -> bool:
    """Whether a result says which images are certified at r: adaptive sampling decides some radii only, and none are
    beyond the reach of its draws."""
    decided = result.get("decided")
    return not decided or r in decided or r > _reach(result["n"], result["alpha"], result["sigma"])


_reach = cache(largest_radius)


def number(tree: Any, where: str, separator: str | None = ".") -> float | None:
    """The number at a dotted place of nested mappings; None where there is none."""
    for name in where.split(separator) if separator else [where]:
        tree = tree.get(name) if isinstance(tree, Mapping) else None
    return float(tree) if isinstance(tree, int | float) and math.isfinite(tree) else None


def averaged(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """The mean of the values that are known, and their sample standard deviation if there are two."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    mean = math.fsum(known) / len(known)
    squares = math.fsum((value - mean) ** 2 for value in known)
    return mean, math.sqrt(squares / (len(known) - 1)) if len(known) > 1 else None


def intervals(results: Sequence[Mapping[str, Any]], row: Mapping[str, Any], radii: Sequence[float]) -> dict[str, Any]:
    """95 % intervals [low, high] of a row's figures, None where a result does not say enough."""
    nothing = dict.fromkeys(map(str, radii))
    found: dict[str, Any] = {"certified_accuracy": nothing, "certified_accuracy_paper": nothing}
    if all(result.get("image_radii") for result in results):
        radius = np.array([result["image_radii"] for result in results], float)  # (S, N)
        for name in CURVES:
            _, low, high = averaged_share(*hits_and_counted(radius, name, radii))
            bounds = dict(zip(nothing, map(pair, low, high), strict=True))
            found[name] = {r: bounds[r] if row[name][r] is not None else None for r in bounds}
        _, low, high = averaged_share(np.isnan(radius), np.ones_like(radius))
        found["abstained"] = pair(float(low), float(high))
        found["acr"] = pair(*(mean_interval(np.nan_to_num(radius, nan=-1).clip(0).mean(0)) or (np.nan, np.nan)))
    elif len(results) == 1 and row["read"] == "log":
        for name in CURVES:
            total = round(row["images"] * (1 - row["abstained"] * (name == "certified_accuracy_paper")))
            found[name] = {key: wilson(share, total) for key, share in row[name].items()}
        found |= {"abstained": wilson(row["abstained"], row["images"]), "acr": None}
    else:
        found |= {"abstained": None, "acr": None}
    found["clean_accuracy"] = mean_bounds(
        wilson(result["clean_accuracy"], clean_images(result)) or [None, None] for result in results
    )
    for key, (protocol, column) in columns().items():
        if ends := column.interval:
            own = same_settings(results, protocol)
            found[key] = mean_bounds([number(result, end) for end in ends] for result in own)
    return found


def mean_bounds(bounds: Iterable[Sequence[float | None]]) -> list[float] | None:
    lows, highs = zip(*bounds, strict=True)
    low, high = averaged(lows)[0], averaged(highs)[0]
    return None if low is None or high is None else [low, high]


def clean_images(result: Mapping[str, Any]) -> int:
    """How many images the clean accuracy is of: a pass sees the whole test set, a vote those that are certified."""
    return result.get("single_pass_images", 0) if result["deployed"] == "pass" else result["images"]


def wilson(share: float | None, total: int) -> list[float] | None:
    return list(proportion_interval(share * total, total)) if share is not None and total else None


def pair(low: float, high: float) -> list[float] | None:
    return [float(low), float(high)] if np.isfinite(low) and np.isfinite(high) else None
