"""The rows of a board, in order, and as a table: read from results of finished runs and published numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.cache import read_results
from leaderboards.comparable import PLACE, only_place, places, tell_apart
from leaderboards.estimates import CURVES
from leaderboards.published import PUBLISHED, paper_rows, read_papers, read_published
from leaderboards.published.kept import kept_folders, results
from leaderboards.published.tables import read_tables
from leaderboards.rows import COMPARABLE, Estimate, Row, board_rows
from leaderboards.significance import z_scores
from leaderboards.variants import name_variants
from suite.boards.board import Board, Roots, load_board, radius_key, radius_text
from suite.errors import UserError
from suite.protocols.protocol import Column, columns
from suite.statistics.bounds import Convention
from suite.store.result import Result

ORDERS = {"acr": "acr", "p_a": "p_a", "clean": "clean_accuracy"}  # what sorts rows beside a radius: the metric's key
WHOLE = ("images", "every", "n0", "n", "seed")


def board_results(dataset: str, runs: Path, published: Roots | None = PUBLISHED) -> list[Result]:
    """The results of all finished runs on a data set, unreadable ones left out; then published rows.

    `published` is where those lie, and runs that were kept; None leaves both out.
    """
    found = [result for result in results(runs, published) if result.dataset == dataset]
    return tell_apart(found + (read_published(dataset, published)[0] if published else []))


def left_out(dataset: str, runs: Path, published: Roots | None = PUBLISHED) -> list[str]:
    """What is wrong with each damaged file that a board leaves out."""
    damaged = read_results(runs)[1]
    if published:
        damaged += [
            *(said for folder in kept_folders(published) for said in read_results(folder)[1]),
            *read_published(dataset, published)[1],
            *read_papers(published)[1],
            *read_tables(published)[1],
        ]
    return damaged


def rows(
    dataset: str,
    runs: Path,
    convention: Convention = "standard",
    published: Roots | None = PUBLISHED,
    *,
    sort: str | None = None,
) -> list[Row]:
    """The rows of a board, best first within each group of comparable rows.

    Runs are averaged over seeds; published rows come from logs and, as far as a paper has no log, from its tables and
    plots. The convention decides how abstentions count where rows are sorted by a radius; `sort` is one of ORDERS or a
    radius, by default the board's.
    """
    board = load_board(dataset, published)
    found = board_results(dataset, runs, published) + (paper_rows(dataset, published) if published else [])
    known = name_variants(board_rows(found, board.all_radii))
    return sorted(known, key=order(board, sort or board.sort, CURVES[convention], known))


def table(
    dataset: str,
    runs: Path,
    convention: Convention = "standard",
    published: Roots | None = PUBLISHED,
    *,
    sort: str | None = None,
) -> pd.DataFrame:
    """One line per row of the board, in the order of `rows`, with a column for each metric and each radius.

    Columns: COMPARABLE, rank (in the table of the board where it stands; none for a margin that has different ranks in
    several), best_rank and worst_rank (between them it is at 95 %, all rows of a table at once), what else a row is
    (`Row`), seed (of a single run), then the columns of all protocols by key (`suite.protocols.protocol.columns`),
    shares in [0,1], a count with its total as `audit.violations` and `audit.attacked`, certified accuracy as "r=…".
    `intervals` (column → [low, high], 95 %) and `spread` (column → standard deviation over seeds) hold what is
    uncertain, and `places` the ranks in each table (`leaderboards.groups`).
    What is not known is None or NaN. Rows without a metric that boards compare, in this convention, are left out.
    """
    board, curve = load_board(dataset, published), CURVES[convention]
    compared = [*ORDERS.values(), *(f"r={radius}" for radius in board.all_radii)]
    lines, keys, known = [], [], []
    sort = radius_key(sort or board.sort).lower()
    best = best_first(board, sort, curve)
    for row in rows(dataset, runs, convention, published, sort=sort):
        line = table_line(row, curve)
        if any(line[name] is not None for name in compared):
            lines.append(line)
            keys.append(best(row))
            known.append(row)
    if not lines:
        return pd.DataFrame()
    counts = [name for column in columns().values() for name in count_names(column)]
    numbers = [name for name, column in table_columns(lines[0]).items() if not column.of]
    kinds = dict.fromkeys([*WHOLE, *counts], "Int64") | dict.fromkeys(["sigma", "alpha", *numbers], "float")
    frame = pd.DataFrame(lines).astype(kinds | {"holds": "boolean"})
    found = places(
        frame,
        keys,
        lambda own: z_scores([known[line] for line in own], sort, curve),
        has_value=lambda line: not keys[line][0][0],  # the first of what `best_first` gives: whether there is none
    )
    for number, column in enumerate(zip(*map(only_place, found), strict=True)):
        frame.insert(len(COMPARABLE) + number, PLACE[number], pd.Series(column, dtype="Int64"))
    return frame.assign(places=pd.Series(found))


def order(board: Board, sort: str, curve: str, rows: Sequence[Row]) -> Callable[[Row], tuple[Any, ...]]:
    """A sort key for rows: groups by data, those of most images first, of these the board's usual σ; rows best first.

    A group of one row, or of a log that ends before its test set does, leads no other; nor do another rule than the
    board's usual one, and what was read off.
    """
    best = best_first(board, sort, curve)
    total = Counter(tuple(getattr(row, name) for name in COMPARABLE) for row in rows)
    of_runs = {tuple(getattr(row, name) for name in COMPARABLE) for row in rows if row.source == "run"}

    def key(row: Row) -> tuple[Any, ...]:
        group = tuple(getattr(row, name) for name in COMPARABLE)
        images, every = row.images or 0, row.every or 1
        is_cut = group not in of_runs and images * every < board.images - every
        last = (row.top != board.top, is_cut or total[group] == 1)
        known = tuple((value is None, value) for value in group)
        return (row.read != "log", row.data, *last, -images, row.sigma != board.sigma, *known, *best(row))

    return key


def best_first(board: Board, sort: str, curve: str) -> Callable[[Row], tuple[Any, ...]]:
    """A sort key for rows that compare: one of ORDERS or a radius, then the other metrics that boards compare."""
    radii = [str(radius) for radius in board.all_radii]
    sort = radius_key(sort).lower()
    if sort not in (*ORDERS, *radii):
        known = ", ".join((*ORDERS, *map(radius_text, board.all_radii)))
        raise UserError(f"no column '{sort}' to sort by; there are: {known} (radii of the board)")

    def key(row: Row) -> tuple[Any, ...]:
        metrics = {name: row.metrics[column] for name, column in ORDERS.items()} | row.curves[curve]
        values = (metrics[name].value for name in (sort, "acr", *radii, "clean"))
        return tuple((value is None, -(value or 0.0)) for value in values)

    return key


def count_names(column: Column) -> list[str]:
    """What a count and its total are called in a table: `audit.violations` and `audit.attacked`."""
    places = (column.path, column.of) if column.of else ()
    return [f"{column.key}.{place.rpartition('.')[2]}" for place in places]


def table_columns(line: Any) -> dict[str, Column]:
    """The metrics that a line of a table, or a table, has, in order: by name, each with its protocol's column."""
    found: dict[str, Column] = {}
    names = list(map(str, line))
    for key, column in columns().items():
        if not column.by_radius:
            own = [key] if key in names or set(count_names(column)) & set(names) else []
        elif key in CURVES.values():
            own = [name for name in names if name.startswith("r=")]
        else:
            own = [name for name in names if name.startswith(f"{key} r=")]
        found |= dict.fromkeys(own, column)
    return found


def table_line(row: Row, curve: str) -> dict[str, Any]:
    """A row of the board as a line of the table, with the certified accuracy of one convention."""
    shared = row.shared()
    estimates: dict[str, Estimate] = {}
    counts: dict[str, float | None] = {}
    for key, column in columns().items():
        if column.of:
            counted = row.metrics[key]
            counts |= dict(zip(count_names(column), (counted.value, counted.of), strict=True))
        elif not column.by_radius:
            estimates[key] = row.metrics[key]
        elif key == curve or key not in CURVES.values():
            prefix = "" if key == curve else f"{key} "
            estimates |= {f"{prefix}r={r}": estimate for r, estimate in row.curves[key].items()}
    return {
        **{name: shared.pop(name) for name in COMPARABLE},
        **shared,
        "seed": row.seeds[0] if len(row.seeds) == 1 else None,
        **{name: estimate.value for name, estimate in estimates.items()},
        **counts,
        "intervals": {name: e.interval and list(e.interval) for name, e in estimates.items()},
        "spread": {name: e.spread for name, e in estimates.items()},
    }


def envelopes(frame: pd.DataFrame) -> pd.DataFrame:
    """The best certified accuracy over σ at each radius, for each method and arch, of rows that differ in σ alone.

    Rows are comparable in all else; margins, which have no σ, are left out. Columns: those of COMPARABLE but sigma,
    method, arch, "r=…" as in `table`, and sigmas (all there are) and chosen (column → the σ that is best there). See
    `leaderboards.envelope.envelope` for what it is worth.
    """
    radii = [column for column in map(str, frame) if column.startswith("r=")]
    own = [name for name in COMPARABLE if name != "sigma"] + ["method", "arch"]
    lines: list[dict[str, Any]] = []
    for key, group in frame[frame["sigma"].notna()].groupby(own, sort=False, dropna=False):
        known = group.set_index("sigma")[radii].dropna(axis=1, how="all")
        line = dict(zip(own, key, strict=True)) | {str(r): known[r].max() for r in known}
        chosen = {str(r): known[r].idxmax() for r in known if known[r].max() > 0}
        lines.append(line | {"sigmas": sorted(group["sigma"].unique()), "chosen": chosen})
    return pd.DataFrame(lines)


def table_rows(frame: pd.DataFrame) -> list[pd.Series[Any]]:
    """A table's lines; each has the columns that are names as attributes, like a `Row`."""
    return [row for _, row in frame.iterrows()]


def select_rows(frame: pd.DataFrame, **chosen: Sequence[Any]) -> pd.DataFrame:
    """The lines of a table whose column has one of the values chosen for it; none chosen: any.

    A margin, which has no σ, stands beside votes at every σ.
    """
    for column, values in chosen.items():
        if values:
            frame = frame[frame[column].isin(values) | ((column == "sigma") & frame["sigma"].isna())]
    return frame
