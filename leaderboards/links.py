"""What a page's URL asks for, and the URL of a page: boards and settings by name, rows by run id, never by a label.

A link means the same when other runs have landed: what it leaves out has a fixed default, and a row is found by any of
its runs. What it asks for and is not here is said (`unknown`), never replaced in silence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from leaderboards.orders import orders
from leaderboards.render.presets import PRESETS
from suite.boards.board import load_board, radius_key
from suite.statistics.bounds import Convention

BOARD = "cifar10"  # where a link that names none leads
FILTERS = {"method": "Method", "arch": "Architecture", "kind": "Kind", "source": "Source", "sigma": "σ"}
COLUMNS = {name: "whose" if name == "source" else name for name in FILTERS}  # of a table with `leaderboards.whose`
CONVENTIONS: dict[Convention, str] = {"standard": "count as wrong", "paper": "dropped (the paper's)"}
Query = dict[str, list[str]]


@dataclass(frozen=True)
class View:
    """How a board is looked at; every page keeps it.

    `order` is a key of `orders`, "" the board's own; `rows` are run ids, as they were ticked; `table` is the mark of a
    group's title (`leaderboards.render.site_page.slug`), "" the first one.
    """

    board: str = BOARD
    convention: Convention = "standard"
    order: str = ""
    search: str = ""
    method: tuple[str, ...] = ()
    arch: tuple[str, ...] = ()
    kind: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    sigma: tuple[str, ...] = ()
    columns: str = PRESETS[0]
    intervals: bool = False
    table: str = ""
    rows: tuple[str, ...] = ()

    @property
    def filters(self) -> dict[str, tuple[Any, ...]]:
        """The values that each filtered column of a table may have; σ as numbers."""
        own = {COLUMNS[name]: getattr(self, name) for name in FILTERS if getattr(self, name)}
        return own | ({"sigma": tuple(map(float, own["sigma"]))} if "sigma" in own else {})

    @property
    def filtered(self) -> int:
        """How many filters are set, the search among them."""
        return len(self.filters) + bool(self.search.strip())

    def on(self, board: str) -> View:
        """The view of another board: filters, ticked rows and the order were of this one."""
        return View(board, self.convention, columns=self.columns, intervals=self.intervals)

    def cleared(self) -> View:
        return replace(self, search="", method=(), arch=(), kind=(), source=(), sigma=())


def read_view(query: Mapping[str, Sequence[str]], boards: Collection[str]) -> tuple[View, list[str]]:
    """The view that a URL's query asks for, and what it asks for that there is not, a sentence each."""
    said: list[str] = []

    def one(name: str, known: Collection[str], default: str) -> str:
        asked = (query.get(name) or [default])[-1]
        if asked in known:
            return asked
        said.append(f"The link asks for {name} {asked}, which is not here; this is {default or 'the usual one'}.")
        return default

    board = one("board", boards, BOARD)
    order = radius_key((query.get("order") or [""])[-1])
    rest = {name: list(values) for name, values in query.items()} | {"order": [order]}
    query = rest
    sigmas = [value for value in query.get("sigma", ()) if is_number(value)]
    return View(
        board=board,
        convention="paper" if one("abstentions", ("counted", "dropped"), "counted") == "dropped" else "standard",
        order=one("order", ("", *orders(load_board(board))), ""),
        search=(query.get("search") or [""])[-1],
        **{name: tuple(query.get(name, ())) for name in FILTERS if name != "sigma"} | {"sigma": tuple(sigmas)},
        columns=one("columns", PRESETS, PRESETS[0]),
        intervals=one("intervals", ("on", "off"), "off") == "on",
        table=(query.get("table") or [""])[-1],
        rows=tuple(dict.fromkeys(query.get("rows", ()))),
    ), said


def is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def write_view(view: View) -> Query:
    """The query that asks for a view: its board, and what is not as it usually is."""
    usual = asdict(View())
    found: Query = {"board": [view.board]}
    for name, value in asdict(view).items():
        if name == "convention" and value == "paper":
            found["abstentions"] = ["dropped"]
        elif name == "intervals" and value:
            found["intervals"] = ["on"]
        elif name not in ("board", "convention", "intervals") and value != usual[name]:
            found[name] = list(value) if isinstance(value, tuple) else [value]
    return found


def line_of(frame: pd.DataFrame, run: str) -> pd.Series[Any] | None:
    """The line of a table that a run is of; None where it is not on it.

    A row may be named by any of its runs, so a link to a row stays when another seed of it lands.
    """
    if frame.empty:
        return None
    found = frame[[run == own or run in runs for own, runs in zip(frame["run_id"], frame["runs"], strict=True)]]
    return None if found.empty else found.iloc[0]


def ticked(frame: pd.DataFrame, view: View) -> list[pd.Series[Any]]:
    """The lines of a table that a view has ticked, as they were ticked."""
    found = {line["run_id"]: line for run in view.rows if (line := line_of(frame, run)) is not None}
    return list(found.values())


def unknown(view: View, frame: pd.DataFrame) -> Iterator[str]:
    """What a view asks for that its board's table does not have, a sentence each."""
    for name, values in view.filters.items():
        for value in values:
            if frame.empty or value not in frame[name].to_numpy():
                said = {"whose": "source", "sigma": "σ"}.get(name, name)
                yield f"The link asks for {said} {value}, which no row of {view.board} has."
    for run in view.rows:
        if line_of(frame, run) is None:
            yield f"The link asks for the row {run}, which is not on {view.board}; it may have been deleted or moved."


def search(frame: pd.DataFrame, text: str) -> pd.DataFrame:
    """The lines that have every word of a text in their method, network, variant, citation or note."""
    if frame.empty or not text.strip():
        return frame
    content = frame[["method", "arch", "variant", "citation", "note"]].fillna("").agg(" ".join, axis=1).str.casefold()
    keep = pd.Series(True, frame.index)
    for word in text.casefold().split():
        keep &= content.str.contains(word, regex=False)
    return frame[keep]
