"""The curves of a board: of rows, of attacks on them, and of each method's best over σ."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import common
from app.common import PICKED, show_plot, warn_user
from leaderboards.board import table_rows
from leaderboards.compare import decided_by_all
from leaderboards.curves import ATTACKS, attack_curve
from leaderboards.envelope import envelope, envelope_groups
from leaderboards.links import View
from leaderboards.render.drawn import hover_note, radius_limits, table_shares
from leaderboards.render.foreign import plain
from leaderboards.render.labels import labels, shorten
from leaderboards.render.plots import attack_plot, certified_accuracy_plot
from leaderboards.shown import has_images


def show_curves(view: View, title: str, group: pd.DataFrame, lines: dict[str, pd.Series[Any]]) -> None:
    """The curves of the table's first rows, or of those that are ticked, which have bands."""
    chosen = [row for row in lines.values() if not row["source"].startswith("paper")] or (
        [] if lines else table_rows(has_images(group))[:PICKED]
    )
    if not chosen:
        return
    called = labels(chosen, full=len({row["sigma"] for row in chosen}) > 1)
    alike, short = shorten(called.values(), votes=True)
    called = {run: short.get(name) or name for run, name in called.items()}
    drawn, attacked, curves = {}, {}, {}
    for row in chosen:
        label = called[row["run_id"]]
        with warn_user():
            curves[label], drawn[label] = common.curve(row, view.convention), row
            if pd.notna(row["pgd"]) or pd.notna(row["ddn"]):
                attacked[label] = attack_curve(common.records(row, "attack"))
    st.header("Curves", anchor="curves")
    st.markdown("Of the ticked rows." if lines else "Of the first rows of the table; tick others.")
    if alike:
        st.text(f"All are {alike}.")
    plot = certified_accuracy_plot(
        curves, {label: table_shares(row, map(str, group)) for label, row in drawn.items()},
        methods={label: row["method"] for label, row in drawn.items()}, banded=list(curves) if lines else [],
        said={label: hover_note(row) for label, row in drawn.items()}, limits=radius_limits(drawn.values()),
    )  # fmt: skip
    show_plot(
        plot, f"certified accuracy {view.board} {title}", f"Certified accuracy against radius of {', '.join(curves)}"
    )
    for attack in ATTACKS:
        own = {label: curve for label, curve in attacked.items() if attack in curve}
        if own:
            with st.expander(f"Under attack: {ATTACKS[attack]}"):
                name = f"{attack} {view.board} {title}"
                show_plot(attack_plot(own, attack), name, f"Share of images attacked by {attack}")


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
