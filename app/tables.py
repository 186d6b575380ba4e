"""A board's tables, whose rows are ticked to be drawn, compared and opened."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pandas as pd
import streamlit as st

from app import state
from app.common import PICKED, is_phone, show_table
from leaderboards.field import FieldLine
from leaderboards.headline import field_best
from leaderboards.links import View
from leaderboards.render.export import to_csv
from leaderboards.render.field import field_tables, table_of
from leaderboards.render.foreign import plain
from leaderboards.render.interactive import field_table, interactive_table
from leaderboards.render.presets import PRESETS
from leaderboards.render.site_page import slug
from leaderboards.shown import certificates_line, link_to_compare


def show_field(view: View, lines: list[FieldLine], order: str) -> None:
    """The field's tables, whose lines stand for the rows they chose, and where they are from."""
    parts = [list(own) for _, own in groupby(lines, key=table_of)]
    for own, found in zip(parts, field_tables(lines), strict=True):
        st.header(plain(found.title), anchor=slug(found.title))
        frame, headings = field_table(found)
        more: dict[str, Any] = {}
        if own[0].source == "records":
            st.markdown(plain(field_best(own, order)))
            more = tick(
                found.title, [tuple(dict.fromkeys(best.run_id for best in line.at.values())) for line in own], view
            )
        if is_phone():  # figures first
            more["column_order"] = sorted(map(str, frame), key=lambda name: name in ("extra data", "year"))
        show_table(frame, f"{view.board} {found.title}", headings, height=min(len(frame) + 1, 8) * 35 + 3, **more)
        st.caption(plain(found.note))
        with st.expander("Sources"):
            st.text("\n".join(found.sources))


def tick(name: str, ids: list[tuple[str, ...]], view: View) -> dict[str, Any]:
    """What a table takes whose lines are ticked: those of which the URL names every row, and how it names them."""
    key = f"table {view.board} {name}"
    here = {run for own in ids for run in own}
    ticked = [place for place, own in enumerate(ids) if own and set(own) <= set(view.rows)]
    st.session_state[key] = {"selection": {"rows": ticked, "columns": [], "cells": []}}

    def write() -> None:
        now = [run for place in st.session_state[key]["selection"]["rows"] for run in ids[place]]
        kept = [run for run in view.rows if run not in here or run in now]
        state.change(rows=tuple(dict.fromkeys([*kept, *now])))

    return {"on_select": write, "selection_mode": "multi-row"}


def show_rows(view: View, found: dict[str, pd.DataFrame], title: str, lines: dict[str, pd.Series[Any]]) -> None:
    """The table of comparable rows that is chosen, and what is ticked."""
    st.header("Rows that compare", anchor="rows")
    marks = {slug(title): title for title in found}
    if view.table and view.table not in marks:
        st.warning("The link asks for a table that is not here, or whose rows are filtered out; this is the first one.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(
            f"Table, one of {len(marks)}", list(marks), width=640,
            format_func=lambda mark: f"{marks[mark]} ({len(found[marks[mark]])} rows)",
            **state.control("table", slug(title)),
        )  # fmt: skip
        st.segmented_control("Columns", PRESETS, required=True, **state.control("columns", view.columns))
        st.toggle("Intervals, 95 %", **state.control("intervals", view.intervals))
    group = found[title]
    frame, headings = interactive_table(group, view.columns, view.intervals, view.convention)
    if is_phone():  # the certified accuracies come beside the first chip; a row's drawer has the others
        frame["holds"] = [chips[:1] for chips in frame["holds"]]
    more = tick(title, [(run,) for run in group["run_id"]], view)
    show_table(frame, f"{view.board} {title}", headings, lambda: to_csv(group.drop(columns="whose")), **more)
    show_bar(group, lines)
    st.text(certificates_line(group))


def show_bar(group: pd.DataFrame, lines: dict[str, pd.Series[Any]]) -> None:
    """What can be done with ticked rows."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if not lines:
            st.markdown("Tick rows to draw their bands, compare them or open them.")
        else:
            st.markdown(f"{len(lines)} ticked:")
            st.button("Clear", on_click=lambda: state.change(rows=()))
        label, pair = link_to_compare(group, lines.values())
        a, b = [*pair, None, None][:2]
        st.page_link("views/compare.py", label=label, query_params=state.params(a=a, b=b))
        for run, row in list(lines.items())[:PICKED]:
            name = plain(f"{row['method']}, {row['arch']}")
            st.button(f"Open {name}", key=f"open {run}", on_click=lambda run=run: state.go(row=run))
