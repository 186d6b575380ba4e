"""What a row's numbers are averaged from, and how uncertain they are: means over seeds, and 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from suite.protocols.protocol import Column
from suite.statistics import intervals
from suite.statistics.bounds import Convention
from suite.statistics.intervals import averaged_share, mean_interval, proportion_interval
from suite.store.result import Result

CURVES: dict[Convention, str] = {"standard": "certified_accuracy", "paper": "certified_accuracy_paper"}
Interval = tuple[float, float] | None


def hits_and_counted(
    radius: NDArray[np.float64], curve: str, radii: Sequence[float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images are certified at each radius and which count, in the convention of `curve`, one of CURVES.

    `radius` (…, N) is an image's R where it is classified correctly, −1 where wrongly, NaN where abstained; (…, N) →
    (R, …, N), (…, N).
    """
    r = np.reshape(radii, (-1, *[1] * radius.ndim))
    if curve == CURVES["standard"]:
        return radius >= r, np.ones(radius.shape, bool)
    return radius > r, ~np.isnan(radius)


def counts(radius: NDArray[np.float64], curve: str, radii: Sequence[float]) -> tuple[NDArray[np.int64], int]:
    """How many of N images are certified at each radius (R,), and how many count; as `hits_and_counted` has them."""
    known = np.sort(radius[~np.isnan(radius)])
    standard = curve == CURVES["standard"]
    below = np.searchsorted(known, radii, "left" if standard else "right")
    return len(known) - below, len(radius if standard else known)


def gains(radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each image adds to the ACR: R where it is classified correctly, 0 elsewhere; `radius` as above."""
    return np.nan_to_num(radius, nan=-1).clip(0)


def p_as(radius: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """What each image adds to the mean p_A: Φ(R/σ) where it is classified correctly, 0 elsewhere."""
    return np.where(radius >= 0, ndtr(gains(radius) / sigma), 0.0)


def mean_and_spread(values: Iterable[float | None]) -> tuple[float | None, float | None]:
    """The mean of the values that are known, and their sample standard deviation if there are two."""
    known = [value for value in values if value is not None]
    if not known:
        return None, None
    if len(known) == 1:
        return float(known[0]), None
    mean = fmean(known)
    squares = math.fsum((value - mean) ** 2 for value in known)
    return mean, math.sqrt(squares / (len(known) - 1))


def radii_of(results: Sequence[Result]) -> NDArray[np.float64] | None:
    """The radii of S runs on the same N images (S, N), as `Row.radii`; None where not all have them."""
    known = [result.radius for result in results if result.radius is not None]
    return np.stack(known) if len(known) == len(results) else None


def certificate_intervals(
    results: Sequence[Result], radii: Sequence[float]
) -> tuple[dict[str, Interval], dict[str, dict[str, Interval]]]:
    """95 % intervals of what is counted from certificates: by column, and by column and radius."""
    names = [str(r) for r in radii]
    if (radius := radii_of(results)) is not None:
        curves = {}
        for curve in CURVES.values():
            if len(results) == 1:
                found, total = counts(radius[0], curve, radii)
                low, high = intervals.wilson(found / max(total, 1), total or np.nan, 0.95)
            else:
                _, low, high = averaged_share(*hits_and_counted(radius, curve, radii))
            curves[curve] = dict(zip(names, map(pair, low, high), strict=True))
        _, low, high = averaged_share(np.isnan(radius), np.ones_like(radius))
        means = {"abstained": pair(low, high), "acr": mean_interval(gains(radius).mean(0))}
        if sigma := results[0].kind == "vote" and results[0].sigma:
            means["p_a"] = mean_interval(p_as(radius, sigma).mean(0))
        return means, curves
    first = results[0]
    if len(results) > 1 or first.read != "log":
        return {}, {}
    images, abstained = first.images or 0, first.abstained or 0.0
    totals = {CURVES["standard"]: images, CURVES["paper"]: round(images * (1 - abstained))}
    own = {curve: getattr(first, curve) for curve in totals}
    curves = {curve: wilsons({r: own[curve].get(r) for r in names}, total) for curve, total in totals.items()}
    own = {name: getattr(first, f"{name}_interval", None) for name in ("acr", "p_a")}
    means = {name: bounds and (bounds[0], bounds[1]) for name, bounds in own.items()}
    return {"abstained": wilson(first.abstained, images), **means}, curves


def bounds_of(results: Sequence[Result], column: Column) -> Interval:
    """The mean of the runs' own bounds of a metric; None where one of them is not known."""
    if column.key == "clean_accuracy":
        bounds = [wilson(result.clean_accuracy, clean_images(result)) for result in results]
    elif column.interval:
        low, high = column.interval
        ends = [(result.metric(low), result.metric(high)) for result in results]
        bounds = [None if a is None or b is None else (a, b) for a, b in ends]
    else:
        return None
    known = [ends for ends in bounds if ends]
    return (fmean(low for low, _ in known), fmean(high for _, high in known)) if known else None


def clean_images(result: Result) -> int:
    """How many images the clean accuracy is of: a pass sees the whole test set, a vote those that are certified."""
    return (result.single_pass_images if result.deployed == "pass" else result.images) or 0


def wilsons(shares: Mapping[str, float | None], total: int) -> dict[str, Interval]:
    """Wilson's intervals of shares that are known, of one total; None of the others."""
    known = {name: round(share * total) / total for name, share in shares.items() if share is not None and total}
    low, high = intervals.wilson(list(known.values()), max(total, 1), 0.95)
    return dict.fromkeys(shares) | dict(zip(known, map(pair, low, high), strict=True))


def wilson(share: float | None, total: int) -> Interval:
    return proportion_interval(share * total, total) if share is not None and total else None


def pair(low: Any, high: Any) -> Interval:
    return (float(low), float(high)) if np.isfinite(low) and np.isfinite(high) else None
