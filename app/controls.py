"""The controls of a board: which board, by what it is ranked, what is searched for, filters and options."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import state
from app.common import IMAGES
from leaderboards.links import COLUMNS, CONVENTIONS, FILTERS, View
from leaderboards.orders import orders, short, usual
from suite.boards.board import load_board


def controls(view: View) -> None:
    """What board, by what it is ranked, and what is searched for."""
    board = load_board(view.board)
    with st.container(horizontal=True, key="controls", vertical_alignment="bottom"):
        st.selectbox(
            "Board", state.board_names(), width=180, key="view board", on_change=lambda: state.go(
                view.on(st.session_state["view board"]), row=None, a=None, b=None
            ),
        )  # fmt: skip
        names = list(orders(board))
        st.selectbox(
            "Rank by", names, format_func=short, width=150,
            help="what orders the rows of each table, and what their ranks are of",
            **state.control("order", view.order or usual(board), lambda key: "" if key == usual(board) else key),
        )  # fmt: skip
        st.text_input(
            "Search",
            placeholder="method, network, citation",
            width=260,
            type="search",
            **state.control("search", view.search),
        )


def options(view: View, frame: pd.DataFrame, hidden: int) -> None:
    """Filters, which say how many rows they hide, and how abstentions count."""
    name = (
        f"Filters ({view.filtered}): {hidden} of {len(frame)} rows hidden" if view.filtered else "Filters and options"
    )
    with st.expander(name, expanded=bool(view.filtered)):
        for place, (field, label) in zip(st.columns(len(FILTERS)), FILTERS.items(), strict=True):
            values = [f"{v:g}" if field == "sigma" else str(v) for v in sorted(frame[COLUMNS[field]].dropna().unique())]
            chosen = [value for value in getattr(view, field) if value in values]
            place.multiselect(label, values, placeholder="all", **state.control(field, chosen, tuple))
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.segmented_control(
                "Abstentions", list(CONVENTIONS), format_func=lambda key: CONVENTIONS[key], required=True,
                help="Count as wrong: certified at r if correct and R ≥ r (Cohen et al.). Dropped: abstentions leave "
                "the denominator, and R > r (the paper's Figure 1).", **state.control("convention", view.convention),
            )  # fmt: skip
            st.segmented_control(
                "The camera above a plot saves", ["PNG", "SVG"], default="PNG", required=True, key=IMAGES,
                persist_state="session",
            )  # fmt: skip
            if view.filtered:
                st.button("Clear the filters", on_click=lambda: state.go(view.cleared()))
