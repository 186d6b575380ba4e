"""A row's drawer: what it claims and what was found of that, its numbers and settings, links, command and records."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import common, state
from app.common import file_name, show_lines
from leaderboards.headline import doubt
from leaderboards.links import line_of
from leaderboards.render.export import defused
from leaderboards.render.foreign import plain
from leaderboards.render.interactive import certificate_chips
from leaderboards.render.labels import labels
from leaderboards.render.row import metric_lines, setting_lines
from suite.errors import UserError


def open_drawer(frame: pd.DataFrame) -> None:
    """Open the drawer of the row that the URL asks for, if it asks for one."""
    asked = state.own("row")
    row = line_of(frame, asked) if asked else None
    if asked and row is None:
        st.warning(plain(f"The link asks for the row {asked}, which is not here; it may have been deleted or moved."))
    if row is not None:
        title = plain(labels([row])[row["run_id"]])
        st.dialog(title, width="large", position="right", on_dismiss=lambda: state.go(row=None))(show_row)(row)


def show_row(row: Any) -> None:
    chips = ", ".join(certificate_chips(row))
    st.markdown(f"**{plain(chips)}**")
    st.text(f"The certificate: {row['claim'] or 'not said'}{doubt(row)}.")
    with st.container(horizontal=True):
        if row["source"] == "run":
            st.page_link("views/run.py", label="The run", query_params=state.params(run=row["run_id"]))
        st.page_link("views/compare.py", label="Compare it", query_params=state.params(a=row["run_id"]))
    st.header("Its command", anchor=False)
    for line in str(row["command"] or "").split(" && "):
        if line:
            st.code(line, language=None, wrap_lines=True)
    if not row["command"]:
        st.text("None: it was read off a paper.")
    st.header("Numbers, with 95 % intervals", anchor=False)
    show_lines(pd.DataFrame(metric_lines(row), columns=["metric", "value", "95 %"]))
    st.header("Settings", anchor=False)
    show_lines(pd.DataFrame(setting_lines(row), columns=["setting", "value"]))
    show_source(row)
    show_records(row)


def show_source(row: Any) -> None:
    """Where a row is from, as text: an address is for the reader to copy."""
    said = [text for text in (row["citation"], row["note"], row["url"]) if text]
    if said:
        st.header("From", anchor=False)
        st.text("\n".join(said))


def show_records(row: Any) -> None:
    """Its records as a file, where they are here."""
    st.header("Records", anchor=False)
    try:
        found = common.records(row)
    except UserError as error:
        st.text(f"{error}.")
        return
    name = f"{file_name(row['run_id'])}-certify.csv"
    flat = found.drop(columns="claim", errors="ignore")
    common.download(f"{len(found)} records as CSV", lambda: flat.map(defused).to_csv(index=False), name, "text/csv")
