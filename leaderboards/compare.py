"""Two rows of a board on the images that both were certified on, over all of their seeds: what one certifies and the
other does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leaderboards.estimates import CURVES, hits_and_counted
from leaderboards.rows import Decided, is_decided
from suite.protocols.certify import image_radii
from suite.statistics.bounds import Convention
from suite.statistics.intervals import mean_difference

OUTCOMES = ("both", "only A", "only B", "neither")
PAIRED = "images are paired by index and label, and the pixels may not be the same"


@dataclass(frozen=True)
class Pair:
    """The images that two rows' records have under the same idx and label, a line each, in order.

    `a` and `b` are their radii, (seeds, N) each: R where the answer is right, −1 where wrong, NaN where abstained.
    """

    images: pd.DataFrame
    a: NDArray[np.float64]
    b: NDArray[np.float64]

    @property
    def largest(self) -> float:
        """The largest radius of an image that is classified correctly."""
        return max(float(np.nanmax(own, initial=0.0)) for own in (self.a, self.b))


def paired(a: pd.DataFrame, b: pd.DataFrame) -> Pair:
    """Two rows' records, as `leaderboards.curves.row_records` gives them, on the images that all of their runs have."""
    sides = [by_image(records) for records in (a, b)]
    both = pd.concat(sides, axis=1, join="inner", keys=["a", "b"]).sort_index()
    first = sides[0].shape[1]
    values = both.to_numpy(float).T
    return Pair(both.index.to_frame(index=False), values[:first], values[first:])


def by_image(records: pd.DataFrame) -> pd.DataFrame:
    """The radii of a row's runs, a column each, by idx and label; images that not all of the runs have are left out."""
    runs = [own for _, own in records.groupby("run")] if "run" in records else [records]
    columns = [pd.Series(image_radii(own), pd.MultiIndex.from_frame(own[["idx", "label"]])) for own in runs]
    return pd.concat(columns, axis=1, join="inner", keys=map(str, range(len(columns))))


def certified_shares(
    pair: Pair, r: float, convention: Convention = "standard"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Whether each seed of A, and of B, certifies each image at radius r: 1, 0, or NaN where it does not count."""
    found = []
    for radius in (pair.a, pair.b):
        hits, counted = hits_and_counted(radius, CURVES[convention], [r])
        found.append(np.where(counted, hits[0].astype(float), np.nan))
    return found[0], found[1]


def every_seed_counts(sides: Iterable[NDArray[np.float64]]) -> bool:
    """Whether each seed of both rows has an image that counts: a share of none is not known."""
    return all(side.size and (~np.isnan(side)).any(axis=1).all() for side in sides)


def outcomes(pair: Pair, r: float, convention: Convention = "standard") -> pd.Series[str]:
    """Which of the rows certifies each image at radius r, one of OUTCOMES; in the paper's convention none of an image
    that a row abstains on. A row of several seeds certifies an image where at least half of them do."""
    a, b = (np.nan_to_num(own).mean(axis=0) >= 0.5 for own in certified_shares(pair, r, convention))
    names = np.select([a & b, a, b], OUTCOMES[:3], OUTCOMES[3])
    found = pd.Series(names, index=pair.images.index, dtype="str")
    abstained = np.isnan(pair.a).any(axis=0) | np.isnan(pair.b).any(axis=0)
    return found[np.flatnonzero(~abstained)] if convention == "paper" else found


def difference(
    pair: Pair, convention: Convention = "standard", points: int = 101, at: Sequence[float] = ()
) -> pd.DataFrame:
    """Certified accuracy of A minus that of B on an even grid of radii from 0 to just above the largest one, or `at`
    given ones: those of `decided_by_all` where sampling was adaptive.

    Columns: radius, difference, and low and high, the paired 95 % interval for a finite test set, for these seeds
    (`mean_difference`); no lines where no image is shared, or where a seed counts none.
    """
    lines = []
    for r in at or np.linspace(0, 1.02 * max(pair.largest, 1e-9), points):
        sides = certified_shares(pair, float(r), convention)
        if every_seed_counts(sides):
            lines.append((r, *mean_difference(*sides, shares=True)))
    return pd.DataFrame(lines, columns=["radius", "difference", "low", "high"], dtype=float)


def decided_by_all(rows: Iterable[Decided]) -> list[float]:
    """The radii at which rows can be compared where adaptive sampling made one of them; else none."""
    rows = list(rows)
    some = {r for row in rows for r in row.decided or ()}
    return sorted(r for r in some if all(is_decided(row, r) for row in rows))


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> pd.DataFrame:
    """The settings of two rows that differ, a line each: setting, A, B; nested ones by their dotted name."""
    sides = [pd.json_normalize(dict(own)).to_dict("records")[0] if own else {} for own in (a, b)]
    lines = [
        (name, *said)
        for name in dict.fromkeys([*sides[0], *sides[1]])
        if len(set(said := ["–" if side.get(name) is None else str(side[name]) for side in sides])) > 1
    ]
    return pd.DataFrame(lines, columns=["setting", "A", "B"])


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
