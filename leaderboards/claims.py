"""What "Adversarial Boot Camp" (Campbell, Finlay and Oberman 2020) says of one method beside another, and whether rows
bear it out: a difference on the same images, with its interval.

Each comparison is of a figure that every image has or has not (misclassified, abstained on), averaged over the images
that have it, or their median; over seeds it is the mean. Its 95 % interval is that of a percentile bootstrap over the
images (Efron 1979), for these seeds: both rows are drawn with the same images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Values = Callable[[pd.DataFrame], "pd.Series[float]"]  # of a protocol's records: NaN where an image has none
DRAWS = 1_000  # of the bootstrap
FEWEST = 20  # images, for an interval


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
    reduce: Literal["mean", "median"] = "mean"


def _claims() -> Iterator[Claim]:
    for other in ("randomized-smoothing", "smoothadv"):
        for r in (0.1, 0.15, 0.2, 0.25):  # at 0.05 the plot has heat and randomized smoothing together
            at = partial(certified, r=r)
            yield Claim("Figure 1a", f"certified accuracy at {r:g}", "heat", other, "certify", at)
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
    """What rows say of a claim: the figure of both methods, their difference and its 95 % interval."""

    claim: Claim
    more: float
    less: float
    difference: float
    low: float
    high: float

    @property
    def outcome(self) -> Literal["borne out", "the other way round", "undecided"]:
        if self.low > 0:
            return "borne out"
        return "the other way round" if self.high < 0 else "undecided"


def verdicts(records: Mapping[str, Mapping[str, Sequence[pd.DataFrame]]]) -> list[Verdict]:
    """The claims that can be judged by records: of each method, of each protocol, a table (idx, …) for each seed."""
    found = []
    for claim in CLAIMS:
        more, less = (records.get(method, {}).get(claim.protocol, ()) for method in (claim.more, claim.less))
        if more and less and (verdict := judged(claim, more, less)):
            found.append(verdict)
    return found


def judged(claim: Claim, more: Sequence[pd.DataFrame], less: Sequence[pd.DataFrame]) -> Verdict | None:
    """A claim on the images that all records have; None where these are too few, or none has a value."""
    shared = sorted(set.intersection(*(set(own["idx"]) for own in (*more, *less))))
    if len(shared) < FEWEST:
        return None

    def matrix(seeds: Sequence[pd.DataFrame]) -> NDArray[np.float64]:  # (S, N)
        return np.stack([claim.values(own.set_index("idx").loc[shared]).to_numpy(float) for own in seeds])

    a, b = matrix(more), matrix(less)
    if np.isnan(np.concatenate((a, b))).all(axis=1).any():
        return None
    drawn = np.random.default_rng(0).integers(len(shared), size=(DRAWS, len(shared)))
    whole = np.arange(len(shared))[None]
    [own_a], [own_b] = reduced(a, whole, claim.reduce), reduced(b, whole, claim.reduce)
    differences = reduced(a, drawn, claim.reduce) - reduced(b, drawn, claim.reduce)
    if not np.isfinite([own_a, own_b, *differences]).all():
        return None
    low, high = np.quantile(differences, [0.025, 0.975])
    return Verdict(claim, float(own_a), float(own_b), float(own_a - own_b), float(low), float(high))


def reduced(values: NDArray[np.float64], drawn: NDArray[np.int64], reduce: str) -> NDArray[np.float64]:
    """The mean over seeds of the mean or median over the images drawn that have a value: (S, N), (B, N) → (B,)."""
    over = np.nanmean if reduce == "mean" else np.nanmedian
    with np.errstate(invalid="ignore"):
        return np.mean([over(seed[drawn], axis=1) for seed in values], axis=0)
