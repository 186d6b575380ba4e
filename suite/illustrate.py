"""HeatSmoothing in one dimension, where it can be solved exactly: the paper's Figures 4 and 5."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from methods.heat import Heat
from suite.progress import logger
from suite.store.files import write_atomically

if TYPE_CHECKING:
    import plotly.graph_objects as go

TIMESTEPS, SIGMA = 8, 0.08
POINT = -0.5  # the point whose adversarial distance Figure 5 follows


@dataclass(frozen=True)
class Steps:
    """A piecewise constant function of one variable: `start` at −∞, then each of `jumps`, a (place, height)."""

    start: float
    jumps: tuple[tuple[float, float], ...]

    def on(self, grid: Tensor) -> Tensor:
        """Its means over the cells of an even grid."""
        spacing = grid[1] - grid[0]
        ramps = (h * ((grid - place) / spacing + 0.5).clamp(0, 1) for place, h in self.jumps)
        return sum(ramps, torch.full_like(grid, self.start))

    def average(self, x: Tensor, sigma: float) -> Tensor:
        """E[f(x + η)], η ~ N(0, σ²): a step of height h becomes h·Φ((x − place)/σ)."""
        steps = (h * torch.special.ndtr((x - place) / sigma) for place, h in self.jumps)
        return sum(steps, torch.full_like(x, self.start))


ISLAND = Steps(1.0, ((-0.4, -2.0), (-0.34, 2.0), (-0.15, -2.0)))
"""Class 1 up to −0.15 and class 2 beyond, but for an island of class 2 at −0.4."""


def heat_steps(
    f: Steps, grid: Tensor, *, sigma: float, timesteps: int, constant: Literal["paper", "exact"]
) -> list[Tensor]:
    """f_0 = f, f_1, …, f_{n_T}, each the exact minimiser of `Heat.objective` among all functions on a grid.

    The grid is even, (N,), float64. ∇v is the difference of neighbours; nothing flows through the grid's ends. As the
    objective is quadratic in v, one Newton step solves it. `constant` is λ.
    """
    method = Heat(
        Heat.Parameters.model_validate({"lambda": constant, "timesteps": timesteps, "distance": "logits"}), sigma
    )

    def energy(v: Tensor, f_k: Tensor) -> Tensor:
        squared = (v.diff() / (grid[1] - grid[0])) ** 2
        penalty = (F.pad(squared, (0, 1)) + F.pad(squared, (1, 0))) / 2
        return method.objective(v[:, None], f_k[:, None], penalty).mean()

    zero = torch.zeros_like(grid)
    slope = torch.func.grad(energy)
    curvature = torch.linalg.cholesky(torch.func.jacrev(slope)(zero, zero))
    iterates = [f.on(grid)]
    for _ in range(timesteps):
        iterates.append(-torch.cholesky_solve(slope(zero, iterates[-1])[:, None], curvature)[:, 0])
    return iterates


def adversarial_distance(v: Tensor, x: Tensor, point: float) -> float:
    """How far from `point` the sign of v, given at the sorted places x, first changes; ∞ if it never does."""
    crossing = (v[1:] > 0) != (v[:-1] > 0)
    places = x[:-1] + (x[1:] - x[:-1]) * v[:-1] / (v[:-1] - v[1:])
    return min((places[crossing] - point).abs().tolist(), default=float("inf"))


def illustrate(out: Path) -> list[Path]:
    """Draw Figures 4 and 5 into the folder `out`; the files written, HTML and, where kaleido can draw, PNG.

    A classifier in one dimension, two classes by the sign, with a small island of the wrong class: what n_T = 8
    timesteps with λ = ½ make of it, beside the exact Gaussian average.
    """
    from plotly.io import to_html, write_images

    figures = {name.lower().replace(" ", ""): figure for name, figure in draw_figures().items()}
    out.mkdir(parents=True, exist_ok=True)
    pages = [out / f"{name}.html" for name in figures]
    images = [page.with_suffix(".png") for page in pages]
    for page, figure in zip(pages, figures.values(), strict=True):
        write_atomically(page, to_html(figure, include_plotlyjs=True, div_id=page.stem).encode())
    try:
        sizes = {size: [figure.layout[size] for figure in figures.values()] for size in ("width", "height")}
        write_images(list(figures.values()), images, scale=2, **sizes)
    except Exception as error:  # kaleido is optional and needs a browser; what it raises differs between versions
        logger.warning(f"no PNG was drawn ({str(error).strip().splitlines()[0]}); the HTML pages are complete")
        return pages
    return pages + images


def draw_figures() -> dict[str, go.Figure]:
    """Figures 4 and 5, by name."""
    x = torch.linspace(-2, 2, 801, dtype=torch.float64)
    iterates = heat_steps(ISLAND, x, sigma=SIGMA, timesteps=TIMESTEPS, constant="exact")
    return {"Figure 4": draw_figure4(x, iterates), "Figure 5": draw_figure5(x, iterates)}


def draw_figure4(x: Tensor, iterates: list[Tensor]) -> go.Figure:
    """One function before and after: the outlier's class flips, its neighbours' do not."""
    from plotly.subplots import make_subplots

    titles = ("points classified by f", "the same points classified by v")
    figure = make_subplots(rows=1, cols=2, subplot_titles=titles, shared_yaxes=True)
    for column, classifier in ((1, iterates[0]), (2, iterates[-1])):
        first = column == 1
        draw_curve(figure, 1, column, x, iterates[0], "f", "lightskyblue", first)
        draw_curve(figure, 1, column, x, iterates[-1], "v, regularised", "navy", first)
        draw_curve(figure, 1, column, x, ISLAND.average(x, SIGMA), "E[f(x + η)]", "darkorange", first, dash="dot")
        draw_points(figure, 1, column, x, classifier, first)
    title = f"Gradient regularisation in one dimension, σ = {SIGMA:g} (Figure 4)"
    return finish(figure, title, width=1000, height=480)


def draw_figure5(x: Tensor, iterates: list[Tensor]) -> go.Figure:
    """All timesteps, each with the adversarial distance of one point."""
    from plotly.subplots import make_subplots

    distances = [adversarial_distance(v, x, POINT) for v in iterates]
    titles = [f"f<sub>{k}</sub>: distance {distance:.2f}" for k, distance in enumerate(distances)]
    grid = {"rows": 3, "cols": 3, "shared_xaxes": True, "shared_yaxes": True, "vertical_spacing": 0.08}
    figure = make_subplots(subplot_titles=titles, **grid)
    for k, v in enumerate(iterates):
        row, column = k // 3 + 1, k % 3 + 1
        exact = ISLAND.average(x, SIGMA * (k / TIMESTEPS) ** 0.5) if k else iterates[0]
        draw_curve(figure, row, column, x, v, "f<sub>k</sub>", "royalblue", k == 0)
        name = "E[f(x + η)], η ~ N(0, σ²k/n<sub>T</sub>)"
        draw_curve(figure, row, column, x, exact, name, "darkorange", k == 0, dash="dot")
        draw_points(figure, row, column, x, v, k == 0)
    title = f"{TIMESTEPS} timesteps, σ = {SIGMA:g}, and how far x = {POINT:g} is from the other class (Figure 5)"
    return finish(figure, title, width=1000, height=860)


def draw_curve(
    figure: go.Figure,
    row: int,
    column: int,
    x: Tensor,
    y: Tensor,
    name: str,
    colour: str,
    legend: bool,
    dash: str = "solid",
) -> None:
    line = {"color": colour, "dash": dash, "width": 2}
    figure.add_scatter(
        x=x.tolist(), y=y.tolist(), name=name, legendgroup=name, showlegend=legend, line=line, row=row, col=column
    )


def draw_points(figure: go.Figure, row: int, column: int, x: Tensor, v: Tensor, legend: bool) -> None:
    """Points on the curve of v, with the symbol of the class it gives them, and the boundary."""
    places = torch.tensor([-0.82, -0.74, -0.66, -0.58, POINT, -0.44, -0.37, -0.3, -0.22, -0.06, 0.02, 0.1, 0.18])
    at = torch.searchsorted(x, places.to(x.dtype))
    first = v[at] > 0
    for name, chosen, symbol, colour in (("class 1", first, "star", "blue"), ("class 2", ~first, "circle", "red")):
        figure.add_scatter(
            x=x[at][chosen].tolist(),
            y=v[at][chosen].tolist(),
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": 8},
            name=name,
            legendgroup=name,
            showlegend=legend,
            row=row,
            col=column,
        )
    figure.add_hline(y=0, line_dash="dash", line_color="black", line_width=1, row=row, col=column)


def finish(figure: go.Figure, title: str, width: int, height: int) -> go.Figure:
    legend = {"orientation": "h", "y": -50 / height}
    figure.update_layout(title=title, title_font_size=16, template="plotly_white", width=width, height=height)
    figure.update_layout(legend=legend)
    figure.update_xaxes(range=[-0.9, 0.25])
    figure.update_yaxes(range=[-1.25, 1.25])
    return figure
