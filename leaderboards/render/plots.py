"""The plots of pages and reports. Names are other people's text: they are escaped, plotly reads some HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from leaderboards.curves import ATTACKS

# Okabe and Ito's colours, told apart by the colour-blind; their black would be lost on a dark page
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999")
DASHES = (
    "solid",
    "dash",
    "dot",
    "dashdot",
    "longdash",
    "longdashdot",
)  # 7 colours by 6 dashes: 42 lines without a repeat
CLEAR = "rgba(0,0,0,0)"
RADIUS, CERTIFIED = "ℓ2 radius, pixels in [0,1]", "certified accuracy, %"


def style(number: int) -> dict[str, Any]:
    """The line of the curve with that number: no two of the first 42 are alike."""
    return {"color": COLOURS[number % len(COLOURS)], "dash": DASHES[number % len(DASHES)], "width": 2.5}


def certified_accuracy_plot(
    curves: Mapping[str, pd.DataFrame], at: Mapping[str, Mapping[float, float]] | None = None
) -> go.Figure:
    """Certified accuracy (%) against ℓ2 radius, a line for each named curve with its 95 % band where it has one.

    `at` gives for a name the values of its table, share by radius: they are points of its line, and marked.
    """
    figure = go.Figure()
    for number, (name, curve) in enumerate(curves.items()):
        if "low" in curve:
            _band(figure, number, curve["radius"], 100 * curve["low"], 100 * curve["high"], name)
        marks = pd.Series((at or {}).get(name, {}), dtype=float)
        line = pd.concat([curve.set_index("radius")["accuracy"], marks])
        line = line[~line.index.duplicated()].sort_index()
        _line(figure, number, name, line.index, 100 * line, "r")
        if len(marks):
            figure.add_scatter(
                x=list(marks.index), y=list(100 * marks), mode="markers", showlegend=False, legendgroup=name,
                hoverinfo="skip", marker={"color": style(number)["color"], "size": 8},
            )  # fmt: skip
    return finish(figure, RADIUS, CERTIFIED, [0, 101])


def attack_plot(curves: Mapping[str, pd.DataFrame], attack: str) -> go.Figure:
    """The share (%) of images that an attack, one of ATTACKS, changes within a distance; a line for each name."""
    figure = go.Figure()
    for number, (name, curve) in enumerate(curves.items()):
        _line(figure, number, name, curve["distance"], 100 * curve[attack], "distance")
    return finish(figure, "ℓ2 distance, pixels in [0,1]", f"attacked by {ATTACKS[attack]}, %", [0, 101])


def difference_plot(difference: pd.DataFrame) -> go.Figure:
    """The difference of two rows' certified accuracies (points) against radius, with its paired 95 % interval."""
    figure = go.Figure()
    _band(figure, 0, difference["radius"], 100 * difference["low"], 100 * difference["high"], "A − B")
    _line(figure, 0, "A − B", difference["radius"], 100 * difference["difference"], "r")
    figure.add_hline(y=0, line={"color": COLOURS[6], "width": 1})
    return finish(figure, RADIUS, "A − B, points")


def training_plot(history: pd.DataFrame) -> go.Figure:
    """The mean loss and the learning rate against epochs."""
    figure = go.Figure()
    _line(figure, 0, "loss", history["epoch"], history["loss"], "epoch", unit="")
    figure.add_scatter(
        x=history["epoch"], y=history["lr"], name="learning rate", yaxis="y2", line=style(1), mode="lines"
    )
    figure.update_layout(
        yaxis2={"overlaying": "y", "side": "right", "title": "learning rate", "showgrid": False, "tickformat": ".2~g"}
    )
    return finish(figure, "epoch", "loss")


def votes_plot(votes: Mapping[int, int], classes: tuple[str, ...], label: int) -> go.Figure:
    """How many noisy copies of an image were given each class, most first; its own class in another colour."""
    ordered = sorted(votes, key=lambda c: (votes[c], -c))
    figure = go.Figure()
    figure.add_bar(
        x=[votes[c] for c in ordered],
        y=[text(classes[c]) for c in ordered],
        orientation="h",
        marker_color=[COLOURS[2] if c == label else COLOURS[1] for c in ordered],
        hovertemplate="%{y}: %{x} votes<extra></extra>",
    )
    finish(figure, "votes", "")
    return figure.update_yaxes(type="category").update_layout(height=120 + 28 * len(ordered))


def paper_plot(given: pd.DataFrame, lines: Mapping[str, tuple[str, pd.DataFrame]], x: str, y: str) -> go.Figure:
    """The paper's points (method, at, percent, uncertainty), and the lines (at, percent) of rows with their methods.

    A method has one colour: the paper's are open markers with their uncertainty, the rows' lines.
    """
    methods = list(dict.fromkeys([*given["method"], *(method for method, _ in lines.values())]))
    figure = go.Figure()
    for number, (name, (method, line)) in enumerate(lines.items()):
        _line(figure, number, name, line["at"], line["percent"], "at")
        figure.data[-1].line.color = style(methods.index(method))["color"]
    for method in given["method"].unique():
        points = given[given["method"] == method]
        figure.add_scatter(
            x=points["at"], y=points["percent"], error_y={"array": points["uncertainty"]}, mode="markers",
            name=f"{text(str(method))}, the paper", hovertemplate="%{x}: %{y} %",
            marker={"symbol": "diamond-open", "size": 9, "color": style(methods.index(method))["color"]},
        )  # fmt: skip
    return finish(figure, x, y, [0, 101])


def bars_plot(names: list[str], values: list[float], x: str) -> go.Figure:
    """One number of each row as a bar."""
    figure = go.Figure()
    figure.add_bar(
        x=values, y=[text(name) for name in names], orientation="h", marker_color=COLOURS[0],
        hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )  # fmt: skip
    finish(figure, x, "")
    return figure.update_yaxes(type="category", autorange="reversed").update_layout(height=120 + 32 * len(names))


def finish(figure: go.Figure, x: str, y: str, range_y: list[int] | None = None) -> go.Figure:
    """Axes, a legend below that does not squeeze the plot, and a background that is the page's."""
    named = sum(trace.showlegend is not False for trace in figure.data)
    figure.update_layout(
        xaxis={"title": x, "rangemode": "tozero"},
        yaxis={"title": y, "range": range_y},
        hovermode="closest",
        legend={"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
        height=400 + 20 * named,  # a phone lists one name on a line
    )
    return fit_page(figure)


def fit_page(figure: go.Figure) -> go.Figure:
    """A plot as wide as the page, on the page's own background, without a title of its own."""
    return figure.update_layout(
        width=None,
        title=None,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        modebar={"bgcolor": CLEAR, "color": COLOURS[6], "activecolor": COLOURS[0]},
    )


def _line(figure: go.Figure, number: int, name: str, x: Any, y: Any, at: str, unit: str = " %") -> None:
    shown = text(name)
    figure.add_scatter(
        x=x, y=y, name=shown, legendgroup=name, mode="lines", line=style(number),
        hovertemplate=f"{shown}<br>{at} = %{{x:.3~f}}: %{{y:.3~f}}{unit}<extra></extra>",
    )  # fmt: skip


def text(name: str) -> str:
    """A name as plotly shows it as it is."""
    return html.escape(name, quote=False)


def _band(figure: go.Figure, number: int, x: pd.Series[float], low: Any, high: Any, name: str) -> None:
    figure.add_scatter(
        x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", mode="lines", line={"width": 0}, hoverinfo="skip",
        fillcolor=_transparent(COLOURS[number % len(COLOURS)]), showlegend=False, legendgroup=name,
    )  # fmt: skip


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
