"""Step functions in one dimension, and how far the heat equation's steps are from their Gaussian averages."""

from __future__ import annotations

from typing import Any

import torch

from suite.illustrate import Steps, heat_steps

STEPS = {
    "one step": Steps(0.0, ((0.0, 1.0),)),
    "several": Steps(0.2, ((-1.0, 0.6), (-0.4, -0.7), (0.5, 0.3), (0.7, 0.5))),
}


def errors(f: Steps, constant: Any, deviation: float, sigma: float = 0.5) -> dict[int, float]:
    """The largest error of f_{n_T} against the average of f over N(0, deviation²), by n_T."""
    x = torch.linspace(-10 * sigma, 10 * sigma, 401, dtype=torch.float64)
    found = {}
    for timesteps in (1, 2, 4, 8, 16, 32, 64):
        smoothed = heat_steps(f, x, sigma=sigma, timesteps=timesteps, constant=constant)[-1]
        found[timesteps] = float((smoothed - f.average(x, deviation)).abs().max())
    return found
