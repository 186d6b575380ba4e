"""What a board's page shows of a view: the rows that pass its filters, a table of them, and the pair to compare."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from leaderboards.board import select_rows
from leaderboards.comparable import groups
from leaderboards.headline import best_line, doubt, first_table
from leaderboards.links import View, search, ticked
from leaderboards.render.cells import rank_text
from leaderboards.render.site_page import slug


def kept_rows(frame: pd.DataFrame, view: View) -> pd.DataFrame:
    """The lines of a board (with `leaderboards.whose`) that pass the view's filters and its search."""
    return search(select_rows(frame, **view.filters), view.search) if len(frame) else frame


def table_shown(view: View, tables: Mapping[str, pd.DataFrame], order: str) -> str:
    """The title of the table that the view asks for; the first one where it asks for none that is here."""
    asked = next((title for title in tables if slug(title) == view.table), None)
    return asked or first_table(tables, order)


def best_shown(view: View, group: pd.DataFrame) -> str:
    """What can be said of the first row of a table; ranks are among all of its rows, whatever filters leave."""
    first = group.sort_values("rank").iloc[0]
    if not view.filtered or pd.isna(first["rank"]):
        return best_line(group)
    return f"Best of the rows shown: {first['method']}, rank {rank_text(first)} in its whole table{doubt(first)}."


def certificates_line(group: pd.DataFrame) -> str:
    """What the table's certificates say, a sentence for all; a row's own words are in its drawer."""
    claims = group["claim"].fillna("").replace("", None).dropna().unique()
    doubtful = (group["holds"] == False).sum()  # noqa: E712 - not known is neither
    pass_only = f"Rows that deploy a single pass, which their certificates do not hold for: {doubtful} of {len(group)}."
    said = (
        "Open a row for what its own certificate says."
        if len(claims) > 1
        else f"Certificates: {next(iter(claims), 'not said')}."
    )
    return f"{pass_only} {said}" if doubtful else said


def has_images(group: pd.DataFrame) -> pd.DataFrame:
    """The lines that can be compared image by image: not those of a paper's own figures."""
    return group[~group["source"].str.startswith("paper")]


def link_to_compare(group: pd.DataFrame, marked: Iterable[Any]) -> tuple[str, list[str]]:
    """What the link to a comparison says, and its rows: the ticked ones, else the table's first."""
    own = [row["run_id"] for row in marked if not row["source"].startswith("paper")][:2]
    recorded = has_images(group)
    others = recorded[~recorded["run_id"].isin(own)][: 2 - len(own)]
    pair = [*own, *others["run_id"]]
    ranks = " and ".join(map(str, others["rank"]))
    if len(own) == 2:
        return "Compare the ticked rows", pair
    if len(pair) < 2 or others["rank"].isna().any():
        return "Compare two rows", pair
    return f"Compare it with rank {ranks}" if own else f"Compare ranks {ranks}", pair


def rows_to_compare(frame: pd.DataFrame, view: View, order: str, chosen: Iterable[str] = ()) -> list[str]:
    """The rows of a board to compare, by run id, the likeliest first: those `chosen`, else ticked; then those beside
    them in a table; then the first ones of the table that the view shows; then all others."""
    first = list(chosen) or [row["run_id"] for row in ticked(frame, view)]
    kept = has_images(kept_rows(frame, view))
    tables = dict(groups(kept, sort=order)) if len(kept) else {}
    shown = table_shown(view, tables, order) if tables else ""

    def distance(title: str) -> tuple[bool, bool, bool]:
        here = set(tables[title]["run_id"])
        return len(here) < 2, not here >= set(first), title != shown

    others = [run for title in sorted(tables, key=distance) for run in tables[title]["run_id"]]
    rest = has_images(frame)["run_id"]
    return [run for run in dict.fromkeys([*first, *others, *rest]) if run in set(rest)]
