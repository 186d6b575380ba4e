"""Optuna's studies that `suite tune` began: their trials, the best of them, and what mattered."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.common import BIND, places, plain, show_plot, show_table, warn_user
from leaderboards.render.plots import fit_page

BEGIN = "`suite tune --method heat --dataset digits --trials 30` begins one."


def show_studies(url: str) -> None:
    """The list, and the study that is picked."""
    from suite.tuning import results as studies

    found = {study.study_name: study for study in studies.open_studies(url)}
    if not found:
        st.info(f"No study in {plain(url)}. {BEGIN}")
        return
    listed = pd.DataFrame([studies.summary(study) for study in found.values()])
    listed["best"] = listed["best"].map(lambda best: f"{best:.4g}" if isinstance(best, float) else best)
    show_table(listed, "studies")
    study = found[st.selectbox("Study", list(found), key="study", **BIND)]
    with st.expander("What it was begun with"):
        st.json(studies.definition(study))
    winners = studies.best(study)
    if winners:
        st.subheader("The best trial" if len(winners) == 1 else "The Pareto front", anchor=False)
        st.caption("Measured on validation images. On the test set, as a row of the board:")
    for trial in winners:
        st.code(studies.run_line(study, trial), language=None, wrap_lines=True)
    st.subheader("Trials", anchor=False)
    show_table(studies.trials_frame(study), f"trials of {study.study_name}")
    for title, figure in studies.figures(study).items():
        st.subheader(plain(title), anchor=False)
        show_plot(fit_page(figure), f"{title} {study.study_name}", title)


st.title("Studies", anchor=False)
runs, _, storage = places()
file = runs / "studies.db"
if storage is None and not file.exists():
    st.info(f"No studies in {plain(runs)}. {BEGIN}")
else:
    from suite.tuning.storage import default_url, shown

    url = storage or default_url(runs)
    st.caption(plain(shown(url)))
    with warn_user():
        show_studies(url)
