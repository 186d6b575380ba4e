"""What "Adversarial Boot Camp" (Campbell, Finlay and Oberman 2020) states of one method against another, and whether
rows bear it out: a difference on the same images, with its interval.

A statement is about a value that every image has or has not (misclassified, abstained on). It is averaged over the
images that have it, or its median is taken; over seeds the result is averaged. The 95 % interval is over test sets, for
these seeds, with the same images for both rows. For means and shares it is `mean_difference` of
`suite.statistics.intervals`, for medians a percentile bootstrap over the images (Efron 1979). With FEWEST images they
cover 0.94 to 0.95 for means, 0.95 and more for shares, 0.96 for medians (`tests/test_coverage.py`). A median of ties
has none: where many images share it, it moves in steps, and the bootstrap does not show by how much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

from suite.statistics.intervals import FEWEST, mean_difference

Values = Callable[[pd.DataFrame], "pd.Series[float]"]  # of a protocol's records: NaN where an image has none
DRAWS = 1_000  # of the bootstrap
SAME = 1e-3  # part of a median that its neighbours may differ from it and still be ties


def certified(records: pd.DataFrame, r: float) -> pd.Series[float]:
    """Whether an image is certified at r, by the paper's convention: R > r, abstentions left out."""
    hit = (records["correct"] == 1) & (records["radius"] > r)
    return hit.astype(float).where(records["predict"] != -1)


def certified_radius(records: pd.DataFrame) -> pd.Series[float]:
    return records["radius"].where(records["predict"] != -1)


def bound(records: pd.DataFrame) -> pd.Series[float]:
    return records["radius"].where(records["correct"] == 1)


def distance(records: pd.DataFrame, attack: str, missed: float = np.nan) -> pd.Series[float]:
    """The distance of the image found; `missed` where none was, by default left out. NaN without such an attack."""
    if attack not in records:
        return pd.Series(np.nan, records.index)
    return pd.to_numeric(records[attack]).astype(float).fillna(missed).where(records["correct"] == 1)


@dataclass(frozen=True)
class Statement:
    """`item` of the paper says that `metric` is larger for method `more` than for method `less`."""

    item: str
    metric: str
    more: str
    less: str
    protocol: str
    values: Values
    reduce: Literal["mean", "share", "median"] = "mean"
    radius: float | None = None
    """at which images have to be known to be certified or not"""


def _statements() -> Iterator[Statement]:
    for other in ("randomized-smoothing", "smoothadv"):
        for r in (0.1, 0.15, 0.2, 0.25):  # at 0.05 the plot has heat and randomized smoothing together
            at = partial(certified, r=r)
            yield Statement("Figure 1a", f"certified accuracy at {r:g}", "heat", other, "certify", at, "share", r)
        table5 = partial(Statement, "Table 5")
        yield table5("mean L-bound", "heat", other, "lbound", bound)
        yield table5("median L-bound", "heat", other, "lbound", bound, "median")
        # the paper's distances are those of its steps, so the nearest found, by whichever search, is compared as well
        for name, attack in (("PGD distance", "pgd"), ("DDN distance", "ddn"), ("distance, nearest found", "best")):
            more, less = (other, "heat") if attack == "pgd" else ("heat", other)  # the exception that the paper names
            yield table5(f"mean {name}", more, less, "attack", partial(distance, attack=attack))
            found = partial(distance, attack=attack, missed=np.inf)
            yield table5(f"median {name}", "heat", other, "attack", found, "median")
    yield Statement("Table 4", "mean certified radius", "madry-heat", "madry", "certify", certified_radius)
    yield Statement("Table 4", "median certified radius", "madry-heat", "madry", "certify", certified_radius, "median")


STATEMENTS = tuple(_statements())


@dataclass(frozen=True)
class Verdict:
    """What rows show of a statement: both methods' metric, the difference, and its 95 % interval if it has one."""

    statement: Statement
    more: float
    less: float
    difference: float
    interval: tuple[float, float] | None

    @property
    def outcome(self) -> Literal["borne out", "the other way round", "undecided", "a median of ties"]:
        if self.interval is None:
            return "a median of ties"
        low, high = self.interval
        if low > 0:
            return "borne out"
        return "the other way round" if high < 0 else "undecided"


def verdicts(records: Mapping[str, Mapping[str, Sequence[pd.DataFrame]]]) -> list[Verdict]:
    """The statements that records can judge: of each method and protocol a table (idx, …) for each seed."""
    found = []
    for statement in STATEMENTS:
        sides = (statement.more, statement.less)
        more, less = (records.get(method, {}).get(statement.protocol, ()) for method in sides)
        if more and less and (verdict := judge(statement, more, less)):
            found.append(verdict)
    return found


def judge(statement: Statement, more: Sequence[pd.DataFrame], less: Sequence[pd.DataFrame]) -> Verdict | None:
    """A statement on the images that all records have; None where fewer than FEWEST of a row have the value, or where a
    median is of images that an attack did not change."""
    shared = sorted(set.intersection(*(set(own["idx"]) for own in (*more, *less))))

    def matrix(seeds: Sequence[pd.DataFrame]) -> NDArray[np.float64]:  # (S, N)
        return np.stack([statement.values(own.set_index("idx").loc[shared]).to_numpy(float) for own in seeds])

    a, b = matrix(more), matrix(less)
    if min((~np.isnan(own)).sum(axis=1).min() for own in (a, b)) < FEWEST:
        return None
    if statement.reduce == "median":
        return median_verdict(statement, a, b)
    difference, low, high = mean_difference(a, b, shares=statement.reduce == "share")
    x, y = (float(np.nanmean(own, axis=1).mean()) for own in (a, b))
    return Verdict(statement, x, y, difference, (low, high))


def median_verdict(statement: Statement, a: NDArray[np.float64], b: NDArray[np.float64]) -> Verdict | None:
    """The verdict on a difference of medians, over seeds their mean; a and b are (S, N)."""
    more, less = (float(np.nanmedian(own, axis=1).mean()) for own in (a, b))

    def difference(images: NDArray[np.int64], axis: int) -> NDArray[np.float64]:  # of both rows, the same images
        return medians(a, images) - medians(b, images)

    found = bootstrap(
        (np.arange(a.shape[1]),), difference, n_resamples=DRAWS, method="percentile",
        random_state=np.random.default_rng(0),
    )  # fmt: skip
    if not np.isfinite([more, less, *found.bootstrap_distribution]).all():
        return None
    low, high = found.confidence_interval
    interval = None if any(map(has_ties, (*a, *b))) else (float(low), float(high))
    return Verdict(statement, more, less, more - less, interval)


def medians(values: NDArray[np.float64], images: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over seeds of the median over each sample of the images that have a value: (S, N), (…, N) → (…)."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.mean([np.nanmedian(seed[images], axis=1) for seed in values], axis=0))


def has_ties(values: NDArray[np.float64]) -> bool:
    """Whether more images share the median than √N/2, the standard error of its rank among N values."""
    known = values[~np.isnan(values)]
    median = np.median(known)
    return int((np.abs(known - median) <= SAME * abs(median)).sum()) > math.sqrt(known.size) / 2
