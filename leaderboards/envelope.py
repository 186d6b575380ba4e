"""The best certified accuracy over σ of each method, for each group of rows that are alike in all but σ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from leaderboards.board import table_rows
from leaderboards.comparable import title
from leaderboards.curves import curve, largest_radius
from leaderboards.published.figures import Figures
from leaderboards.rows import COMPARABLE
from suite.statistics.bounds import Convention

ALIKE = [name for name in COMPARABLE if name != "sigma"]
NAMED = ("method", "arch", "variant")


@dataclass(frozen=True)
class EnvelopeGroup:
    """What compares but for σ: each name's best row at each of several σ, and the names that have one σ only."""

    title: str
    by_sigma: dict[str, dict[float, pd.Series[Any]]]
    single: list[str]


def envelope_groups(frame: pd.DataFrame) -> list[EnvelopeGroup]:
    """The groups in which some method has several σ, none of its methods left out. Of a table in order, so that the
    first row at each σ is the best; rows without records and margins, which have no σ, do not count."""
    recorded = frame[(frame["read"] == "log") & (frame["kind"] == "vote")]
    found = []
    for _, group in recorded.groupby(ALIKE, sort=False, dropna=False):
        several: dict[str, dict[float, pd.Series[Any]]] = {}
        single = []
        own = group["variant"].where(group["source"] != "run", "")  # a run may be tuned for its σ
        for key, rows in group.assign(variant=own).groupby(list(NAMED), sort=False, dropna=False):
            name = ", ".join(filter(None, map(str, key)))
            best = table_rows(rows.drop_duplicates("sigma").sort_values("sigma"))
            if len(best) > 1:
                several[name] = {row["sigma"]: row for row in best}
            else:
                single.append(name)
        if several:
            first = group.iloc[0]
            terms = title(first).replace(f"σ = {first['sigma']:g}, ", "", 1)
            found.append(EnvelopeGroup(terms, several, single))
    return found


def envelope(
    sources: Mapping[float, pd.DataFrame | Figures],
    convention: Convention = "standard",
    decided: Sequence[float] | None = None,
) -> pd.DataFrame:
    """The best curve over σ at each radius, from what `leaderboards.curves.curve` takes at each σ, on a grid of all.

    Columns: radius, accuracy, low, high, sigma (NaN where nothing is certified). The band is that of the σ chosen at a
    radius; that it was chosen on the same images is not in it.
    """
    largest = 1.02 * max(largest_radius(own) for own in sources.values())
    if figures := [own for own in sources.values() if isinstance(own, Figures)]:
        decided = decided or figures[0].grid(largest=largest)  # one that all of them have
    curves = {s: curve(own, convention, largest=largest, decided=decided) for s, own in sources.items()}
    columns = ("accuracy", "low", "high")
    sides = {
        name: pd.concat({s: own.set_index("radius")[name] for s, own in curves.items()}, axis=1)
        .sort_index()
        .fillna(0.0)
        for name in columns
    }
    chosen = sides["accuracy"].idxmax(axis=1)
    nothing = sides["accuracy"].max(axis=1) <= 0
    own = {
        name: side.to_numpy()[np.arange(len(side)), side.columns.get_indexer(pd.Index(chosen))]
        for name, side in sides.items()
    }
    sigma = chosen.astype(float).mask(nothing)
    return pd.DataFrame({"radius": chosen.index, **own, "sigma": sigma.to_numpy()}).astype(float)
