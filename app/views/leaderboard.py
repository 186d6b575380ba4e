"""The board of a data set: a table for each group of comparable rows, and the curves of the rows that one picks."""

from __future__ import annotations

import hashlib
from typing import Any

import pandas as pd
import streamlit as st

from app import common
from app.common import BIND, PICKED, places, plain, show_plot, show_table, warn_user
from leaderboards import groups, table
from leaderboards.board import over_sigma, select_rows, table_rows
from leaderboards.compare import decided_by_all
from leaderboards.curves import ATTACKS, attack_curve, upper_envelope
from leaderboards.field import FieldLine, field
from leaderboards.render.field import field_frame, field_tables
from leaderboards.render.labels import labels
from leaderboards.render.plots import attack_plot, certified_accuracy_plot
from leaderboards.render.wide import HELP, count_line, formats, wide_table
from suite.statistics.bounds import Convention

WIDTHS: dict[str, int] = {"method": 160, "command": 240}
FORMATS = {name: st.column_config.TextColumn(width=WIDTHS.get(name), help=HELP.get(name)) for name in (*HELP, "method")}


def show_group(title: str, group: pd.DataFrame, convention: Convention, first: bool) -> None:
    """A table, and below it, where they are asked for, the curves of picked rows."""
    st.subheader(plain(title), anchor=False)
    name = f"{board} {title}"
    numbers = {heading: st.column_config.NumberColumn(format=form, help=help) for heading, form, help in formats(group)}
    show_table(wide_table(group), name, FORMATS | numbers)
    certificate_captions(group)
    recorded = group[~group["source"].str.startswith("paper")]
    if recorded.empty:
        return
    mark = hashlib.sha256(title.encode()).hexdigest()[:4]
    if not st.toggle("Curves", value=first, key=f"curves-{mark}", **BIND):
        return
    lines = table_rows(recorded)
    called = labels(lines)
    picked = st.multiselect(
        "Rows in the plot", list(called.values()), list(called.values())[:PICKED], key=f"rows-{mark}", **BIND
    )
    found: dict[str, Any] = {called[row.run_id]: row for row in lines}
    curves, at, attacked = {}, {}, {}
    for label in picked:
        row = found[label]
        with warn_user():
            curves[label] = common.curve(row, convention)
            at[label] = {float(c[2:]): row[c] for c in row.index if c.startswith("r=") and pd.notna(row[c])}
            if pd.notna(row.pgd) or pd.notna(row.ddn):
                attacked[label] = attack_curve(common.records(row, "attack"))
    alt = f"Certified accuracy against radius of {', '.join(picked)}; {title}"
    show_plot(certified_accuracy_plot(curves, at), f"certified accuracy {name}", alt)
    if attacked:
        attacks = [attack for attack in ATTACKS if any(attack in curve for curve in attacked.values())]
        for place, attack in zip(st.columns(len(attacks)), attacks, strict=True):
            with place:
                figure = attack_plot({label: curve for label, curve in attacked.items() if attack in curve}, attack)
                show_plot(figure, f"{attack} {name}", f"Share of images attacked by {attack} against distance")
    links(picked, found)


def links(picked: list[str], found: dict[str, Any]) -> None:
    """To the picked runs' pages, and to the comparison of the first two rows."""
    own = [label for label in picked if found[label].source == "run"]
    with st.container(horizontal=True):
        if len(picked) > 1:
            query = {"rows-of": board, "a": found[picked[0]].run_id, "b": found[picked[1]].run_id}
            st.page_link("views/compare.py", label="Compare the first two", query_params=query)
        for label in own:
            query = {"run": found[label].run_id}
            st.page_link("views/run.py", label=f"Open {plain(label)}", query_params=query)


def show_field(lines: list[FieldLine]) -> None:
    """The field's tables, and where their lines are from."""
    for found in field_tables(lines):
        st.subheader(plain(found.title), anchor=False)
        show_table(field_frame(found), f"{board} {found.title}")
        st.caption(plain(found.note))
        with st.expander("Sources"):
            st.text("\n".join(found.sources))


def envelopes(frame: pd.DataFrame) -> None:
    """The best certified accuracy over σ of each method and architecture that has several."""
    found = {}
    for name, by_sigma in over_sigma(frame).items():
        with warn_user():
            own = {sigma: common.curve_source(row) for sigma, row in by_sigma.items()}
            found[name] = upper_envelope(own, convention, decided_by_all(by_sigma.values()))
    if not found:
        st.info("No method and architecture here has rows at several σ that are alike in all else.")
        return
    show_plot(certified_accuracy_plot(found), f"envelope {board}", f"Upper envelope over σ of {', '.join(found)}")
    st.caption(
        "At each radius the best of the method's σ (at each σ its first row), chosen on the test images after the "
        "fact. No single classifier reaches this curve: compare it with other envelopes only."
    )


def certificate_captions(group: pd.DataFrame) -> None:
    """What each certificate of a group says, and what an attack inside of it found."""
    for claim, rows in group[group["claim"].fillna("") != ""].groupby("claim", sort=False):
        st.caption(plain(f"{', '.join(rows['method'].unique())}: {claim}."))
    for row in table_rows(group):
        if counts := count_line(row):
            st.caption(plain(f"{counts}."))


def references(frame: pd.DataFrame) -> None:
    """Where published rows come from."""
    cited = frame[frame["citation"].fillna("") != ""]
    if len(cited):
        st.subheader("Where published rows come from", anchor=False)
    for citation, rows in cited.groupby("citation", sort=False):
        notes = "; ".join(note for note in rows["note"].unique() if note)
        st.text(f"{', '.join(rows['method'].unique())}: {citation}" + (f" ({notes})" if notes else ""))


st.title("Certified ℓ2 robustness", anchor=False)
runs = places().runs
board, convention = common.board_and_convention("board", "abstentions")
frame = table(board, runs, convention)
if frame.empty:
    st.info(
        f"No finished run on {plain(board)} in {plain(runs)}. Begin one: `suite run --method heat --dataset digits`, "
        "or any other data set and method."
    )
    st.stop()
with st.expander("Filters"):
    chosen = {}
    names = {"method": "Method", "arch": "Architecture", "kind": "Kind", "source": "Source", "sigma": "σ"}
    for place, (column, name) in zip(st.columns(len(names)), names.items(), strict=True):
        values = sorted(frame[column].dropna().unique().tolist())
        chosen[column] = place.multiselect(name, values, key=column, placeholder="all", **BIND)
kept = select_rows(frame, **chosen)
if kept.empty:
    st.info("No row passes the filters; take one away.")
    st.stop()
lines = [] if any(chosen.values()) else field(board, runs, convention)
show_field([line for line in lines if line.source == "records"])
own_first = sorted(groups(kept), key=lambda named: not (named[1]["source"] == "run").any())
for number, (title, group) in enumerate(own_first):
    show_group(title, group, convention, first=not number)
if kept["sigma"].nunique() > 1 and st.toggle("Upper envelope over σ", key="envelope", **BIND):
    envelopes(kept)
show_field([line for line in lines if line.source != "records"])
references(kept)
