"""Two rows of a board on the images that both were certified on: what one certifies and the other does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from leaderboards.rows import Decided, is_decided
from suite.statistics.bounds import Convention
from suite.statistics.intervals import paired_interval

OUTCOMES = ("both", "only A", "only B", "neither")
PAIRED = "images are paired by index and label, and the pixels may not be the same"


def shared_images(a: pd.DataFrame, b: pd.DataFrame, convention: Convention = "standard") -> pd.DataFrame:
    """The images that both rows' records have under the same idx and label, a line each.

    Records are as `leaderboards.curves.row_records` gives them. Columns: idx, label and, for each row, radius_a (0
    where it abstained), predict_a (−1: abstained), correct_a (bool). In the paper's convention, which leaves
    abstentions out, only those that neither row abstains on.
    """
    columns = ["idx", "label", "radius", "predict", "correct"]
    both = a[columns].merge(b[columns], on=["idx", "label"], suffixes=("_a", "_b"))
    both = both.astype({"correct_a": bool, "correct_b": bool})
    if convention == "paper":
        both = both[(both["predict_a"] != -1) & (both["predict_b"] != -1)]
    return both.sort_values("idx", ignore_index=True)


def certified(shared: pd.DataFrame, row: str, r: float, convention: Convention = "standard") -> pd.Series[bool]:
    """Whether row "a" or "b" certifies each image at radius r: correct and R ≥ r, in the paper's convention R > r."""
    radius = shared[f"radius_{row}"]
    reaches = radius >= r if convention == "standard" else radius > r
    return reaches & shared[f"correct_{row}"] & (shared[f"predict_{row}"] != -1)


def outcomes(shared: pd.DataFrame, r: float, convention: Convention = "standard") -> pd.Series[str]:
    """Which of the rows certifies each image at radius r: one of OUTCOMES."""
    a, b = certified(shared, "a", r, convention), certified(shared, "b", r, convention)
    names = np.select([a & b, a, b], OUTCOMES[:3], OUTCOMES[3])
    return pd.Series(names, index=shared.index, dtype="str")


def difference(
    shared: pd.DataFrame, convention: Convention = "standard", points: int = 101, at: Sequence[float] = ()
) -> pd.DataFrame:
    """Certified accuracy of A minus that of B on an even grid of radii from 0 to just above the largest one, or `at`
    given ones: those of `decided_by_all` where sampling was adaptive.

    Columns: radius, difference, and low and high, the paired 95 % interval for a finite test set; no lines where no
    image is shared.
    """
    if shared.empty:
        return pd.DataFrame(columns=["radius", "difference", "low", "high"], dtype=float)
    largest = max(shared["radius_a"].max(), shared["radius_b"].max())
    lines = []
    for r in at or np.linspace(0, 1.02 * max(largest, 1e-9), points):
        counts = outcomes(shared, r, convention).value_counts()
        only_a, only_b = int(counts.get("only A", 0)), int(counts.get("only B", 0))
        low, high = paired_interval(only_a, only_b, len(shared))
        lines.append({"radius": r, "difference": (only_a - only_b) / len(shared), "low": low, "high": high})
    return pd.DataFrame(lines)


def decided_by_all(rows: Iterable[Decided]) -> list[float]:
    """The radii at which rows can be compared where adaptive sampling made one of them; else none."""
    rows = list(rows)
    some = {r for row in rows for r in row.decided or ()}
    return sorted(r for r in some if all(is_decided(row, r) for row in rows))


def same_images(a: str, b: str, specs: Sequence[Mapping[str, Any] | None] = (None, None)) -> str:
    """Why an index and a label may not stand for the same pixels in both rows; empty where they do.

    `a` and `b` are the names of the rows' data; `specs` are the runs' specs with the fingerprints of their data, None
    for a row without one.
    """
    prints = [spec.get("data") if spec else None for spec in specs]
    if all(prints):
        return "" if prints[0] == prints[1] else f"the data differ ({prints[0]} and {prints[1]}); {PAIRED}"
    if a != b:
        return f"the data differ ({a} and {b}); {PAIRED}"
    if any(prints):
        return f"a published log does not say which pixels it is of; {PAIRED}"
    return ""
