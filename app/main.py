"""The pages of `suite app`, which `app.server` serves; its arguments are RUNS DATA STORAGE, each "" for its default."""

from __future__ import annotations

import streamlit as st

from app import state
from app.common import places, read_boards, without_paths
from app.names import PAGES, page_title
from leaderboards.links import read_view
from leaderboards.render.foreign import legible, plain
from suite.boards.board import load_board
from suite.errors import UserError
from suite.store.read import check_store

st.set_page_config(layout="wide")  # before anything is drawn; the title follows below
home = st.Page("views/leaderboard.py", title=PAGES["leaderboard"], url_path="home", default=True)  # at /
others = [st.Page(f"views/{name}.py", title=title, url_path=name) for name, title in PAGES.items()]
page = st.navigation([home, *others], position="hidden")
try:
    check_store(places().runs)
    st.session_state["boards"] = read_boards(places().runs)
    view, said = read_view(state.query(), state.board_names())
    st.set_page_config(page_title=legible(page_title(page.url_path, load_board(view.board).title)))
    with st.container(horizontal=True, key="navigation"):
        board_page = others[0] if page.url_path == "leaderboard" else home  # at /leaderboard the menu marks that one
        for other in (board_page, *others[1:]):
            st.page_link(other, label=other.title, query_params=state.params(view))
    for line in said:
        st.warning(plain(line))
    page.run()
except UserError as error:
    st.error(plain(without_paths(error)))
except OSError as error:
    st.error(plain(without_paths(f"cannot read {error.filename}: {error.strerror}")))
finally:  # what is drawn is shown from here on (app.style), so that nothing moves under a reader's eyes
    st.html("<span class=drawn></span>")
