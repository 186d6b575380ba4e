"""The board of a data set: what is measured, the field at a glance, a table of rows that compare, and their curves."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import common, state
from app.common import places
from app.controls import controls, options
from app.curves import show_curves, show_envelopes
from app.drawer import open_drawer
from app.tables import show_field, show_rows
from leaderboards import groups
from leaderboards.field import field
from leaderboards.headline import measured, order_line
from leaderboards.links import View, ticked, unknown
from leaderboards.orders import ranked_field, usual
from leaderboards.published import all_roots
from leaderboards.render.foreign import plain
from leaderboards.shown import best_shown, kept_rows, table_shown
from suite.boards.board import load_board

LINKS = {
    "How to read a row": "views/about.py",
    "Submit a row": "views/submit.py",
    "The paper": "views/paper.py",
    "Code": "views/about.py",
    "Cite": "views/about.py",
}


def show_board(view: View, frame: pd.DataFrame, kept: pd.DataFrame, found: dict[str, pd.DataFrame], order: str) -> None:
    """What is below the controls of a board that has rows, of which the filters kept some."""
    options(view, frame, len(frame) - len(kept))
    typed_and_recorded = (
        [] if view.filtered else ranked_field(field(view.board, places().runs, view.convention, all_roots()), order)
    )
    show_field(view, [line for line in typed_and_recorded if line.source == "records"], order)
    if kept.empty:
        st.info("No row passes the filters.")
    else:
        title = table_shown(view, found, order)
        lines = {row["run_id"]: row for row in ticked(frame, view)}
        show_rows(view, found, title, lines)
        show_curves(view, title, found[title], lines)
        show_envelopes(view, kept)
    show_field(view, [line for line in typed_and_recorded if line.source != "records"], order)


view = state.view()
st.session_state["view board"] = view.board
board = load_board(view.board)
order = view.order or usual(board)
frame = common.board_table(view.board, view.convention, view.order)
st.title(plain(f"Certified ℓ2 robustness on {board.title}"), anchor=False)
for line in unknown(view, frame):
    st.warning(plain(line))
kept = kept_rows(frame, view)
found = dict(groups(kept, sort=order)) if len(kept) else {}
if found:
    best = best_shown(view, found[table_shown(view, found, order)])
else:
    best = "Best: no row is shown." if len(frame) else "Best: no rows yet."
st.markdown("  \n".join(map(plain, (measured(view.convention), order_line(board, order), best))))
with st.container(horizontal=True, key="links"):
    for label, page in LINKS.items():
        st.page_link(page, label=label, query_params=state.params(view))
controls(view)
if frame.empty:
    st.info(
        f"No finished run on {plain(view.board)} yet. Begin one: `suite run --method heat --dataset {view.board}`, or "
        "any other data set and method."
    )
else:
    show_board(view, frame, kept, found, order)
open_drawer(frame)
