"""Two rows of a board, over all of their seeds: which certifies more at each radius, beyond what chance explains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from app import common, state
from app.common import places, show_plot, show_table, warn_user
from leaderboards.compare import (
    OUTCOMES,
    Pair,
    difference,
    differing,
    outcomes,
    same_images,
)
from leaderboards.links import View, is_number
from leaderboards.orders import usual
from leaderboards.published import all_roots
from leaderboards.published.kept import run_folder
from leaderboards.render.foreign import plain
from leaderboards.render.interactive import Heading
from leaderboards.render.labels import labels, shorten
from leaderboards.render.plots import certified_accuracy_plot, difference_plot
from leaderboards.rows import Row
from leaderboards.shown import rows_to_compare
from leaderboards.verdict import Compared, compared, sentence
from suite.boards.board import load_board, radius_key, radius_text
from suite.store.read import read_run

THUMBNAILS = 12
LARGEST = 1000.0  # radius that can be asked for
TERMS = (
    "kind",
    "deployed",
    "arch",
    "variant",
    "data",
    "sigma",
    "top",
    "images",
    "every",
    "n0",
    "n",
    "alpha",
    "sampling",
)


def pick_rows(view: View, found: dict[str, Row]) -> tuple[str, str]:
    """Rows A and B: those that the URL names, else those that the board as it is filtered has first."""
    frame = common.board_table(view.board, view.convention, view.order)
    by_run = {run: id for id, row in found.items() for run in (id, *row.runs)}
    asked = {}
    for letter in "ab":
        run = state.own(letter)
        if run and run not in by_run:
            st.warning(plain(f"The link asks for the row {run}, which is not on {view.board}."))
        elif run:
            asked[letter] = by_run[run]
    order = view.order or usual(load_board(view.board))
    others = [run for run in rows_to_compare(frame, view, order, asked.values()) if run not in asked.values()]
    names = labels(found.values(), full=True)
    picked = []
    with st.container(horizontal=True, key="pair"):
        for letter in "ab":
            id = asked[letter] if letter in asked else others.pop(0)
            picked.append(st.selectbox(
                f"Row {letter.upper()}", list(names), format_func=lambda id: names[id], **state.own_control(letter, id)
            ))  # fmt: skip
    a, b = (names[id] for id in picked)
    if a != b:  # long names, of which a list shows the beginning
        _, short = shorten([a, b])
        st.text(f"A: {short[a] or a}\nB: {short[b] or b}")
    return picked[0], picked[1]


def show_verdict(found: Compared, a: Row, b: Row) -> None:
    """What can be said of the two, in a sentence and a radius a line."""
    st.header("Verdict", anchor="verdict")
    st.markdown(f"**{plain(sentence(found.verdict))}**")
    seeds = " and ".join(f"{len(row.runs)} seed{'s' * (len(row.runs) > 1)}" for row in (a, b))
    st.text(f"Certified accuracy of A minus that of B, {found.basis}; {seeds}. Intervals: 95 % for all radii at once.")
    lines = [
        (radius_text(at.radius), 100 * at.difference, 100 * at.low, 100 * at.high, at.verdict)
        for at in found.verdict
    ]  # fmt: skip
    names = ["r", "A − B, points", "from", "to", "verdict"]
    headings = [
        Heading("r", "the radius, pixels in [0,1]"),
        Heading(names[1], "certified accuracy of A minus that of B", "%+.1f"),
        Heading("from", "the interval's lower end, for all radii at once", "%+.1f"),
        Heading("to", "its upper end", "%+.1f"), Heading("verdict", "ahead: the interval does not contain 0"),
    ]  # fmt: skip
    show_table(pd.DataFrame(lines, columns=names), "verdict per radius", headings)


def show_settings(a: Row, b: Row) -> None:
    """The settings that differ."""
    st.header("What differs", anchor="settings")
    specs = []
    for row in (a, b):
        spec = read_run(run_folder(row.run_id, places().runs, all_roots())).spec if row.source == "run" else None
        specs.append({name: getattr(row, name) for name in TERMS} | {"method": row.method} | (spec or {}))
    found = differing(*specs)
    if found.empty:
        st.text("Nothing but the records.")
    else:
        show_table(found, "settings that differ")
    prints = [spec if row.source == "run" else None for spec, row in zip(specs, (a, b), strict=True)]
    if doubt := same_images(a.data, b.data, prints):
        st.warning(plain(doubt))


def pick_radius(pair: Pair, decided: Sequence[float]) -> float:
    """The radius that the URL asks for, else one in the middle; of those decided where sampling was adaptive."""
    asked = state.own("r")
    number = radius_key(asked)
    r = decided[len(decided) // 2] if decided else round(pair.largest / 2, 2)
    if is_number(number) and (float(number) in decided if decided else 0 <= float(number) <= LARGEST):
        r = float(number)
    elif asked:
        why = "was not decided for both rows" if decided else "is no radius"
        st.warning(plain(f"The link asks for r = {asked}, which {why}; this is {radius_text(r)}."))
    told: float
    if decided:
        told = st.selectbox("At radius", decided, format_func=radius_text, width=160, **state.own_control("r", r))
    else:
        control = state.own_control("r", r, lambda value: f"{value:g}")
        told = st.number_input("At radius", 0.0, LARGEST, step=0.05, width=160, **control)
    return told


def show_images_apart(pair: Pair, view: View, a: Row, b: Row, decided: Sequence[float]) -> None:
    """How often the rows agree at a radius, and the images on which they do not."""
    st.header("Image by image", anchor="images")
    r = pick_radius(pair, decided)
    which = outcomes(pair, r, view.convention)
    counts = which.value_counts().reindex(list(OUTCOMES), fill_value=0)
    table = pd.DataFrame({"certified by": OUTCOMES, "images": counts, "%": 100 * counts / max(len(which), 1)})
    show_table(table, "agreement", [Heading("%", "of the images that count", "%.1f")])
    apart = pair.images.assign(certified_by=which)[which.reindex(pair.images.index).isin(["only A", "only B"])]
    apart = apart.reset_index(drop=True)
    st.subheader("Images that one certifies and the other does not", anchor=False)
    show_table(apart, "images apart")
    if len(apart):
        show_thumbnails(apart, a, b)


def show_thumbnails(apart: pd.DataFrame, a: Row, b: Row) -> None:
    if not st.toggle(
        "Show the images", **state.own_control("images", state.own("images") == "on", lambda on: "on" * on)
    ):
        return
    own = next((row for row in (a, b) if row.source == "run"), None)
    if own is None:
        st.info("Published logs come without images; compare with a run to see them.")
        return
    from app.images import data_of, show_image  # imports torch, which the rest of the page does without
    from suite.viewer import picture

    data = data_of(run_folder(own.run_id, places().runs, all_roots()), places().data_root)
    st.text(f"The first {min(THUMBNAILS, len(apart))} of {len(apart)}.")
    with st.container(horizontal=True):
        for line in apart[:THUMBNAILS].to_dict("records"):
            caption = f"{line['idx']}: {data.classes[line['label']]}, {line['certified_by']}"
            show_image(picture(data, line["idx"]), caption, 110)


def show_curves(view: View, a: Row, b: Row, pair: Pair | None, decided: Sequence[float]) -> None:
    st.header("Curves", anchor="curves")
    curves: dict[str, Any] = {}
    called = labels((a, b))
    _, short = shorten(called.values())
    for letter, row in zip("AB", (a, b), strict=True):
        with warn_user():
            name = called[row.run_id]
            curves[f"{letter}: {short[name] or name}"] = common.curve(row, view.convention)
    methods = {name: row.method for name, row in zip(curves, (a, b), strict=False)}
    st.markdown("Each on all of its own images.")
    show_plot(certified_accuracy_plot(curves, methods=methods), "curves of A and B", "Certified accuracy of A and of B")
    if pair is not None and len(pair.images):
        st.markdown(f"A − B on the {len(pair.images)} images of both, with the paired 95 % interval at each radius.")
        gap = difference(pair, view.convention, at=decided)
        show_plot(difference_plot(gap), "difference of A and B", "Certified accuracy of A minus that of B")


def show_pair(view: View, found: dict[str, Row]) -> None:
    """The verdict on two rows, and what it rests on."""
    with warn_user():
        names = pick_rows(view, found)
        a, b = (found[name] for name in names)
        if a is b:
            st.info("Both are the same row.")
            return
        compare = compared(a, b, common.records, view.convention)
        show_verdict(compare, a, b)
        show_settings(a, b)
        show_curves(view, a, b, compare.pair, compare.decided)
        if compare.pair is not None:
            show_images_apart(compare.pair, view, a, b, compare.decided)


view = state.view()
st.title(plain(f"Compare two rows of {load_board(view.board).title}"), anchor=False)
found = {
    id: row for id, row in common.board_rows(view.board, view.convention).items() if not row.source.startswith("paper")
}
if len(found) < 2:
    st.info(f"{plain(view.board)} has fewer than two rows to compare. `suite run` makes one.")
else:
    show_pair(view, found)
