"""What the boards are, how a row is read, the paper, the code, and how to cite them."""

from __future__ import annotations

import streamlit as st

from app import common, state
from app.common import show_lines
from leaderboards import groups
from leaderboards.about import BIBTEX, GLOSSARY, PAPER, WHAT_CERTIFIED_MEANS, code_address, counts
from leaderboards.render.foreign import plain
from leaderboards.render.interactive import explained

view = state.view()
frame = common.board_table(view.board, view.convention, view.order)
st.title("About these boards", anchor=False)
st.markdown(WHAT_CERTIFIED_MEANS)
st.header("How to read a row", anchor="reading-a-row")
for word, meaning in GLOSSARY.items():
    st.markdown(f"**{word}** {meaning}")
st.header("What the columns say", anchor="columns")
if frame.empty:
    st.text("No rows here yet.")
else:
    st.text(f"Of the tables of {view.board}, {len(dict(groups(frame)))} in all.")
    show_lines(explained(frame, view.convention))
st.header("What is here", anchor="counts")
st.text(counts(frame))
st.header("The paper", anchor="paper")
st.text(PAPER)
st.page_link(
    "views/paper.py", label="Its figures and tables, and whether the rows bear it out", query_params=state.params()
)
st.header("The code", anchor="code")
st.text(code_address())
st.header("Cite", anchor="cite")
st.code(BIBTEX, language=None, wrap_lines=True)
st.text("Cite the paper of the method whose row you use, too: a row's drawer says whose it is.")
st.header("Embed or export", anchor="export")
st.markdown("A board as JSON, CSV, Markdown, LaTeX or one HTML page:")
st.code(f"suite leaderboard {plain(view.board)} --format json --out board.json", language=None, wrap_lines=True)
st.markdown("`?embed=true` at the end of a link shows a page without Streamlit's frame.")
