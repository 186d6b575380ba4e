"""The leaderboard's figures, without Streamlit."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go

# Okabe and Ito's colours, told apart by the colour-blind
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def certified_accuracy_figure(curves: dict[str, pd.DataFrame]) -> go.Figure:
    """Certified accuracy (%) against ℓ2 radius, a line with its 95 % band for each named curve."""
    figure = go.Figure()
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        band = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False, "legendgroup": name}
        figure.add_scatter(x=curve["radius"], y=100 * curve["high"], **band)
        figure.add_scatter(
            x=curve["radius"], y=100 * curve["low"], fill="tonexty", fillcolor=f"rgba{(*_rgb(colour), 0.15)}", **band
        )
        figure.add_scatter(
            x=curve["radius"], y=100 * curve["accuracy"], name=name, legendgroup=name, mode="lines",
            line={"color": colour, "width": 2.5}, hovertemplate="r = %{x:.3f}: %{y:.1f} %",
        )  # fmt: skip
    figure.update_layout(
        xaxis_title="ℓ2 radius, pixels in [0,1]",
        yaxis_title="certified accuracy, %",
        yaxis_range=[0, 100],
        hovermode="x unified",
        legend={"orientation": "h", "y": 1.12},
        margin={"l": 10, "r": 10, "t": 40, "b": 10},
    )
    return figure


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
