"""The rows of a board, read from the results of finished runs and from published figures, and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.kept import results
from leaderboards.published import PUBLISHED, paper_rows, published_rows
from leaderboards.rows import COMPARABLE, CURVES, board_rows
from suite.boards.board import Board, load_board
from suite.errors import UserError
from suite.protocols.protocol import columns
from suite.statistics.bounds import Convention
from suite.store.result import EARLIER

TEXT = ("method", "arch", "variant", "deployed", "n0", "seeds", "runs", "run_id", "claim", "source", "citation", "note",
        "date", "command", "device", "dataset", "decided")  # fmt: skip


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

    A row is the mean over the runs that differ in the seed alone (`leaderboards.rows`). Columns: COMPARABLE and rank;
    TEXT (what a row is: `run_id` is the first seed's, `source` "run", "published", or "paper, table" and "paper, plot"
    for metrics without a log); seed, of a single run; "r=…", certified accuracy at each of the board's radii; and the
    protocols' columns by their keys (`suite.protocols.protocol.columns`), a count with its total in KEY_of. `intervals`
    (column → [low, high], 95 %) and `spread` (column → standard deviation over seeds) hold what is uncertain. What is
    not known is None or NaN. The convention decides how abstentions count in "r=…"; `sort` is "acr", "clean" or a
    radius, by default the board's. Rows without a metric in this convention are left out.
    """
    board = load_board(dataset)
    lines = [line for _, line in ordered(dataset, runs, convention, published, sort)]
    lines = [line for line in lines if any(line[name] is not None for name in compared_columns(board))]
    if not lines:
        return pd.DataFrame()
    frame = pd.DataFrame(lines).astype(column_types(board))
    frame.insert(len(COMPARABLE), "rank", frame.groupby(list(COMPARABLE), dropna=False).cumcount() + 1)
    return frame


def order(board: Board, sort: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
    """A sort key for lines: groups by data, the board's usual rule and σ first, what was read off last."""
    by = [sort_column(sort, board), "acr", *radius_columns(board), "clean_accuracy"]

    def key(line: dict[str, Any]) -> tuple[Any, ...]:
        group = [(line[name] is None, line[name]) for name in COMPARABLE]
        best_first = [(line[name] is None, -(line[name] or 0)) for name in by]
        unusual = (line["top"] != board.top, line["sigma"] != board.sigma)
        return (line["read"] != "log", line["data"], *unusual, *group, *best_first)

    return key


def radius_columns(board: Board) -> list[str]:
    return [f"r={radius}" for radius in board.radii]


def compared_columns(board: Board) -> list[str]:
    """What a board compares rows by."""
    return ["clean_accuracy", *radius_columns(board), "acr"]


def column_types(board: Board) -> dict[str, Any]:
    """The types of a table's numbers: whole ones may be unknown."""
    whole = ["images", "every", "n", "n0", "seed"]
    real = radius_columns(board)
    for key, (_, column) in columns().items():
        if column.of:
            whole += [key, f"{key}_of"]
        elif not column.by_radius:
            real.append(key)
    return dict.fromkeys(whole, "Int64") | dict.fromkeys(real, float)


def sort_column(sort: str, board: Board) -> str:
    """The column that "acr", "clean" or a radius stands for. UserError for anything else."""
    column = {"acr": "acr", "clean": "clean_accuracy"}.get(sort, f"r={sort}")
    if column not in compared_columns(board):
        raise UserError(f"no column '{sort}' to sort by: acr, clean or a radius of the board, {board.radii}")
    return column


def table_line(row: dict[str, Any], board: Board, curve: str) -> dict[str, Any]:
    """A row of the board as a line of the table, with the certified accuracy of one convention."""

    def flat(tree: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {f"r={radius}": value for radius, value in tree[curve].items()}
        for key, (_, column) in columns().items():
            if column.of and key in row:
                count, of = (path.rpartition(".")[2] for path in (column.path, column.of))
                found |= {key: (tree.get(key) or {}).get(count), f"{key}_of": (tree.get(key) or {}).get(of)}
            elif not column.by_radius and key in tree:
                found[key] = tree[key]
        return found

    return {
        **{name: row[name] for name in COMPARABLE},
        **{name: row[name] for name in TEXT},
        "seed": row["seeds"][0] if len(row["seeds"]) == 1 else None,
        **flat(row),
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
