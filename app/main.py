"""The leaderboard page: the board of a data set, and certified accuracy against radius for the rows one picks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import streamlit as st

from app.figures import certified_accuracy_figure
from leaderboards import groups, table
from leaderboards.curves import row_curve
from suite.data import DATASETS
from suite.statistics import Convention


def label(row: Any) -> str:
    """A row's name in a figure: a run's with its seed, a published one's with what sets it apart."""
    own = row["variant"] or "as published" if row["source"] == "published" else f"seed {row['seed']}"
    return f"{row['method']}, {row['arch']}, {own}"


runs = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
st.set_page_config(page_title="Certified robustness", layout="wide")
st.title("Certified ℓ2 robustness")

names = list(DATASETS.paths())
full = [name for name in names if not table(name, runs).empty]
left, right = st.columns(2)
dataset = left.selectbox("Data set", names, index=names.index(full[0]) if full else 0)
paper = right.segmented_control("Abstentions", ["count as wrong", "dropped (the paper's)"], default="count as wrong")
convention: Convention = "standard" if paper == "count as wrong" else "paper"
frame = table(dataset, runs, convention)
if frame.empty:
    st.info(f"No finished run on {dataset} in {runs}. Begin one: `suite run --method heat --dataset {dataset}`")
    st.stop()

for title, group in groups(frame):
    st.subheader(title)
    shares = [column for column in map(str, group) if column.startswith("r=") or column in ("clean", "abstained")]
    shown = group.drop(columns="run_id").set_index("rank")
    shown[shares] = 100 * shown[shares]
    formats: dict[Any, Any] = dict.fromkeys(shares, "{:.1f}") | {"acr": "{:.4f}", "seconds": "{:.2f}"}
    st.dataframe(shown.style.format(formats, na_rep="–"))
    found: dict[str, Any] = {row["run_id"]: row for _, row in group.iterrows()}
    labels = {run_id: label(row) for run_id, row in found.items()}
    picked = st.multiselect("Curves", list(labels), list(labels)[:6], format_func=labels.__getitem__, key=title)
    curves = {labels[run_id]: row_curve(found[run_id], runs, convention) for run_id in picked}
    st.plotly_chart(certified_accuracy_figure(curves), key=f"figure of {title}")
