"""One run: what was asked, how it trained, every record, and its images as its model sees them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from app import common
from app.common import BIND, places, plain, show_plot, show_table, warn_user
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT, records_file
from leaderboards.render.plots import training_plot, votes_plot
from leaderboards.render.wide import metrics_table
from suite.store.read import Run, read_run, run_folders
from suite.store.records import read_records

DRAWS = 100  # votes under noise


def show_images(run: Run, folder: Path) -> None:
    """The image browser."""
    from app.images import show_image, view_of  # torch, which the rest of the page does without

    assert run.spec is not None
    certified = common.run_records(folder.name) if "certify" in run.protocols else None
    known = [] if certified is None or certified.empty else certified["idx"].tolist()
    index = st.number_input("Image", 0, None, int(known[0]) if known else 0, key="image", **BIND)
    record = certified[certified["idx"] == index] if certified is not None and known else pd.DataFrame()
    if len(record):
        own = record.iloc[0]
        answer = "abstained" if own["predict"] == -1 else f"class {own['predict']}, radius {own['radius']:.4f}"
        st.text(f"Certificate: {answer}; the label is {own['label']}. What it says: {own['claim']}.")
    else:
        st.text("No certificate: the run has not certified this image.")
    look, data = view_of(folder, places().data_root, int(index), DRAWS)
    name = data.classes
    with st.container(horizontal=True):
        show_image(look.clean, f"clean: {name[look.label]}; one pass says {name[look.answer]}")
        if look.noisy is not None and look.answer_noisy is not None:
            show_image(look.noisy, f"σ = {run.spec['sigma']:g}: one pass says {name[look.answer_noisy]}")
        if look.adversarial is None or look.distance is None or look.answer_adversarial is None:
            st.text(f"PGD found no adversarial image within {run.spec['attack']['max_norm']:g}.")
        elif look.distance == 0:
            st.text("Misclassified as it is: no attack is needed.")
        else:
            inside = ", inside of the certified radius" if len(record) and look.distance < own["radius"] else ""
            show_image(
                look.adversarial,
                f"PGD at distance {look.distance:.4f}{inside}: the row says {name[look.answer_adversarial]}",
            )
    if not look.votes:
        st.caption("This run has no noise: its certificates are margins of the single pass.")
        return
    alt = f"Votes of {DRAWS} noisy copies by class"
    show_plot(votes_plot(look.votes, name, look.label), f"votes {folder.name} {index}", alt)
    st.caption(f"{DRAWS} noisy copies; fresh draws, other ones than the certificate's.")


st.title("Run", anchor=False)
runs = places().runs
folders = run_folders(PUBLISHED / KEPT, runs)
if not folders:
    st.info(f"No run in {plain(runs)}. Begin one: `suite run --method heat --dataset digits`")
    st.stop()
asked = st.query_params.get("run")
if asked and asked not in folders:
    st.warning(plain(f"There is no run {asked} here; it may have been deleted or moved. Pick another."))
folder = folders[st.selectbox("Run", list(folders), key="run", **BIND)]
run = read_run(folder)
if run.damaged:
    st.warning(plain(f"Damaged, and left out: {', '.join(run.damaged)} of {folder}"))
if run.result is None:
    st.warning("This run has not finished: the command that began it goes on where it stopped. What is there so far:")
else:
    show_table(metrics_table(run.result), f"metrics {folder.name}")
left, right = st.columns(2)
with left.expander("Settings"):
    st.json(run.spec or {}, expanded=1)
with right.expander("Environment"):
    st.json(run.environment or {})
if {"epoch", "loss", "lr"} <= set(run.history):
    st.subheader("Training", anchor=False)
    show_plot(training_plot(run.history), f"training {folder.name}", "Loss and learning rate against epochs")
if run.protocols:
    st.subheader("Records", anchor=False)
    protocol = st.selectbox("Protocol", run.protocols, key="protocol", **BIND)
    with warn_user():
        show_table(read_records(records_file(folder, protocol)), f"{protocol} {folder.name}")
if run.spec:
    st.subheader("Images", anchor=False)
    if st.toggle("Show images, with the data and the model loaded", key="images", **BIND):
        with warn_user():
            show_images(run, folder)
