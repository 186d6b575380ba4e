"""The pages of `suite app`: streamlit run app/main.py -- RUNS DATA STORAGE, each "" for its default."""

from __future__ import annotations

import streamlit as st

from app.common import places, plain
from suite.errors import UserError
from suite.store.read import check_store

st.set_page_config(page_title="Certified ℓ2 robustness", layout="wide")
page = st.navigation(
    [
        st.Page("views/leaderboard.py", title="Leaderboard", url_path="leaderboard", default=True),
        st.Page("views/compare.py", title="Compare", url_path="compare"),
        st.Page("views/run.py", title="Run", url_path="run"),
        st.Page("views/paper.py", title="Paper", url_path="paper"),
        st.Page("views/studies.py", title="Studies", url_path="studies"),
    ],
    position="top",
)
try:
    check_store(places().runs)
    page.run()
except UserError as error:
    st.error(plain(error))
except OSError as error:
    st.error(plain(f"cannot read {error.filename}: {error.strerror}"))
