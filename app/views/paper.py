"""The plots and tables of "Adversarial Boot Camp": its values, those of runs, and whether these bear it out."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import common, state
from app.common import PICKED, is_phone, places, show_plot, show_table, warn_user
from leaderboards import board_results
from leaderboards.about import PAPER
from leaderboards.paper.items import ITEMS, comparable_results, compare_with_paper, published, row_line
from leaderboards.paper.report import SEVERAL
from leaderboards.paper.standing import item_verdicts, most_telling
from leaderboards.render.foreign import legible, plain
from leaderboards.render.interactive import Heading
from leaderboards.render.labels import labels, shorten
from leaderboards.render.plots import bars_plot, fit_page, paper_plot
from leaderboards.rows import board_rows
from leaderboards.variants import name_variants
from suite.store.result import Result

ILLUSTRATIONS = {
    "Figure 4": "Gradient regularisation in one dimension",
    "Figure 5": "The iterative update, 8 timesteps",
}


@st.cache_resource(show_spinner="solving in one dimension")
def illustration(name: str) -> Any:
    from suite.illustrate import draw_figures

    return fit_page(draw_figures()[name])


def records(result: Result, protocol: str) -> pd.DataFrame:
    return common.run_records(result.run_id, protocol)


def picked_rows(own: list[Result]) -> dict[str, Result]:
    """The measured rows that stand beside the paper's, by what to call them: those that the URL names, by run id."""
    rows = name_variants([row for result in own for row in board_rows([result], ())])
    called = {id: legible(name) for id, name in labels(rows, full=True).items()}
    asked = [id for id in state.query().get("beside", []) if id in called]
    for id in set(state.query().get("beside", [])) - set(called):
        st.warning(plain(f"The link asks for the run {id}, which does not stand beside this item."))
    control = state.own_control("beside", asked or list(called)[:PICKED], list)
    picked = st.multiselect("Measured rows", list(called), format_func=lambda id: called[id], **control)
    common_part, short = shorten([called[id] for id in picked])
    if common_part:
        st.text(f"All measured rows: {common_part}.")
    return {short[called[row.run_id]]: row for row in own if row.run_id in picked}


def show_item(name: str) -> None:
    """The paper's values and the picked rows of the store: verdicts, plot and table."""
    item, given = ITEMS[name], published(name)
    st.text(f"{item.dataset}, σ = {item.sigma:g}, top-{item.top}")
    st.text(f"The paper's values: {given['citation'].iloc[0]}" if len(given) else
            "The suite has no published values of this item; what was measured stands alone.")  # fmt: skip
    own = most_telling(comparable_results(item, board_results(item.dataset, places().runs)))
    if not own:
        asked = f"suite run --method heat --dataset {item.dataset} --sigma {item.sigma:g} --protocols all"
        st.info(f"No run is at the paper's σ with these metrics. This one would be: `{asked}`")
    found: dict[str, Result] = {}
    for label, row in picked_rows(own).items():
        with warn_user():
            if item.kind != "metrics":
                records(row, item.protocol)
            found[label] = row
    with warn_user():
        verdicts = item_verdicts(name, list(found.values()), records)
        st.header("Do the rows bear the paper out?", anchor="verdicts")
        if len(verdicts):
            if len({row.recipe for row in found.values()}) > len({row.method for row in found.values()}):
                st.text(SEVERAL)
            first = ["verdict"] if is_phone() else []
            columns = list(dict.fromkeys([*first, *map(str, verdicts)]))
            show_table(verdicts, f"{name} verdicts", column_order=columns)
        else:
            st.text("The paper states nothing of this item that these rows can decide.")
    st.header("Beside the paper", anchor="values")
    table = compare_with_paper(name, {label: [row] for label, row in found.items()}, records)
    if item.kind in ("certified", "attacked"):
        lines = {label: (row.method, row_line(item, [row], records)) for label, row in found.items()}
        x, y = ("ℓ2 radius", "certified, %") if item.kind == "certified" else ("ℓ2 distance", "attacked, %")
        if lines or len(given):
            show_plot(paper_plot(given, lines, x, y), name, f"{name} of the paper and of this store")
        certified = " Abstentions dropped, R > r, as in the paper. Bands: 95 % intervals."
        st.caption("Diamonds: read off the paper's plot, ± the bars." + certified * (item.kind == "certified"))
    elif len(table):
        columns = [column for column in map(str, table) if column not in ("row", "source")]
        column = state.pick("Drawn", "drawn", {c: c for c in columns}) if len(columns) > 1 else columns[0]
        drawn = table.dropna(subset=[column])
        show_plot(bars_plot([f"{r}, {s}" for r, s in zip(drawn["row"], drawn["source"], strict=True)],
                                drawn[column].tolist(), str(column)), name, f"{name}: {column}")  # fmt: skip
    numbers = [str(column) for column in table.select_dtypes("number")]
    show_table(table, f"{name} table", [Heading(column, "", "%.4g") for column in numbers])


st.title("The paper's figures and tables", anchor=False)
st.text(PAPER)
titles = {name: item.title for name, item in ITEMS.items()} | ILLUSTRATIONS
chosen = str(state.pick("Item", "item", {name: f"{name}: {titles[name]}" for name in sorted(titles)}))
if chosen in ILLUSTRATIONS:
    st.header(plain(titles[chosen]), anchor=False)
    show_plot(illustration(chosen), chosen, titles[chosen])
else:
    with warn_user():
        show_item(chosen)
