"""The plots of pages and reports. Names are other people's text: they are escaped, plotly reads some HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any
from zlib import crc32

import pandas as pd
import plotly.graph_objects as go

from leaderboards.curves import ATTACKS

# Okabe and Ito's colours, told apart by the colour-blind; their black would be lost on a dark page
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#7570B3", "#8A9A00", "#A65E2E",
    "#E31A6C", "#00A3B5",
)  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")  # by 12 colours: 72 lines without a repeat
OWN = (  # methods with a colour of their own
    "baseline", "randomized-smoothing", "smoothadv", "heat", "madry", "madry-heat", "macer", "consistency", "stability",
    "average", "lipschitz", "lipschitz-heat",
)  # fmt: skip
CLEAR = "rgba(0,0,0,0)"
RADIUS, CERTIFIED = "ℓ2 radius r, pixels in [0,1]", "certified accuracy, %"
TEMPLATE = go.layout.Template(
    layout={
        "colorway": COLOURS,
        "hovermode": "x unified",
        "hoverlabel": {"namelength": -1},
        "legend": {"orientation": "h", "yanchor": "top", "y": -0.2, "x": 0},
        "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "modebar": {"bgcolor": CLEAR, "color": COLOURS[6], "activecolor": COLOURS[0]},
        "xaxis": {"rangemode": "tozero", "hoverformat": ".3~f"},
    }
)


def colour_of(method: str) -> str:
    """A method's colour, the same in every plot: its own, or one that follows from its name."""
    return COLOURS[OWN.index(method) if method in OWN else crc32(method.encode()) % len(COLOURS)]


def line_styles(methods: Sequence[str]) -> list[dict[str, Any]]:
    """The lines of a plot, by their methods: a method's colour, and the dash that no line of that colour has yet."""
    seen: dict[str, int] = {}
    found = []
    for method in methods:
        colour = colour_of(method)
        number = seen[colour] = seen.get(colour, -1) + 1
        found.append({"color": colour, "dash": DASHES[number % len(DASHES)], "width": 2.5})
    return found


def method_of(name: str) -> str:
    """What a name begins with, as `leaderboards.render.labels` makes them."""
    return name.partition(", ")[0]


def certified_accuracy_plot(
    curves: Mapping[str, pd.DataFrame],
    at: Mapping[str, Mapping[float, float]] | None = None,
    *,
    methods: Mapping[str, str] | None = None,
    banded: Iterable[str] | None = None,
    said: Mapping[str, str] | None = None,
    limits: Mapping[str, float] | None = None,
) -> go.Figure:
    """Certified accuracy (%) against ℓ2 radius, a line for each named curve; its 95 % interval in the hover.

    `at` gives for a name the values of its table, share by radius: as far as its line goes they are marked, and points
    of it. `methods` says whose colour a line has (else what its name begins with), `banded` which have their interval
    as a band (else all), `said` what else the hover says of a line, as its n. `limits` are radii beyond which nothing
    can be certified, by what sets them. A curve with a column sigma says in the hover which was chosen.
    """
    figure = go.Figure()
    styles = line_styles([(methods or {}).get(name, method_of(name)) for name in curves])
    with_band = set(curves if banded is None else banded)
    for style, (name, curve) in zip(styles, curves.items(), strict=True):
        if "low" in curve and name in with_band:
            _band(figure, style, curve["radius"], 100 * curve["low"], 100 * curve["high"], name)
        marks = pd.Series((at or {}).get(name, {}), dtype=float)
        marks = marks[marks.index <= curve["radius"].max()]
        line = pd.concat([curve.set_index("radius")["accuracy"], marks])
        line = line[~line.index.duplicated()].sort_index()
        _line(
            figure,
            style,
            name,
            line.index,
            100 * line,
            hover=hover_texts(line.index, curve, (said or {}).get(name, "")),
        )
        if len(marks):
            figure.add_scatter(
                x=list(marks.index), y=list(100 * marks), mode="markers", showlegend=False, legendgroup=name,
                hoverinfo="skip", marker={"color": style["color"], "size": 8},
            )  # fmt: skip
    for what, radius in (limits or {}).items():
        figure.add_vline(
            x=radius, line={"color": COLOURS[6], "width": 1, "dash": "dot"}, annotation_text=text(what),
            annotation_position="top left",
        )  # fmt: skip
    return finish(figure, RADIUS, CERTIFIED, [0, 101])


def hover_texts(radii: Iterable[float], curve: pd.DataFrame, said: str) -> list[str]:
    """What the hover says after a share, at each radius: its interval, the σ that was chosen, and what holds of all."""
    known = curve.drop_duplicates("radius").set_index("radius")
    found = []
    for r in radii:
        own: Any = known.loc[r] if r in known.index else {}
        interval = f"{100 * own['low']:.1f}–{100 * own['high']:.1f}" if pd.notna(own.get("low")) else ""
        chosen = f"σ = {own['sigma']:g}" if pd.notna(own.get("sigma")) else ""
        more = ", ".join(filter(None, (interval, chosen, said)))
        found.append(f" ({text(more)})" if more else "")
    return found


def attack_plot(curves: Mapping[str, pd.DataFrame], attack: str) -> go.Figure:
    """The share (%) of images that an attack, one of ATTACKS, changes within a distance; a line for each name."""
    figure = go.Figure()
    for style, (name, curve) in zip(line_styles(list(map(method_of, curves))), curves.items(), strict=True):
        _line(figure, style, name, curve["distance"], 100 * curve[attack])
    return finish(figure, "ℓ2 distance, pixels in [0,1]", f"attacked by {ATTACKS[attack]}, %", [0, 101])


def difference_plot(difference: pd.DataFrame) -> go.Figure:
    """The difference of two rows' certified accuracies (points) against radius, with its paired 95 % interval."""
    figure = go.Figure()
    style = {"color": COLOURS[0], "width": 2.5}
    low, high = 100 * difference["low"], 100 * difference["high"]
    _band(figure, style, difference["radius"], low, high, "A − B")
    hover = [f" ({a:+.1f} to {b:+.1f})" for a, b in zip(low, high, strict=True)]
    _line(figure, style, "A − B", difference["radius"], 100 * difference["difference"], " points", "+.1f", hover)
    figure.add_hline(y=0, line={"color": COLOURS[6], "width": 1})
    return finish(figure, RADIUS, "A − B, points")


def training_plot(history: pd.DataFrame) -> go.Figure:
    """The mean loss and the learning rate against epochs."""
    figure = go.Figure()
    _line(figure, {"color": COLOURS[0], "width": 2.5}, "loss", history["epoch"], history["loss"], "", ".4g")
    _line(figure, {"color": COLOURS[1], "dash": "dash", "width": 2.5}, "learning rate", history["epoch"], history["lr"], "", ".3g")  # noqa: E501  # fmt: skip
    figure.data[-1].yaxis = "y2"
    figure.update_layout(
        yaxis2={"overlaying": "y", "side": "right", "title": "learning rate", "showgrid": False, "tickformat": ".2~g"}
        | {"rangemode": "tozero", "tickmode": "auto"}
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
    return figure.update_yaxes(type="category").update_layout(height=120 + 28 * len(ordered), hovermode="closest")


def paper_plot(given: pd.DataFrame, lines: Mapping[str, tuple[str, pd.DataFrame]], x: str, y: str) -> go.Figure:
    """The paper's points (method, at, percent, uncertainty), and the lines of rows with their methods: at, percent and,
    where they are known, low and high, which are bands.

    A method has one colour: the paper's are open markers with their uncertainty, the rows' lines.
    """
    figure = go.Figure()
    styles = line_styles([method for method, _ in lines.values()])
    for style, (name, (_, line)) in zip(styles, lines.items(), strict=True):
        hover = None
        if "low" in line:
            _band(figure, style, line["at"], line["low"], line["high"], name)
            hover = [f" ({low:.1f}–{high:.1f})" for low, high in zip(line["low"], line["high"], strict=True)]
        _line(figure, style, name, line["at"], line["percent"], hover=hover)
    for method in given["method"].unique():
        points = given[given["method"] == method]
        figure.add_scatter(
            x=points["at"], y=points["percent"], error_y={"array": points["uncertainty"]}, mode="markers",
            name=f"{text(str(method))}, the paper", hovertemplate="%{y} %",
            marker={"symbol": "diamond-open", "size": 9, "color": colour_of(str(method))},
        )  # fmt: skip
    return finish(figure, x, y, [0, 101])


def bars_plot(names: list[str], values: list[float], x: str) -> go.Figure:
    """One number of each row as a bar."""
    figure = go.Figure()
    figure.add_bar(
        x=values, y=[text(name) for name in names], orientation="h",
        marker_color=[colour_of(method_of(name)) for name in names], hovertemplate="%{y}: %{x:.4g}<extra></extra>",
    )  # fmt: skip
    finish(figure, x, "")
    figure.update_yaxes(type="category", autorange="reversed")
    return figure.update_layout(height=120 + 32 * len(names), hovermode="closest")


def finish(figure: go.Figure, x: str, y: str, range_y: list[int] | None = None) -> go.Figure:
    """Axes, and a legend below that does not squeeze the plot."""
    named = sum(trace.showlegend is not False for trace in figure.data)
    figure.update_layout(xaxis={"title": x}, yaxis={"title": y, "range": range_y}, height=400 + 20 * named)
    return fit_page(figure)


def fit_page(figure: go.Figure) -> go.Figure:
    """A plot as wide as the page, in the suite's template, without a title of its own.

    A page's fonts are not in an image that is saved of it: the legend is laid out in one that both have.
    """
    return figure.update_layout(template=TEMPLATE, width=None, title=None, legend={"font": {"family": "sans-serif"}})


def plot_csv(figure: go.Figure) -> pd.DataFrame:
    """The lines and points of a plot as they are drawn: line, x, y; without bands and the marks of a line's points."""
    lines = [
        pd.DataFrame({"line": html.unescape(trace.name or ""), "x": list(trace.x), "y": list(trace.y)})
        for trace in figure.data
        if trace.fill != "toself" and trace.x is not None and (trace.showlegend is not False or trace.type == "bar")
    ]
    return pd.concat(lines, ignore_index=True) if lines else pd.DataFrame(columns=["line", "x", "y"])


def _line(
    figure: go.Figure, style: dict[str, Any], name: str, x: Any, y: Any, unit: str = " %", form: str = ".1f",
    hover: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """A line whose hover says y as tables print it: a browser would round an exact tie otherwise."""
    said = [f"{value:{form}}{unit}{more}" for value, more in zip(y, hover or repeat(""), strict=hover is not None)]
    figure.add_scatter(
        x=x, y=y, name=text(name), legendgroup=name, mode="lines", line=style,
        customdata=[[line] for line in said], hovertemplate="%{customdata[0]}",
    )  # fmt: skip


def text(name: str) -> str:
    """A name as plotly shows it as it is."""
    return html.escape(name, quote=False)


def _band(figure: go.Figure, style: dict[str, Any], x: pd.Series[float], low: Any, high: Any, name: str) -> None:
    figure.add_scatter(
        x=[*x, *x[::-1]], y=[*high, *low[::-1]], fill="toself", mode="lines", line={"width": 0}, hoverinfo="skip",
        fillcolor=_transparent(style["color"]), showlegend=False, legendgroup=name,
    )  # fmt: skip


def _transparent(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.15)"
