"""Two rows of a board, image by image: where their certificates differ, and by how much more than chance explains."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app import common
from app.common import BIND, places, plain, show_plot, show_table, warn_user
from leaderboards import board_results
from leaderboards.compare import OUTCOMES, decided_by_all, difference, outcomes, same_images, shared_images
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import run_folder
from leaderboards.render.labels import labels
from leaderboards.render.plots import certified_accuracy_plot, difference_plot
from leaderboards.render.wide import value_text
from leaderboards.rows import board_rows
from suite.store import read as browse

THUMBNAILS = 12

st.title("Compare two rows", anchor=False)
runs = places().runs
board, convention = common.board_and_convention("rows-of", "rule")
found = {result.run_id: row for result in board_results(board, runs) for row in board_rows([result], ())}
if len(found) < 2:
    st.info(f"{plain(board)} has fewer than two rows to compare. `suite run` makes one.")
    st.stop()
names = list(found)
picked = [st.selectbox(f"Row {letter}", names, i, key=letter.lower(), **BIND) for i, letter in enumerate("AB")]
a, b = (found[name] for name in picked)
called = labels([a, b], full=True)
for letter, name in zip("AB", picked, strict=True):
    st.text(f"{letter}: {called[name]}")
with warn_user():
    own = common.records(a), common.records(b)
    shared, at = shared_images(*own, convention), decided_by_all((a, b))
    specs = [
        browse.read_run(run_folder(name, runs, PUBLISHED)).spec if found[name].source == "run" else None
        for name in picked
    ]
    doubt = same_images(a.data, b.data, specs)
    if doubt:
        st.warning(plain(doubt))
    if shared.empty:
        st.info("The two rows have no image in common: nothing can be paired.")
        st.stop()
    for what in ("kind", "deployed", "n", "alpha", "sigma", "top"):
        values = [getattr(row, what) for row in (a, b)]
        if values[0] != values[1]:
            st.caption(plain(f"They differ in {what}: {' and '.join(map(value_text, values))}."))
    largest = float(max(shared["radius_a"].max(), shared["radius_b"].max()))
    curves = {f"{letter}: {found[name].method}, {found[name].arch}": common.curve(found[name], convention)
              for letter, name in zip("AB", picked, strict=True)}  # fmt: skip
    st.subheader("Certified accuracy of each, on all of its own images", anchor=False)
    show_plot(certified_accuracy_plot(curves), "curves of A and B", "Certified accuracy of A and of B")
    st.subheader(f"A − B on the {len(shared)} images of both", anchor=False)
    gap = difference(shared, convention, at=at)
    show_plot(difference_plot(gap), "difference of A and B", "Certified accuracy of A minus that of B")
    st.caption("The band is the paired 95 % interval for a finite test set (Bonett and Price 2012).")

    r = st.number_input("At radius", 0.0, None, round(largest / 2, 2), 0.05, key="r", **BIND)
    which = outcomes(shared, r, convention)
    counts = which.value_counts().reindex(list(OUTCOMES), fill_value=0)
    table = pd.DataFrame({"certified by": OUTCOMES, "images": counts, "%": 100 * counts / len(shared)})
    show_table(table, f"agreement at {r:g}", {"%": st.column_config.NumberColumn(format="%.1f")})

    st.subheader("Images that one certifies and the other does not", anchor=False)
    apart = shared.assign(certified_by=which)[which.isin(["only A", "only B"])].reset_index(drop=True)
    columns = ["idx", "label", "certified_by", "radius_a", "radius_b", "predict_a", "predict_b"]
    show_table(apart[columns], "images apart")
    if len(apart) and st.toggle("Show the images", key="thumbnails", **BIND):
        from app.images import data_of, show_image  # imports torch, which the rest of the page does without
        from suite.viewer import picture

        own_run = next((name for name in picked if found[name].source == "run"), None)
        if own_run is None:
            st.info("Published logs come without images; compare with a run of this store to see them.")
        else:
            data = data_of(run_folder(own_run, runs, PUBLISHED), places().data_root)
            st.caption(f"The first {min(THUMBNAILS, len(apart))} of {len(apart)}.")
            with st.container(horizontal=True):
                for line in apart[:THUMBNAILS].to_dict("records"):
                    caption = f"{line['idx']}: {data.classes[line['label']]}, {line['certified_by']}"
                    show_image(picture(data, line["idx"]), caption, 110)
