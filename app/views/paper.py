"""The plots and tables of "Adversarial Boot Camp": the published values and those of this store's runs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from app import common
from app.common import BIND, PICKED, places, plain, show_plot, show_table, warn_user
from leaderboards import board_results
from leaderboards.paper.items import ITEMS, comparable_results, compare_with_paper, published, row_line
from leaderboards.render.labels import labels, shorten
from leaderboards.render.plots import bars_plot, fit_page, paper_plot
from leaderboards.rows import board_rows
from suite.store.result import Result

ILLUSTRATIONS = {
    "Figure 4": "Gradient regularisation in one dimension",
    "Figure 5": "The iterative update, 8 timesteps",
}


@st.cache_resource(show_spinner="solving in one dimension")
def illustration(name: str) -> Any:
    from suite.illustrate import draw_figures

    return fit_page(draw_figures()[name])


def show_item(name: str) -> None:
    """The paper's values and the picked rows of the store, as plot and table."""
    item, given = ITEMS[name], published(name)
    st.text(f"{item.dataset}, σ = {item.sigma:g}, top-{item.top}")
    st.text(f"The paper's values: {given['citation'].iloc[0]}" if len(given) else
            "The suite has no published values of this item; what was measured stands alone.")  # fmt: skip
    own = comparable_results(item, board_results(item.dataset, places().runs))
    called = labels((row for result in own for row in board_rows([result], ())), full=True)

    def records(result: Result, protocol: str) -> pd.DataFrame:
        return common.run_records(result.run_id, protocol)

    picked = st.multiselect("Measured rows", list(called.values()), list(called.values())[:PICKED], key="beside",
                            **BIND)  # fmt: skip
    found: dict[str, Result] = {}
    common_part, short = shorten(picked)
    for row in own:
        if (label := called[row.run_id]) in picked:
            with warn_user():
                if item.kind != "metrics":
                    records(row, item.protocol)
                found[short[label]] = row
    if common_part:
        st.text(f"All measured rows: {common_part}.")
    if not own:
        asked = f"suite run --method heat --dataset {item.dataset} --sigma {item.sigma:g} --protocols all"
        st.info(f"No run is at the paper's σ with these metrics. This one would be: `{asked}`")
    table = compare_with_paper(name, {label: [row] for label, row in found.items()}, records)
    if item.kind in ("certified", "attacked"):
        lines = {label: (row.method, row_line(item, [row], records)) for label, row in found.items()}
        x, y = ("ℓ2 radius", "certified, %") if item.kind == "certified" else ("ℓ2 distance", "attacked, %")
        if lines or len(given):
            show_plot(paper_plot(given, lines, x, y), name, f"{name} of the paper and of this store")
        st.caption("Diamonds: read off the paper's plot, ± the bars. Abstentions dropped, R > r, as in the paper."
                   if item.kind == "certified" else "Diamonds: read off the paper's plot, ± the bars.")  # fmt: skip
    elif len(table):
        columns = [column for column in map(str, table) if column not in ("row", "source")]
        column = st.selectbox("Drawn", columns, key="drawn", **BIND) if len(columns) > 1 else columns[0]
        drawn = table.dropna(subset=[column])
        show_plot(bars_plot([f"{r}, {s}" for r, s in zip(drawn["row"], drawn["source"], strict=True)],
                                drawn[column].tolist(), column), name, f"{name}: {column}")  # fmt: skip
    show_table(table, f"{name} table")


st.title("The paper's figures and tables", anchor=False)
titles = {name: item.title for name, item in ITEMS.items()} | ILLUSTRATIONS
chosen = st.selectbox("Item", sorted(titles), key="item", **BIND)
st.subheader(plain(f"{chosen}: {titles[chosen]}"), anchor=False)
if chosen in ILLUSTRATIONS:
    show_plot(illustration(chosen), chosen, titles[chosen])
else:
    with warn_user():
        show_item(chosen)
