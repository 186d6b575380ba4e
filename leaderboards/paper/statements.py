"""What "Adversarial Boot Camp" (Campbell, Finlay and Oberman 2020) says of one method beside another, and whether rows
bear it out: a difference on the same images, with its interval.

Each comparison is of a figure that every image has or has not (misclassified, abstained on), averaged over the images
that have it, or their median; over seeds it is the mean. Its 95 % interval is over test sets, for these seeds, the same
images for both rows: of means and shares `mean_difference` of `suite.statistics.intervals`, of medians a percentile
bootstrap over the images (Efron 1979). With FEWEST images they cover 0.94 to 0.95 for means, 0.95 and more for shares,
0.96 for medians (`tests/test_coverage.py`). A median of ties has none: where many images share it, it moves in steps,
and the bootstrap says nothing of how far.
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

from suite.statistics.intervals import FEWEST, mean_difference

Values = Callable[[pd.DataFrame], "pd.Series[float]"]  # of a protocol's records: NaN where an image has none
DRAWS = 1_000  # of the bootstrap
SAME = 1e-3  # part of a median that its neighbours may differ from it and still be ties


def certified(records: pd.DataFrame, r: float) -> pd.Series[float]:
    """Whether an image is certified at r, by the paper's convention: R > r, abstentions left out."""
    hit = (records["correct"] == 1) & (records["radius"] > r)
    return hit.astype(float).where(records["predict"] != -1)


def answered(records: pd.DataFrame) -> pd.Series[float]:
    return records["radius"].where(records["predict"] != -1)


def bounded(records: pd.DataFrame) -> pd.Series[float]:
    return records["radius"].where(records["correct"] == 1)


def attacked(records: pd.DataFrame, attack: str, missed: float = np.nan) -> pd.Series[float]:
    """The distance of the image found; `missed` where none was, by default left out. NaN without such an attack."""
    if attack not in records:
        return pd.Series(np.nan, records.index)
    return pd.to_numeric(records[attack]).astype(float).fillna(missed).where(records["correct"] == 1)


@dataclass(frozen=True)
class Claim:
    """`item` of the paper says that `figure` is larger for method `more` than for method `less`."""

    item: str
    figure: str
    more: str
    less: str
    protocol: str
    values: Values
    reduce: Literal["mean", "share", "median"] = "mean"
    radius: float | None = None
    """at which images have to be known to be certified or not"""


def _claims() -> Iterator[Claim]:
    for other in ("randomized-smoothing", "smoothadv"):
        for r in (0.1, 0.15, 0.2, 0.25):  # at 0.05 the plot has heat and randomized smoothing together
            at = partial(certified, r=r)
            yield Claim("Figure 1a", f"certified accuracy at {r:g}", "heat", other, "certify", at, "share", r)
        pgd, ddn, best = (partial(attacked, attack=attack) for attack in ("pgd", "ddn", "best"))
        yield Claim("Table 5", "mean L-bound", "heat", other, "lbound", bounded)
        yield Claim("Table 5", "median L-bound", "heat", other, "lbound", bounded, "median")
        yield Claim("Table 5", "mean PGD distance", other, "heat", "attack", pgd)  # the exception that the paper names
        yield Claim("Table 5", "median PGD distance", "heat", other, "attack", partial(pgd, missed=np.inf), "median")
        yield Claim("Table 5", "mean DDN distance", "heat", other, "attack", ddn)
        yield Claim("Table 5", "median DDN distance", "heat", other, "attack", partial(ddn, missed=np.inf), "median")
        # the paper's distances are those of its steps: beside them, the nearest found, whichever search found it
        yield Claim("Table 5", "mean distance, nearest found", "heat", other, "attack", best)
        yield Claim(
            "Table 5", "median distance, nearest found", "heat", other, "attack", partial(best, missed=np.inf), "median"
        )
    yield Claim("Table 4", "mean certified radius", "madry-heat", "madry", "certify", answered)
    yield Claim("Table 4", "median certified radius", "madry-heat", "madry", "certify", answered, "median")


CLAIMS = tuple(_claims())


@dataclass(frozen=True)
class Verdict:
    """What rows say of a claim: the figure of both methods, their difference and its 95 % interval, if it has one."""

    claim: Claim
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
    """The claims that can be judged by records: of each method, of each protocol, a table (idx, …) for each seed."""
    found = []
    for claim in CLAIMS:
        more, less = (records.get(method, {}).get(claim.protocol, ()) for method in (claim.more, claim.less))
        if more and less and (verdict := judged(claim, more, less)):
            found.append(verdict)
    return found


def judged(claim: Claim, more: Sequence[pd.DataFrame], less: Sequence[pd.DataFrame]) -> Verdict | None:
    """A claim on the images that all records have; None where fewer than FEWEST of a row have the figure, or where a
    median is of images that an attack did not change."""
    shared = sorted(set.intersection(*(set(own["idx"]) for own in (*more, *less))))

    def matrix(seeds: Sequence[pd.DataFrame]) -> NDArray[np.float64]:  # (S, N)
        return np.stack([claim.values(own.set_index("idx").loc[shared]).to_numpy(float) for own in seeds])

    a, b = matrix(more), matrix(less)
    if min((~np.isnan(own)).sum(axis=1).min() for own in (a, b)) < FEWEST:
        return None
    if claim.reduce == "median":
        return median_verdict(claim, a, b)
    difference, low, high = mean_difference(a, b, shares=claim.reduce == "share")
    x, y = (float(np.nanmean(own, axis=1).mean()) for own in (a, b))
    return Verdict(claim, x, y, difference, (low, high))


def median_verdict(claim: Claim, a: NDArray[np.float64], b: NDArray[np.float64]) -> Verdict | None:
    """The verdict on a difference of medians, over seeds their mean; a and b are (S, N)."""
    drawn = np.random.default_rng(0).integers(a.shape[1], size=(DRAWS, a.shape[1]))
    more, less = (float(np.nanmedian(own, axis=1).mean()) for own in (a, b))
    differences = medians(a, drawn) - medians(b, drawn)
    if not np.isfinite([more, less, *differences]).all():
        return None
    low, high = np.quantile(differences, [0.025, 0.975])
    interval = None if any(map(tied, (*a, *b))) else (float(low), float(high))
    return Verdict(claim, more, less, more - less, interval)


def medians(values: NDArray[np.float64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over seeds of the median over the images drawn that have a value: (S, N), (B, N) → (B,)."""
    with np.errstate(invalid="ignore"):
        return np.mean([np.nanmedian(seed[drawn], axis=1) for seed in values], axis=0)


def tied(values: NDArray[np.float64]) -> bool:
    """Whether more images share the median than √N/2, the standard error of its rank among N values."""
    known = values[~np.isnan(values)]
    median = np.median(known)
    return int((np.abs(known - median) <= SAME * abs(median)).sum()) > math.sqrt(known.size) / 2
