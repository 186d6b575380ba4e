"""Certified accuracy against radius, and successful attacks against distance, from the records behind a row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from leaderboards.estimates import CURVES
from leaderboards.published import PUBLISHED, paper_rows, read_entry
from leaderboards.published.fetch import published_records
from leaderboards.published.figures import Figures
from leaderboards.published.kept import records_file, run_folder
from leaderboards.rows import Decided, reach
from suite.boards.board import Roots
from suite.protocols.certify import image_radii
from suite.statistics.bounds import Convention
from suite.statistics.intervals import averaged_share
from suite.store.records import read_records

ATTACKS = {"best": "the nearest found", "pgd": "PGD", "ddn": "DDN"}  # what distances records of `attack` may have


class Recorded(Protocol):
    """What its records are found by: a row of a board, or a line of its table."""

    @property
    def source(self) -> str: ...
    @property
    def run_id(self) -> str: ...
    @property
    def runs(self) -> Sequence[str]: ...


class Drawn(Recorded, Decided, Protocol):
    """A row with its records and what sets the radii of its curve."""


def curve(
    records: pd.DataFrame | Figures,
    convention: Convention = "standard",
    points: int = 101,
    largest: float | None = None,
    decided: Sequence[float] | None = None,
) -> pd.DataFrame:
    """Certified accuracy on an even grid of radii from 0 to just above the largest one, or to `largest`.

    Records of adaptive sampling give it at the radii that were `decided`, and say too little between them. Figures of a
    published row give it on a grid of their own (`Figures.grid`), or at those of `decided` that they have.
    `records` has a row per image, by idx, with radius, correct and predict (−1: abstained); with a column `run` an
    image has one for each of several seeds, over which it is averaged. Columns: radius, accuracy, and low and high, the
    95 % interval for a finite test set (`averaged_share`). Nothing where there are no records, NaN where none counts.
    """
    if isinstance(records, Figures):
        return records.curve(convention, decided or records.grid(points, largest))
    if records.empty:
        return pd.DataFrame(columns=["radius", "accuracy", "low", "high"], dtype=float)
    seeds = records.groupby("run") if "run" in records else [("", records)]
    radius = np.stack([image_radii(own) for _, own in seeds])  # (S, N): −1 wrong, NaN abstained
    even = np.linspace(0, largest or 1.02 * max(np.nanmax(radius, initial=0.0), 1e-9), points)
    grid = np.array(decided or even)
    if convention == "standard":
        hits, counted = radius >= grid[:, None, None], np.ones_like(radius)
    else:
        hits, counted = radius > grid[:, None, None], ~np.isnan(radius)
    return pd.DataFrame(dict(zip(("accuracy", "low", "high"), averaged_share(hits, counted), strict=True))).assign(
        radius=grid
    )[["radius", "accuracy", "low", "high"]]


def row_records(row: Recorded, runs: Path, published: Roots = PUBLISHED, protocol: str = "certify") -> pd.DataFrame:
    """The records behind a row of the board: a line per image, by idx, and for several seeds per `run`.

    None where the row's run went through no such protocol, or is gone, or was published without a log. UserError where
    the log of a published row is not here.
    """
    if row.source == "published" and protocol == "certify":
        return published_records(row.run_id, published)
    if row.source != "run":
        return pd.DataFrame()
    files = {run: records_file(run_folder(run, runs, published), protocol) for run in row.runs}
    found = [read_records(file).assign(run=run) for run, file in files.items()]
    records = pd.concat([own for own in found if len(own)] or [pd.DataFrame()], ignore_index=True)
    return records if len(found) > 1 else records.drop(columns="run", errors="ignore")


def row_source(row: Recorded, runs: Path, published: Roots = PUBLISHED) -> pd.DataFrame | Figures:
    """What the curve of a row with records is drawn from: the figures of a published row, or a run's records."""
    return read_entry(row.run_id, published) if row.source == "published" else row_records(row, runs, published)


def row_curve(
    row: Drawn, runs: Path, convention: Convention = "standard", published: Roots = PUBLISHED
) -> pd.DataFrame:
    """The curve of a row of the board; of a row without a log its published points, without an interval."""
    if not row.source.startswith("paper"):
        return curve(row_source(row, runs, published), convention, decided=drawn_at(row))
    dataset = row.run_id.partition("/")[0]
    [own] = [paper for paper in paper_rows(dataset, published) if paper.run_id == row.run_id]
    points = getattr(own, CURVES[convention])
    accuracy = [float(share) for share in points.values()]
    return pd.DataFrame({"radius": [float(r) for r in points], "accuracy": accuracy, "low": accuracy, "high": accuracy})


def drawn_at(row: Decided) -> list[float] | None:
    """The radii of the curve of an adaptive row: those decided that its draws reach."""
    return [r for r in row.decided if r <= reach(row)] if row.decided else None


def largest_radius(records: pd.DataFrame | Figures) -> float:
    return records.largest if isinstance(records, Figures) else float(records["radius"].max())


def attack_curve(records: pd.DataFrame, points: int = 101) -> pd.DataFrame:
    """The share of the attacked images that each attack changes within a distance ("Adversarial Boot Camp", Figure 2).

    `records` has a row per image with correct and distances of ATTACKS (none where nothing was found); images that are
    misclassified as they are do not count. With a column `run` an image has a row for each of several seeds, and the
    shares are the means over them. Columns: distance, on an even grid from 0 to just above the largest, and those of
    ATTACKS that the records have; NaN where a seed attacked no image.
    """
    names = [name for name in ATTACKS if name in records]
    distances = records[records["correct"] == 1][names].apply(pd.to_numeric).astype(float)
    grid = np.linspace(0, 1.02 * max(np.nanmax(distances.to_numpy(), initial=0.0), 1e-9), points)
    seeds = records["run"] if "run" in records else pd.Series("", records.index)
    attacked = [distances[seeds[distances.index] == seed] for seed in seeds.unique()]
    shares = {name: [np.mean([(own[name] <= d).mean() for own in attacked]) for d in grid] for name in names}
    return pd.DataFrame({"distance": grid, **shares})
