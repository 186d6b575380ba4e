"""The plots and tables of "Adversarial Boot Camp" (Campbell, Finlay and Oberman 2020), with the values of runs.

A run stands beside an item of the paper if it is on the item's data set, at its σ and with its top-k rule.
Architecture, data variant, n, images and seed may differ: the run's name says them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd

from leaderboards.curves import attack_curve, curve, drawn_at
from leaderboards.published import paper_values
from leaderboards.rows import is_decided
from suite.boards.board import load_board
from suite.statistics.bounds import certified_accuracy
from suite.store.result import Result

Records = Callable[[Result, str], pd.DataFrame]  # a run's records of a protocol


@dataclass(frozen=True)
class Item:
    """One figure or table of the paper.

    `kind` certified or attacked: a curve over radii or distances; radii: a summary of certified radii; else `metrics`,
    names of columns (with a unit) and where a run's result has them. `protocol` is the one whose records or metrics it
    shows, `attack` (pgd or ddn) the attack of an attack curve, `methods` those that the paper compares.
    """

    title: str
    dataset: str
    sigma: float
    top: int
    kind: Literal["certified", "attacked", "radii", "metrics"]
    protocol: str
    attack: str = ""
    metrics: dict[str, str] = field(default_factory=dict)
    methods: tuple[str, ...] = ("baseline", "randomized-smoothing", "smoothadv", "heat")


VOTED = ("randomized-smoothing", "smoothadv")  # methods that deploy a vote; the paper's others deploy a pass
CIFAR: dict[str, Any] = {"dataset": "cifar10", "sigma": 0.1, "top": 1}
IMAGENET: dict[str, Any] = {"dataset": "imagenet", "sigma": 0.25, "top": 5}
DISTANCES = {
    "L-bound, mean": "lbound.mean", "L-bound, median": "lbound.median",
    "L-bound, probit form, mean": "lbound.probit.mean", "L-bound, probit form, median": "lbound.probit.median",
    "certified average, mean": "lbound.soft.mean", "certified average, median": "lbound.soft.median",
    "PGD, mean": "attack.pgd.mean", "PGD, median": "attack.pgd.median",
    "DDN, mean": "attack.ddn.mean", "DDN, median": "attack.ddn.median",
    "nearest found, mean": "attack.best.mean", "nearest found, median": "attack.best.median",
}  # fmt: skip
SECONDS = {
    "one pass, s": "timing.pass.1", "a vote of n₀, s": "timing.vote.1",
    "one pass in a full batch, s": "timing.pass.full", "a vote in a full batch, s": "timing.vote.full",
}  # fmt: skip
OWN = {"pass = own vote where the pass is right, %": "agreement.own_given_correct.share"}
STOCHASTIC = {"pass = the stochastic model's vote, %": "agreement.stochastic"}
PLAIN = ("heat", "madry-heat")
CERTIFIED, ATTACKED = ("Certified accuracy against ℓ2 radius", "Share of images attacked within a distance")
ITEMS = {
    "Figure 1a": Item(CERTIFIED, **CIFAR, kind="certified", protocol="certify"),
    "Figure 1b": Item(CERTIFIED, **IMAGENET, kind="certified", protocol="certify"),
    "Figure 2a": Item(f"{ATTACKED}, PGD", **IMAGENET, kind="attacked", protocol="attack", attack="pgd"),
    "Figure 2b": Item(f"{ATTACKED}, DDN", **IMAGENET, kind="attacked", protocol="attack", attack="ddn"),
    "Figure 3a": Item(
        "How often one pass answers as its own vote", **IMAGENET, kind="metrics", protocol="agreement", metrics=OWN
    ),
    "Figure 3b": Item(
        "How often one pass answers as the stochastic model's vote", **IMAGENET, kind="metrics", protocol="agreement",
        metrics=STOCHASTIC, methods=PLAIN,
    ),
    "Figure 3a, on CIFAR-10": Item(
        "How often one pass answers as its own vote", **CIFAR, kind="metrics", protocol="agreement", metrics=OWN
    ),
    "Figure 3b, on CIFAR-10": Item(
        "How often one pass answers as the stochastic model's vote", **CIFAR, kind="metrics", protocol="agreement",
        metrics=STOCHASTIC, methods=PLAIN,
    ),
    "Figure 6a": Item(f"{ATTACKED}, PGD", **CIFAR, kind="attacked", protocol="attack", attack="pgd"),
    "Figure 6b": Item(f"{ATTACKED}, DDN", **CIFAR, kind="attacked", protocol="attack", attack="ddn"),
    "Table 1": Item(
        "Clean accuracy", **IMAGENET, kind="metrics", protocol="accuracy", metrics={"top-5, %": "clean_accuracy"}
    ),
    "Table 2": Item("Seconds to classify an image", **IMAGENET, kind="metrics", protocol="timing", metrics=SECONDS),
    "Table 2, on CIFAR-10": Item(
        "Seconds to classify an image", **CIFAR, kind="metrics", protocol="timing", metrics=SECONDS
    ),
    "Table 3": Item("Adversarial distance", **IMAGENET, kind="metrics", protocol="attack", metrics=DISTANCES),
    "Table 4": Item(
        "Certified radii of adversarially trained models", **IMAGENET, kind="radii", protocol="certify",
        methods=("madry", "madry-heat"),
    ),
    "Table 4, on CIFAR-10": Item(
        "Certified radii of adversarially trained models", **CIFAR, kind="radii", protocol="certify",
        methods=("madry", "madry-heat"),
    ),
    "Table 5": Item("Adversarial distance", **CIFAR, kind="metrics", protocol="attack", metrics=DISTANCES),
}  # fmt: skip


def published(name: str) -> pd.DataFrame:
    """What the paper gives for an item, as `paper_values` does; empty for an item that it gives no values for."""
    given = paper_values()
    return given[given["item"] == name].reset_index(drop=True)


def is_deployed_as_usual(row: Result) -> bool:
    """Whether a row deploys what its method does, and the paper with it."""
    return row.deployed in (None, "vote" if row.method in VOTED else "pass")


def comparable_results(item: Item, results: Iterable[Result]) -> list[Result]:
    """The results of runs that may stand beside an item: its methods on its data set, at its σ, by its rule, deployed
    as the methods are."""
    return [
        row
        for row in results
        if row.source == "run"
        and row.method in item.methods
        and is_deployed_as_usual(row)
        and (row.dataset, row.sigma, row.top) == (item.dataset, item.sigma, item.top)
        and item.protocol in row.protocols
    ]


def mean_values(item: Item, rows: Sequence[Result], records: Records, places: list[float]) -> dict[str, float | None]:
    """What runs that differ in the seed alone have for an item: the mean of their `item_values`."""
    means = pd.DataFrame([item_values(item, row, records, places) for row in rows]).astype(float).mean()
    return {str(column): float(mean) for column, mean in means.items()}


def item_values(item: Item, row: Result, records: Records, places: list[float]) -> dict[str, float | None]:
    """What a run has for an item, by the column's name: percent at each of `places` for a curve, else its metrics."""
    if item.kind == "metrics":
        own = {column: row.metric(path) for column, path in item.metrics.items()}
        return {column: value and value * (100 if column.endswith("%") else 1) for column, value in own.items()}
    lines = records(row, item.protocol)
    if item.kind == "attacked":
        found = pd.to_numeric(lines.loc[lines["correct"] == 1, item.attack])
        return {f"{place:g}": 100 * float((found <= place).mean()) for place in places}
    abstained = lines["predict"] == -1
    if item.kind == "radii":
        radii = lines.loc[~abstained, "radius"]
        return {"mean": float(radii.mean()), "median": float(radii.median()), "max": float(radii.max())}
    radius, correct = lines["radius"], lines["correct"]
    accuracy = {r: 100 * certified_accuracy(radius, correct, abstained, r, "paper") for r in places}
    return {f"{r:g}": share if is_decided(row, r) else None for r, share in accuracy.items()}


def row_line(item: Item, rows: Sequence[Result], records: Records) -> pd.DataFrame:
    """The curve of runs that differ in the seed alone for an item of kind certified or attacked: at, percent; where
    it is certified also low and high, the 95 % interval."""
    lines = pd.concat([records(row, item.protocol).assign(run=row.run_id) for row in rows], ignore_index=True)
    if item.kind == "certified":
        line = curve(lines, "paper", decided=drawn_at(rows[0]))
        shares = {"percent": "accuracy", "low": "low", "high": "high"}
        return pd.DataFrame({"at": line["radius"], **{name: 100 * line[own] for name, own in shares.items()}})
    line = attack_curve(lines)
    return pd.DataFrame({"at": line["distance"], "percent": 100 * line[item.attack]})


def compare_with_paper(
    name: str, named: Mapping[str, Sequence[Result]], records: Records, item: Item | None = None
) -> pd.DataFrame:
    """The paper's values of an item, then those of the store's runs, `named` by what to call them; a line each.

    Under a name are the runs that differ in the seed alone: the line is their mean. An `item` that is changed, to
    another σ or data set, has no values of the paper.

    Columns: row, source ("the paper, plot, ±1 points", or "measured"), and one for each place or figure.
    """
    given = published(name) if item in (None, ITEMS[name]) else published("")
    item = item or ITEMS[name]
    places = [float(place) for place in given["at"].dropna().unique()] if len(given) else []
    places = places or ([0.5, 1.0, 2.0] if item.kind == "attacked" else [0.0, *load_board(item.dataset).radii])
    lines = []
    for method, values in given.groupby("method", sort=False):
        source = f"the paper, {values['read'].iloc[0]}, ±{values['uncertainty'].iloc[0]:g} points"
        columns = [next(iter(item.metrics))] if item.kind == "metrics" else [f"{at:g}" for at in values["at"]]
        lines.append({"row": method, "source": source, **dict(zip(columns, values["percent"], strict=True))})
    for name, rows in named.items():
        lines.append({"row": name, "source": "measured", **mean_values(item, rows, records, places)})
    return pd.DataFrame(lines, columns=None if lines else ["row", "source"])
