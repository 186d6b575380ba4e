"""The board of a data set: what is measured, the field at a glance, a table of rows that compare, and their curves."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pandas as pd
import streamlit as st

from app import common, state
from app.common import IMAGES, PICKED, places, show_plot, show_table, warn_user
from app.drawer import open_drawer
from leaderboards import groups
from leaderboards.board import select_rows, table_rows
from leaderboards.compare import decided_by_all
from leaderboards.curves import ATTACKS, attack_curve
from leaderboards.envelope import envelope, envelope_groups
from leaderboards.field import FieldLine, field
from leaderboards.headline import best_line, doubt, field_best, first_table, measured, order_line
from leaderboards.links import COLUMNS, CONVENTIONS, FILTERS, View, search, ticked, unknown
from leaderboards.orders import orders, ranked_field, short, usual
from leaderboards.published import all_roots
from leaderboards.render.cells import rank_text
from leaderboards.render.export import to_csv
from leaderboards.render.field import field_tables, table_of
from leaderboards.render.foreign import plain
from leaderboards.render.interactive import field_table, interactive_table
from leaderboards.render.labels import labels
from leaderboards.render.plots import attack_plot, certified_accuracy_plot
from leaderboards.render.presets import PRESETS
from leaderboards.render.site_page import slug
from suite.boards.board import load_board
from suite.statistics.bounds import largest_radius

LINKS = {
    "How to read a row": "views/about.py",
    "Submit a row": "views/submit.py",
    "The paper": "views/paper.py",
    "Code": "views/about.py",
    "Cite": "views/about.py",
}


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


def show_field(view: View, lines: list[FieldLine]) -> None:
    """The field's tables, whose lines stand for the rows they chose, and where they are from."""
    parts = [list(own) for _, own in groupby(lines, key=table_of)]
    for own, found in zip(parts, field_tables(lines), strict=True):
        st.header(plain(found.title), anchor=slug(found.title))
        frame, headings = field_table(found)
        more = {}
        if own[0].source == "records":
            st.markdown(plain(field_best(own, view.order or usual(load_board(view.board)))))
            more = tick(
                found.title, [tuple(dict.fromkeys(best.run_id for best in line.at.values())) for line in own], view
            )
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


def table_shown(view: View, found: dict[str, pd.DataFrame], order: str) -> str:
    """The title of the table that the URL asks for; the first one where it asks for none that is here."""
    asked = next((title for title in found if slug(title) == view.table), None)
    return asked or first_table(found, order)


def best_shown(view: View, group: pd.DataFrame) -> str:
    """What can be said of the first row of a table; ranks are among all of its rows, whatever filters leave."""
    first = group.sort_values("rank").iloc[0]
    if not view.filtered or pd.isna(first["rank"]):
        return best_line(group)
    return f"Best of the rows shown: {first['method']}, rank {rank_text(first)} in its whole table{doubt(first)}."


def show_rows(view: View, found: dict[str, pd.DataFrame], title: str, lines: dict[str, pd.Series[Any]]) -> None:
    """The table of comparable rows that is chosen, what is ticked, and the curves."""
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
    name = f"{view.board} {title}"
    more = tick(title, [(run,) for run in group["run_id"]], view)
    show_table(frame, name, headings, lambda: to_csv(group.drop(columns="whose")), **more)
    bar(group, lines)
    what_it_says(group)
    show_curves(view, title, group, lines)


def to_compare(group: pd.DataFrame, lines: dict[str, pd.Series[Any]]) -> tuple[str, list[str]]:
    """What the link to a comparison says, and its rows: ticked ones, else the table's first; none of a paper's."""
    ticked = [run for run, row in lines.items() if not row["source"].startswith("paper")][:2]
    others = group[~group["source"].str.startswith("paper") & ~group["run_id"].isin(ticked)][: 2 - len(ticked)]
    pair = [*ticked, *others["run_id"]]
    ranks = " and ".join(map(str, others["rank"]))
    if len(ticked) == 2:
        return "Compare the ticked rows", pair
    if len(pair) < 2 or others["rank"].isna().any():
        return "Compare two rows", pair
    return f"Compare it with rank {ranks}" if ticked else f"Compare ranks {ranks}", pair


def bar(group: pd.DataFrame, lines: dict[str, pd.Series[Any]]) -> None:
    """What can be done with ticked rows."""
    with st.container(horizontal=True, vertical_alignment="center"):
        if not lines:
            st.markdown("Tick rows to draw their bands, compare them or open them.")
        else:
            st.markdown(f"{len(lines)} ticked:")
            st.button("Clear", on_click=lambda: state.change(rows=()))
        label, pair = to_compare(group, lines)
        a, b = [*pair, None, None][:2]
        st.page_link("views/compare.py", label=label, query_params=state.params(a=a, b=b))
        for run, row in list(lines.items())[:PICKED]:
            name = plain(f"{row['method']}, {row['arch']}")
            st.button(f"Open {name}", key=f"open {run}", on_click=lambda run=run: state.go(row=run))


def what_it_says(group: pd.DataFrame) -> None:
    """What the table's certificates say, a sentence for all; a row's own words are in its drawer."""
    claims = group["claim"].fillna("").replace("", None).dropna().unique()
    doubtful = (group["holds"] == False).sum()  # noqa: E712 - not known is neither
    pass_only = (
        f"Rows that deploy a single pass, which their certificates do not hold for: {doubtful} of {len(group)}. "
    )
    said = pass_only if doubtful else ""
    more = (
        "Open a row for what its own certificate says."
        if len(claims) > 1
        else f"Certificates: {next(iter(claims), 'not said')}."
    )
    st.text(f"{said}{more}")


def show_curves(view: View, title: str, group: pd.DataFrame, lines: dict[str, pd.Series[Any]]) -> None:
    """The curves of the table's first rows, or of those that are ticked, which have bands."""
    recorded = table_rows(group[~group["source"].str.startswith("paper")])
    chosen = list(lines.values()) or recorded[:PICKED]
    chosen = [row for row in chosen if not row["source"].startswith("paper")]
    if not chosen:
        return
    called = labels(chosen, full=len({row["sigma"] for row in chosen}) > 1)
    curves, at, said, attacked, limits = {}, {}, {}, {}, {}
    for row in chosen:
        label = called[row["run_id"]]
        with warn_user():
            curves[label] = common.curve(row, view.convention)
            at[label] = {float(c[2:]): row[c] for c in map(str, group) if c.startswith("r=") and pd.notna(row[c])}
            n = "margin" if row["kind"] == "margin" else f"n = {row['n']}"
            said[label] = f"{n}, {row['images']} images"
            if row["kind"] == "vote":
                terms = f"limit of n = {row['n']}, α = {row['alpha']:g}, σ = {row['sigma']:g}"
                limits[terms] = largest_radius(int(row["n"]), float(row["alpha"]), float(row["sigma"]))
            if pd.notna(row["pgd"]) or pd.notna(row["ddn"]):
                attacked[label] = attack_curve(common.records(row, "attack"))
    st.header("Curves", anchor="curves")
    st.markdown("Of the ticked rows." if lines else "Of the first rows of the table; tick others.")
    methods = {called[row["run_id"]]: row["method"] for row in chosen}
    plot = certified_accuracy_plot(
        curves, at, methods=methods, banded=list(curves) if lines else [], said=said, limits=limits
    )
    show_plot(
        plot, f"certified accuracy {view.board} {title}", f"Certified accuracy against radius of {', '.join(curves)}"
    )
    attacks = [attack for attack in ATTACKS if any(attack in curve for curve in attacked.values())]
    for attack in attacks:
        with st.expander(f"Under attack: {ATTACKS[attack]}"):
            own = {label: curve for label, curve in attacked.items() if attack in curve}
            show_plot(
                attack_plot(own, attack), f"{attack} {view.board} {title}", f"Share of images attacked by {attack}"
            )


def show_envelopes(view: View, kept: pd.DataFrame) -> None:
    """For each group that compares but for σ, each method's best over σ."""
    found = envelope_groups(kept)
    if not found:
        return
    st.header("Best over σ, as curves", anchor="envelope")
    shown = st.toggle("Draw them", key="envelopes")
    st.caption(
        "At each radius the best of a method's σ, chosen on the test images after the fact; the hover says which. No "
        "single classifier reaches this curve: compare it with other envelopes only. The band is that of the σ chosen."
    )
    for group in found if shown else ():
        st.subheader(plain(group.title), anchor=False)
        curves, methods = {}, {}
        for name, by_sigma in group.by_sigma.items():
            with warn_user():
                sources = {sigma: common.curve_source(row) for sigma, row in by_sigma.items()}
                curves[name] = envelope(sources, view.convention, decided_by_all(by_sigma.values()))
                methods[name] = next(iter(by_sigma.values()))["method"]
        plot = certified_accuracy_plot(curves, methods=methods, banded=list(curves)[:PICKED])
        show_plot(plot, f"envelope {group.title}", f"Best certified accuracy over σ of {', '.join(curves)}")
        if group.single:
            st.text(f"Not drawn, at one σ only: {'; '.join(group.single)}.")


def show_board(view: View, frame: pd.DataFrame, kept: pd.DataFrame, found: dict[str, pd.DataFrame], order: str) -> None:
    """What is below the controls of a board that has rows, of which the filters kept some."""
    options(view, frame, len(frame) - len(kept))
    typed_and_recorded = (
        [] if view.filtered else ranked_field(field(view.board, places().runs, view.convention, all_roots()), order)
    )
    show_field(view, [line for line in typed_and_recorded if line.source == "records"])
    ticked_lines = {row["run_id"]: row for row in ticked(frame, view)}
    if kept.empty:
        st.info("No row passes the filters.")
    else:
        show_rows(view, found, table_shown(view, found, order), ticked_lines)
        show_envelopes(view, kept)
    show_field(view, [line for line in typed_and_recorded if line.source != "records"])


view = state.view()
st.session_state["view board"] = view.board
board = load_board(view.board)
order = view.order or usual(board)
frame = common.board_table(view.board, view.convention, view.order)
st.title(plain(f"Certified ℓ2 robustness on {board.title}"), anchor=False)
for line in unknown(view, frame):
    st.warning(plain(line))
kept = search(select_rows(frame, **view.filters), view.search) if len(frame) else frame
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
