"""A row of the board: the mean over the runs of one recipe, which differ in the seed alone, and what is uncertain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leaderboards.estimates import CURVES, Interval, bounds_of, certificate_intervals, counts, mean_and_spread, radii_of
from suite.protocols.protocol import Column, columns
from suite.spec.sections import PROTOCOLS
from suite.statistics.bounds import largest_radius
from suite.store.result import Result

# votes that differ in one of these stand in different tables; read: from records (log), or off a table or plot
COMPARABLE = ("read", "data", "sigma", "top", "images", "every", "n", "alpha", "sampling", "noise", "precision")
SHARED = (
    "method", "dataset", "data", "arch", "variant", "kind", "deployed", "holds", "sigma", "trained_sigma", "top",
    "images", "every", "n0", "n", "alpha", "sampling", "noise", "precision", "decided", "read", "claim", "source",
    "citation", "url", "note", "run_id",
)  # fmt: skip


class Decided(Protocol):
    """What it takes to know at which radii a row, a line of a table or a result can be read."""

    @property
    def decided(self) -> Sequence[float] | None: ...
    @property
    def n(self) -> int | None: ...
    @property
    def alpha(self) -> float | None: ...
    @property
    def sigma(self) -> float | None: ...


@dataclass(frozen=True)
class Estimate:
    """A metric of a row: its mean over the runs that have it, None where none has.

    `interval` is at 95 %, over test sets drawn like this one, for these seeds: it does not say what another seed would
    give. That is what `spread` shows, the sample standard deviation over the runs: None for fewer than two. A count is
    a sum over the runs, `of` a total.
    """

    value: float | None = None
    interval: Interval = None
    spread: float | None = None
    of: float | None = None


@dataclass(frozen=True)
class Row:
    """Runs that differ in the seed alone, or a published row. What all of its runs have in common is the first run's.

    `holds` says whether the certificates are of what the row deploys (`Result.holds`). A margin has no noise: its
    sigma, n0, n, sampling, noise and precision are None. `metrics` are by the key of their column, `curves` by that key
    and the radius. `radii` (S, N) are those of S runs on the same N images: R where right, −1 where wrong, NaN where
    abstained; None where not all have them. `proposed` cites the paper of the method, where the row's citation is of
    another.
    """

    run_id: str
    method: str
    dataset: str
    data: str
    arch: str
    variant: str
    kind: str
    deployed: str | None
    holds: bool | None
    sigma: float | None
    trained_sigma: float | None
    top: int
    images: int | None
    every: int | None
    n0: int | None
    n: int | None
    alpha: float | None
    sampling: str | None
    noise: str | None
    precision: str | None
    decided: list[float] | None
    read: str
    claim: str
    source: str
    citation: str
    url: str
    note: str
    seeds: tuple[int, ...]
    runs: tuple[str, ...]
    date: str
    command: str
    device: str
    metrics: dict[str, Estimate]
    curves: dict[str, dict[str, Estimate]]
    proposed: str = ""
    radii: NDArray[np.float64] | None = field(default=None, compare=False, repr=False)

    def shared(self) -> dict[str, Any]:
        """All but the metrics, as JSON values."""
        own = {name: getattr(self, name) for name in (*SHARED, "date", "command", "device")}
        return own | {"seeds": list(self.seeds), "runs": list(self.runs)}


def board_rows(results: Iterable[Result], radii: Sequence[float]) -> list[Row]:
    """Rows of the board from results: those with the same recipe are one row; a result without one stands alone."""
    recipes: dict[str, list[Result]] = {}
    for result in results:
        recipes.setdefault(result.recipe or result.run_id, []).append(result)
    known = tuple(columns().values())
    return [
        board_row(tuple(sorted(group, key=lambda result: (result.seed or 0, result.run_id))), tuple(radii), known)
        for group in recipes.values()
    ]


@lru_cache(maxsize=2**13)
def board_row(results: tuple[Result, ...], radii: tuple[float, ...], known: tuple[Column, ...]) -> Row:
    """The row of runs that differ in the seed alone; `known` are the columns it has.

    Intervals of shares are Wilson's, that of the ACR is `mean_interval`'s; with several seeds each image's value is
    averaged over them first. Where a result has no value for each image (clean accuracy, averaging error), the runs'
    own bounds are averaged, which is no narrower: the standard deviation of a mean is at most the mean of the standard
    deviations.
    """
    metrics, curves = {}, {}
    certified, at_radius = certificate_intervals(results, radii)
    for column in known:
        own = runs_with(column, results)
        if not own:
            nothing = Estimate()
            if column.by_radius:
                curves[column.key] = {str(r): nothing for r in radii}
            else:
                metrics[column.key] = nothing
        elif column.by_radius:
            bounds = at_radius.get(column.key, {})
            shares = {r: mean_and_spread(values) for r, values in curve_values(own, column, radii).items()}
            curves[column.key] = {
                r: Estimate(mean, bounds.get(r) if mean is not None else None, spread)
                for r, (mean, spread) in shares.items()
            }
        elif column.of:
            metrics[column.key] = count(own, column.path, column.of)
        else:
            mean, spread = mean_and_spread(result.metric(column.path) for result in own)
            metrics[column.key] = Estimate(mean, certified.get(column.key) or bounds_of(own, column), spread)
    return Row(
        **{name: getattr(results[0], name) for name in SHARED},
        seeds=tuple(result.seed for result in results if result.seed is not None),
        runs=tuple(result.run_id for result in results),
        date=max(result.date for result in results),
        command=" && ".join(result.command for result in results if result.command),
        device=devices(results),
        metrics=metrics,
        curves=curves,
        proposed=getattr(results[0], "method_citation", ""),
        radii=radii_of(results),
    )


def runs_with(column: Column, results: Sequence[Result]) -> list[Result]:
    """The runs whose metric in a column can be averaged: of a protocol with the settings of the first that has it."""
    having = [
        result
        for result in results
        if (by_radius(result, column) if column.by_radius else result.metric(column.of or column.path) is not None)
    ]
    if len(having) < 2:
        return having
    owners = [name for name, protocol in PROTOCOLS.loadable().items() if column in protocol.columns]
    first = having[0].sections
    return [
        result
        for result in having
        if all(result.sections.get(name, first.get(name)) == first.get(name, result.sections.get(name))
               for name in owners)
    ]  # fmt: skip


def devices(results: Sequence[Result]) -> str:
    """Where the seconds were measured."""
    timings: list[Any] = [getattr(result, "timing", None) for result in results]
    return ", ".join(sorted({str(timing.get("device")) for timing in timings if timing}))


def count(results: Sequence[Result], path: str, of: str) -> Estimate:
    """A count and its total, added up over the runs; None where none has it."""
    if not results:
        return Estimate()
    found, total = (sum(result.metric(place) or 0 for result in results) for place in (path, of))
    return Estimate(found, of=total)


def curve_values(results: Sequence[Result], column: Column, radii: Sequence[float]) -> dict[str, list[float | None]]:
    """Each result's value at the radii, by radius; None where a result does not have it.

    Certified accuracy is counted from the images' radii, whatever the board's radii were when the result was made, and
    read from a result that has none.
    """
    found: dict[str, list[float | None]] = {str(r): [] for r in radii}
    for result in results:
        if result.radius is not None and column.key in CURVES.values():
            hits, total = counts(result.radius, column.key, radii)
            known = [bool(total) and is_decided(result, r) for r in radii]
            values = [float(hit / total) if is_known else None for hit, is_known in zip(hits, known, strict=True)]
        else:
            own = by_radius(result, column)
            values = [own.get(str(r)) for r in radii]
        for r, value in zip(found, values, strict=True):
            found[r].append(value)
    return found


def by_radius(result: Result, column: Column) -> Mapping[str, float | None]:
    """What a result has of a column by radius, as text; empty where it has nothing."""
    first, *inner = column.path.split(".")
    found: Mapping[str, Any] = getattr(result, first, None) or {}
    for name in inner:
        found = found.get(name) or {}
    return found


def is_decided(row: Decided, r: float) -> bool:
    """Whether it is known which images are certified at r: adaptive sampling decides some radii only, and none are
    beyond the reach of its draws."""
    if not row.decided or r in row.decided:
        return True
    return r > reach(row)


def reach(row: Decided) -> float:
    """The largest radius that a vote of the row's draws can be certified at."""
    return _largest_radius(row.n or 0, row.alpha or 0.0, row.sigma or 0.0)


_largest_radius = cache(largest_radius)
