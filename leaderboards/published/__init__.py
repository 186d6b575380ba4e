"""Published rows: figures of other people's certification logs, beside this file, read as rows like those of runs.

`<board>/<row>.toml` says what a log is of and how many images it certifies at each radius of a fine grid
(`entry.Entry`). The log itself does not come with the suite: `suite published fetch` gets it, for comparisons image by
image. `paper/` has numbers that were published without a log.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.published.entry import DAMAGED, Entry, damaged_row
from suite.boards.board import Board, Roots, boards, layers, load_board, own_root
from suite.errors import UserError, first_line
from suite.store.result import Result

PUBLISHED = Path(__file__).parent
ACCURACIES = ("certified accuracy", "clean accuracy")  # of the quantities in `paper/`, those that a board compares


def all_roots(own: Path | None = None) -> tuple[Path, ...]:
    """Where published rows lie: in a folder that is given, the user's own (`own_root`) and the package."""
    return tuple(dict.fromkeys(filter(None, (own, own_root(), PUBLISHED))))


def row_files(dataset: str, roots: Roots) -> dict[str, Path]:
    """The files of a data set's published rows, by name; of two of one name the first folder's."""
    found: dict[str, Path] = {}
    for root in layers(roots):
        for file in (root / dataset).glob("*.toml"):
            found.setdefault(file.stem, file)
    return dict(sorted(found.items()))


def published_rows(dataset: str, root: Roots = PUBLISHED) -> list[Result]:
    """The rows published on a data set, by name. UserError where a file is damaged."""
    found, damaged = read_published(dataset, root)
    if damaged:
        raise UserError(damaged[0])
    return found


def read_published(dataset: str, root: Roots = PUBLISHED) -> tuple[list[Result], list[str]]:
    """The rows published on a data set, by name, and what is wrong with damaged files, whose rows are left out."""
    found, damaged = [], []
    board = load_board(dataset, root) if dataset in boards(root) else None
    for file in row_files(dataset, root).values() if board else ():
        try:
            found.append(_row(file, file.stat().st_mtime_ns, board))
        except UserError as error:
            damaged.append(str(error))
    return found, damaged


def read_entry(run_id: str, root: Roots = PUBLISHED) -> Entry:
    """What a published row is of, and its figures. UserError where its file is damaged or not there."""
    for folder in layers(root):
        file = folder / f"{run_id}.toml"
        with suppress(OSError):
            return _entry(file, file.stat().st_mtime_ns)
    raise UserError(f"no published row {run_id} in {' or '.join(map(str, layers(root)))}")


def entries(dataset: str, root: Roots = PUBLISHED) -> dict[str, Entry]:
    """The entries of a data set's published rows, by the rows' names. UserError where a file is damaged."""
    names = [f"{dataset}/{name}" for name in row_files(dataset, root)]
    return {name: read_entry(name, root) for name in names}


@lru_cache(maxsize=4096)
def _entry(file: Path, changed: int) -> Entry:
    return Entry.from_file(file)


@lru_cache(maxsize=4096)
def _row(file: Path, changed: int, board: Board) -> Result:
    try:
        return _entry(file, changed).result(f"{file.parent.name}/{file.stem}", board)
    except DAMAGED as error:
        raise damaged_row(file, first_line(error)) from error


def paper_rows(dataset: str, root: Roots = PUBLISHED) -> list[Result]:
    """Rows of what papers print or plot without a log: accuracy alone, at the radii of the paper's own plot.

    `source` is "paper, table" or "paper, plot"; certified accuracy is by the convention of the item. A damaged file's
    are left out.
    """
    return [row for frame in read_papers(root)[0] for row in rows_of_paper(frame, dataset)]


def rows_of_paper(frame: pd.DataFrame, dataset: str) -> list[Result]:
    """The rows on a data set of one file's lines."""
    own = frame[frame["dataset"].eq(dataset) & frame["quantity"].isin(ACCURACIES)]
    return [
        paper_row(f"{dataset}/{item}/{method}", values)
        for (item, method), values in own.groupby(["item", "method"], sort=False)
    ]


def paper_row(run_id: str, values: pd.DataFrame) -> Result:
    """The row of an item and a method, whose lines of `paper_values` are given."""
    first = values.iloc[0]
    points = dict(zip(map(str, values["at"]), values["percent"] / 100, strict=True))
    certified = first["quantity"] == "certified accuracy"
    accuracy = {name: points if certified and first["convention"] == name else {} for name in ("standard", "paper")}
    return Result(
        run_id=run_id,
        method=first["method"],
        dataset=first["dataset"],
        data=load_board(first["dataset"]).title,
        sigma=float(first["sigma"]),
        top=int(first["top"]),
        images=None if pd.isna(first["images"]) else int(first["images"]),
        n=None if pd.isna(first["n"]) else int(first["n"]),
        every=None,
        sampling=None,
        precision=None,
        read=first["read"],
        source="paper, table" if first["read"] == "table" else "paper, plot",
        citation=first["citation"],
        date=re.findall(r"\b(?:19|20)\d\d\b", first["citation"])[-1],
        note=f"{first['item']}, ± {values['uncertainty'].max():g} points",
        claim="as published, without records: not checked",
        clean_accuracy=None if certified else first["percent"] / 100,
        certified_accuracy=accuracy["standard"],
        certified_accuracy_paper=accuracy["paper"],
    )


def paper_values(root: Roots = PUBLISHED) -> pd.DataFrame:
    """Numbers that papers print or plot without a log, one a line. UserError where a file is damaged.

    Columns: citation, item (which table or figure), read (`table` or `plot`), quantity, dataset, method, sigma, top, at
    (ℓ2 radius or distance in pixels, NaN where there is none), percent and its uncertainty (±, in points), and what
    else the item says (convention, attack, n, images).
    """
    found, damaged = read_papers(root)
    if damaged:
        raise UserError(damaged[0])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def read_papers(root: Roots) -> tuple[list[pd.DataFrame], list[str]]:
    """The lines of `paper_values` of each file, and what is wrong with damaged files, which are left out."""
    found, damaged = [], []
    for file in row_files("paper", root).values():
        try:
            frame = pd.DataFrame(paper_lines(tomllib.loads(file.read_text(encoding="utf-8"))))
            for dataset in frame["dataset"].unique():
                rows_of_paper(frame, dataset)
            found.append(frame)
        except DAMAGED as error:
            damaged.append(f"{file} is damaged ({first_line(error)})")
    return found, damaged


def paper_lines(content: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each number of a file."""
    lines = []
    for item in content["items"]:
        shared = {name: value for name, value in item.items() if name not in ("at", "percent", "uncertainty")}
        for method, values in item["percent"].items():
            for at, value in zip(item.get("at", [None]), values, strict=True):
                own = {"method": method, "at": at, "percent": value, "uncertainty": item["uncertainty"][method]}
                lines.append({"citation": content["citation"], **shared, **own})
    return lines
