"""Optuna's studies that `suite tune` began: their trials, the best of them, and what mattered."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from app.common import BIND, places, plain, show_plot, show_table, warn_user
from leaderboards.render.plots import fit_page
from suite.errors import require

BEGIN = "`suite tune --method heat --dataset digits --trials 30` begins one."


def show_studies(url: str) -> None:
    """The list, and the study that is picked."""
    from leaderboards.render.study_plots import plot_study
    from suite.tuning.definition import definition_of
    from suite.tuning.results import best_trials, open_studies, run_line, summarise, tabulate_trials

    found = {study.study_name: study for study in open_studies(url)}
    if not found:
        st.info(f"No study in {plain(url)}. {BEGIN}")
        return
    listed = pd.DataFrame([summarise(study) for study in found.values()])
    listed["best"] = listed["best"].map(lambda best: f"{best:.4g}" if isinstance(best, float) else best)
    show_table(listed, "studies")
    study = found[st.selectbox("Study", list(found), key="study", **BIND)]
    with st.expander("What it was begun with"):
        st.json(definition_of(study).to_json())
    winners = best_trials(study)
    if winners:
        st.subheader("The best trial" if len(winners) == 1 else "The Pareto front", anchor=False)
        st.caption("Measured on validation images. On the test set, as a row of the board:")
    for trial in winners:
        st.code(run_line(study, trial), language=None, wrap_lines=True)
    st.subheader("Trials", anchor=False)
    show_table(tabulate_trials(study), f"trials of {study.study_name}")
    for title, figure in plot_study(study).items():
        st.subheader(plain(title), anchor=False)
        show_plot(fit_page(figure), f"{title} {study.study_name}", title)


st.title("Studies", anchor=False)
runs, _, storage = places()
file = runs / "studies.db"
if storage is None and not file.exists():
    st.info(f"No studies in {plain(runs)}. {BEGIN}")
else:
    with warn_user():
        require("this page", "tune", "optuna", "sqlalchemy")
        from suite.tuning.storage import default_url, hide_password

        url = storage or default_url(runs)
        st.caption(plain(hide_password(url)))
        show_studies(url)
