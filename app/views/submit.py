"""How a row comes onto the boards."""

from __future__ import annotations

import streamlit as st

from app import state
from app.common import places
from leaderboards.cache import read_results
from leaderboards.links import View
from leaderboards.render.foreign import legible

CHECKED = (
    "settings: the folder's name has their digest, and each file of records that of its own settings",
    "radii: each is computed anew from its votes, n, α and σ",
    "images: those that the settings name, each once",
    "labels: those of the data set where it is here, else those of other rows on the same data",
    "row: each metric is what the records give, and all else is what the settings say",
)
NOT_CHECKED = "The votes themselves: for that a maintainer trains the network again, by the row's command."

view: View = state.view()
own = [result.run_id for result in read_results(places().runs)[0] if result.dataset == view.board]
st.title("Submit a row", anchor=False)
st.markdown(
    "The boards are in the repository, and the site is built from them alone. A row comes by a pull request that adds "
    "its files; one command makes and checks them. Rows are not judged by how large their numbers are."
)
st.header("A run of the suite", anchor="run")
st.markdown("Of any method, or of your own network: its settings, environment and a record for each image; no weights.")
for run in own[:1] or ["RUN"]:
    st.code(f"suite submit {legible(run)} --checkout PATH_OF_YOUR_CLONE", language=None, wrap_lines=True)
begin = f"None of your runs is on this board yet. Begin one: suite run --method heat --dataset {view.board}"
here = f"{len(own)} of your runs are on this board; one of several seeds is submitted with all of them."
st.text(here if own else begin)
st.header("A log of your paper", anchor="log")
st.markdown(
    "In Cohen et al.'s layout: idx, label, predict, radius, correct. The log itself stays where you publish it."
)
st.code(
    f"suite submit log.tsv --checkout PATH_OF_YOUR_CLONE --board {view.board} --method METHOD --arch ARCH --sigma 0.25 "
    '--citation "Authors. Title. Venue, year."',
    language=None, wrap_lines=True,
)  # fmt: skip
st.header("What is checked", anchor="checks")
st.markdown("\n".join(f"- {line}" for line in CHECKED))
st.header("What is not", anchor="not-checked")
st.markdown(NOT_CHECKED)
st.header("Licence", anchor="licence")
st.markdown(
    "A row's files come under the repository's licence (MIT). A log keeps its own; name it in the pull request."
)
