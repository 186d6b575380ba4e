"""The rows of a board, read from the results of finished runs and from published figures, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.kept import results
from leaderboards.published import PUBLISHED, paper_rows, published_rows
from leaderboards.rows import COMPARABLE, CURVES, FIGURES, board_rows
from suite.boards.board import Board, load_board
from suite.errors import UserError
from suite.statistics.bounds import Convention
from suite.store.result import EARLIER

COLUMNS = {"clean_accuracy": "clean", "seconds_per_certificate": "seconds", "averaging_error": "averaging",
           "adversarial_distance": "distance"}  # fmt: skip
TEXT = ("method", "arch", "variant", "inference", "seeds", "runs", "run_id", "claim", "source", "citation", "note",
        "date", "command", "device", "dataset", "decided")  # fmt: skip
WHOLE = ("images", "every", "n", "seed", "audited", "violations", "lbound_audited", "lbound_violations",
         "probit_audited", "probit_violations")  # fmt: skip


def board_results(dataset: str, runs: Path, published: Path | None = PUBLISHED) -> list[dict[str, Any]]:
    """The results of all finished runs on a data set, unreadable ones left out; then published rows.

    `published` is where those lie, and runs that were kept; None leaves both out.
    """
    found = [result for result in results(runs, published) if result["dataset"] == dataset]
    return found + (published_rows(dataset, published) if published else [])


def ordered(
    dataset: str, runs: Path, convention: Convention, published: Path | None, sort: str | None
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """The rows of a board in the form of `schema.json`, each with its line of the table, in the order of the table.

    Runs are averaged over seeds; published rows come from logs and, as far as a paper has no log, from its tables and
    plots.
    """
    board = load_board(dataset)
    found = board_results(dataset, runs, published) + (paper_rows(dataset, published) if published else [])
    pairs = [(row, table_line(row, board, CURVES[convention == "paper"])) for row in board_rows(found, board.radii)]
    key = order(board, sort or board.sort)
    return sorted(pairs, key=lambda pair: key(pair[1]))


def table(
    dataset: str,
    runs: Path,
    convention: Convention = "standard",
    published: Path | None = PUBLISHED,
    *,
    sort: str | None = None,
) -> pd.DataFrame:
    """One line per row of the board, best first within each group of comparable rows, with a column for each radius.

    A row is the mean over the runs that differ in the seed alone (`leaderboards.rows`). Columns: COMPARABLE, rank,
    method, arch, variant, seed (of a single run), seeds, runs, inference; clean, "r=…", acr, abstained (shares in
    [0,1], radii in pixels of [0,1]); distance, pgd and ddn (median distances of adversarial examples: of the nearest
    found, and of the paper's two attacks); seconds_per_image (as deployed, in full batches) and device; seconds (per
    certificate); averaging (error of the single pass); lbound_radius, probit_radius and soft_radius (medians, of
    protocol lbound); draws (per certificate, mean); audited and violations, and the same of the lbound_ and the probit_
    radii; claim, source ("run", "published", or "paper, table" and "paper, plot" for figures without a log), citation,
    note, date, command (the shell line that makes it again), run_id (the first seed's), decided (those that
    adaptive sampling did). `intervals` (column → [low, high], 95 %) and `spread` (column → standard deviation over
    seeds) hold what is uncertain. What is not known is None or NaN. The convention decides how abstentions count in
    "r=…"; `sort` is "acr", "clean" or a radius, by default the board's. Rows without a figure in this convention are
    left out.
    """
    board = load_board(dataset)
    lines = [line for _, line in ordered(dataset, runs, convention, published, sort)]
    lines = [line for line in lines if any(line[name] is not None for name in figure_columns(board))]
    if not lines:
        return pd.DataFrame()
    frame = pd.DataFrame(lines).astype(dict.fromkeys(WHOLE, "Int64") | dict.fromkeys(numeric_columns(board), float))
    frame.insert(len(COMPARABLE), "rank", frame.groupby(list(COMPARABLE), dropna=False).cumcount() + 1)
    return frame


def order(board: Board, sort: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """A sort key for lines: groups by data, the board's usual rule and σ first, what was read off last."""
    by = [sort_column(sort, board), "acr", *radius_columns(board), "clean"]

    def key(line: dict[str, Any]) -> tuple[Any, ...]:
        group = [(line[name] is None, line[name]) for name in COMPARABLE]
        best_first = [(line[name] is None, -(line[name] or 0)) for name in by]
        unusual = (line["top"] != board.top, line["sigma"] != board.sigma)
        return (line["read"] != "log", line["data"], *unusual, *group, *best_first)

    return key


def radius_columns(board: Board) -> list[str]:
    return [f"r={radius}" for radius in board.radii]


def figure_columns(board: Board) -> list[str]:
    """What a board compares rows by."""
    return ["clean", *radius_columns(board), "acr"]


def numeric_columns(board: Board) -> list[str]:
    return [*(COLUMNS.get(name, name) for name in FIGURES), *radius_columns(board)]


def sort_column(sort: str, board: Board) -> str:
    """The column that "acr", "clean" or a radius stands for. UserError for anything else."""
    column = sort if sort in ("acr", "clean") else f"r={sort}"
    if column not in figure_columns(board):
        raise UserError(f"no column '{sort}' to sort by: acr, clean or a radius of the board, {board.radii}")
    return column


def table_line(row: dict[str, Any], board: Board, curve: str) -> dict[str, Any]:
    """A row of the board as a line of the table, with the certified accuracy of one convention."""

    def flat(tree: dict[str, Any]) -> dict[str, Any]:
        own = {COLUMNS.get(name, name): tree.get(name) for name in FIGURES if name in tree}
        return own | {f"r={radius}": value for radius, value in tree[curve].items()}

    audits = {prefix: row[f"{prefix}audit"] or {} for prefix in ("", "lbound_", "probit_")}
    return {
        **{name: row[name] for name in COMPARABLE},
        **{name: row[name] for name in TEXT},
        "seed": row["seeds"][0] if len(row["seeds"]) == 1 else None,
        **flat(row),
        **{f"{name}audited": audit.get("attacked") for name, audit in audits.items()},
        **{f"{name}violations": audit.get("violations") for name, audit in audits.items()},
        "intervals": flat(row["intervals"]),
        "spread": flat(row["spread"]),
    }


def envelopes(frame: pd.DataFrame) -> pd.DataFrame:
    """The best certified accuracy over σ at each radius, for each method and arch, of rows that differ in σ alone.

    Rows are comparable in all else. Columns: those of COMPARABLE but sigma, method, arch, "r=…" as in `table`, and
    sigmas (all there are) and chosen (column → the σ that is best there). See `leaderboards.curves.upper_envelope` for
    what it is worth.
    """
    radii = [column for column in map(str, frame) if column.startswith("r=")]
    own = [name for name in COMPARABLE if name != "sigma"] + ["method", "arch"]
    lines: list[dict[str, Any]] = []
    for key, group in frame.groupby(own, sort=False, dropna=False):
        known = group.set_index("sigma")[radii].dropna(axis=1, how="all")
        line = dict(zip(own, key, strict=True)) | {str(r): known[r].max() for r in known}
        chosen = {str(r): known[r].idxmax() for r in known if known[r].max() > 0}
        lines.append(line | {"sigmas": sorted(group["sigma"].unique()), "chosen": chosen})
    return pd.DataFrame(lines)


def groups(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The comparable rows of a table, each group with its title and without the radii that none of its rows reaches."""
    for _, group in frame.groupby(list(COMPARABLE), sort=False, dropna=False):
        beyond = [column for column in map(str, group) if column.startswith("r=") and not (group[column] > 0).any()]
        yield title(group.iloc[0]), group.drop(columns=[*beyond, *COMPARABLE])


def title(row: Any) -> str:
    """What the rows of a group have in common; `row` is any of them."""
    said = [f"σ = {row['sigma']:g}", f"top-{row['top']}"]
    if pd.notna(row["images"]):
        said.append(f"{row['images']} images")
    if pd.notna(row["every"]) and row["every"] > 1:
        said.append(f"every {row['every']}th")
    if pd.notna(row["n"]):
        said.append(f"n {'=' if row['sampling'] == 'fixed' else '≤'} {row['n']}")
    if row["sampling"] == EARLIER:
        said.append(EARLIER)
    if pd.notna(row["alpha"]):
        said.append(f"α = {row['alpha']:g}")
    if row["noise"] == "discrete":
        said.append("discrete noise")
    if row["precision"] == "bf16":
        said.append(row["precision"])
    if row["read"] != "log":
        said.append(f"read off a paper's {row['read']}, without records")
    return f"{row['data']}: {', '.join(said)}"
