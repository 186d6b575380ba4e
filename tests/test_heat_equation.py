"""The heat equation in one dimension: averages that are known, and the paper's pictures of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.heat_equation import STEPS, errors

import methods.heat
import methods.penalty
from suite.illustrate import ISLAND, POINT, SIGMA, TIMESTEPS, adversarial_distance, heat_steps, illustrate


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("constant", "variance"), [("exact", 1.0), ("paper", 2.0)])
def test_many_small_steps_reach_the_gaussian_average(name: str, constant: str, variance: float) -> None:
    """λ = ½ diffuses to variance σ², the printed λ = 1 to 2σ²; the error falls like 1/n_T."""
    sigma = 0.5
    found = errors(STEPS[name], constant, variance**0.5 * sigma, sigma)
    print(f"{name}, λ {constant}:", "  ".join(f"{n}: {error:.5f}" for n, error in found.items()))
    values = list(found.values())
    assert all(after < before for before, after in pairwise(values))
    assert values[-1] < 0.0025
    assert 1.6 < values[-2] / values[-1] < 2.2


@pytest.mark.parametrize("wrong", [0.9, 1.1])
@pytest.mark.parametrize(("constant", "variance"), [("exact", 1.0), ("paper", 2.0)])
def test_a_constant_wrong_by_a_tenth_would_be_found(
    monkeypatch: pytest.MonkeyPatch, constant: str, variance: float, wrong: float
) -> None:
    monkeypatch.setitem(methods.heat.LAMBDA, constant, methods.heat.LAMBDA[constant] * wrong)
    found = errors(STEPS["one step"], constant, (variance**0.5) * 0.5)
    assert found[64] > 4 * 0.0025
    assert found[64] / found[32] > 0.8  # and does not go away


@pytest.mark.parametrize(("constant", "variance"), [("exact", 1.0), ("paper", 2.0)])
@pytest.mark.parametrize("timesteps", [1, 3, 10])
def test_the_variance_of_the_averaging_is_right_at_any_number_of_timesteps(
    constant: Any, variance: float, timesteps: int
) -> None:
    """A step's derivative becomes the kernel that f was averaged with."""
    sigma = 0.5
    x = torch.linspace(-20 * sigma, 20 * sigma, 401, dtype=torch.float64)
    v = heat_steps(STEPS["one step"], x, sigma=sigma, timesteps=timesteps, constant=constant)[-1]
    spacing = float(x[1] - x[0])
    middle = (x[1:] + x[:-1]) / 2
    # a step's means over the cells rise in the two halves beside it: (spacing/2)² of the variance is the grid's
    found = float((v.diff() * middle**2).sum()) - spacing**2 / 4
    assert found == pytest.approx(variance * sigma**2, rel=1e-5)


def test_the_timesteps_drive_the_boundary_away_from_a_point_as_in_figure_5() -> None:
    x = torch.linspace(-2, 2, 801, dtype=torch.float64)
    iterates = heat_steps(ISLAND, x, sigma=SIGMA, timesteps=TIMESTEPS, constant="exact")
    distances = [adversarial_distance(v, x, POINT) for v in iterates]
    assert distances[0] == pytest.approx(0.10, abs=0.001)
    assert distances[5] == pytest.approx(0.35, abs=0.001)
    assert adversarial_distance(torch.ones(801), x, POINT) == float("inf")


@pytest.mark.slow
def test_the_figures_are_drawn(tmp_path: Path) -> None:
    files = illustrate(tmp_path / "figures")
    assert [file.name for file in files if file.suffix == ".html"] == ["figure4.html", "figure5.html"]
    assert all(file.stat().st_size > 10_000 for file in files)
