"""Optuna's studies that `suite tune` began: their trials, the best of them, and what mattered."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from app import state
from app.common import places, show_plot, show_table, warn_user, without_paths
from leaderboards.render.foreign import legible, plain
from leaderboards.render.interactive import Heading
from leaderboards.render.plots import fit_page
from suite.errors import require

BEGIN = "`suite tune --method heat --dataset digits --trials 30` begins one."
LINK = Heading("run", "the run of the trial, which opens on its page", link=r".*[?&]run=([^&]*)$")


def with_links(trials: pd.DataFrame, runs: Path, query: list[tuple[str, str]]) -> pd.DataFrame:
    """A study's trials, with an address in the place of each run that is in the store."""

    def address(run: Any) -> str | None:
        there = isinstance(run, str) and (runs / "studies" / run).is_dir()
        return f"run?{urlencode([*query, ('run', run)])}" if there else None

    return trials.assign(run=trials["run"].map(address)) if "run" in trials else trials


def show_studies(url: str) -> None:
    """The list, and the study that is picked."""
    from leaderboards.render.study_plots import plot_study
    from suite.tuning.definition import definition_of
    from suite.tuning.results import best_trials, open_studies, run_line, summarise, tabulate_trials

    found = {study.study_name: study for study in open_studies(url)}
    if not found:
        st.info(f"No study in {plain(without_paths(url))}. {BEGIN}")
        return
    listed = pd.DataFrame([summarise(study) for study in found.values()])
    listed["best"] = listed["best"].map(lambda best: f"{best:.4g}" if isinstance(best, float) else best)
    show_table(listed, "studies")
    study = found[str(state.pick("Study", "study", {name: legible(name) for name in found}))]
    definition = definition_of(study)
    winners = best_trials(study)
    if winners:
        st.header("The best trial" if len(winners) == 1 else "The Pareto front", anchor="best")
        st.text("Measured on validation images. On the test set, as a row of the board:")
    for trial in winners:
        st.code(run_line(study, trial), language=None, wrap_lines=True)
    view = state.view()
    view = view if view.board == definition.dataset else view.on(definition.dataset)
    st.page_link(
        "views/leaderboard.py", label=f"The board of {plain(definition.dataset)}", query_params=state.params(view)
    )
    st.header("Trials", anchor="trials")
    trials = with_links(tabulate_trials(study), places().runs, state.params(view))
    show_table(trials, f"trials of {study.study_name}", [LINK])
    for title, figure in plot_study(study).items():
        st.header(plain(title), anchor=False)
        if title == "Certificates during training":
            name_lines(figure)
        show_plot(fit_page(figure), f"{title} {study.study_name}", title)
    with st.expander("What the study was begun with"):
        st.json(definition.to_json())


def name_lines(figure: object) -> None:
    """Say in its hover which trial a line is."""
    for line in figure.data:  # type: ignore[attr-defined]
        line.hovertemplate = f"{line.name}: %{{y:.4g}} at %{{x}}<extra></extra>"


st.title("Studies", anchor=False)
runs, _, storage = places()
file = runs / "studies.db"
if storage is None and not file.exists():
    st.info(f"No studies in your runs folder. {BEGIN}")
else:
    with warn_user():
        require("this page", "tune", "optuna", "sqlalchemy")
        from suite.tuning.storage import default_url, hide_password

        url = storage or default_url(runs)
        st.text(without_paths(hide_password(url)))
        show_studies(url)
