"""What a study looks for, measured on its validation split: pure functions of a run's certificates and row.

Certified radii grow with σ, and so does the largest radius that n draws can certify, Φ⁻¹(α^(1/n))·σ. Trials of
different σ therefore have to be compared at the same radii. `certified_accuracy`, the default, is the mean of the
certified accuracies at the board's radii, one number for the curve that the board shows: radii beyond the board's last
one count for nothing, so a larger σ pays only where it certifies more images at radii of interest. `acr` is not bounded
so: it pays for any radius, and where σ is searched it favours large σ at the cost of clean accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from suite.errors import UserError, unknown
from suite.statistics.bounds import average_certified_radius, certified_accuracy


@dataclass(frozen=True)
class Objective:
    """What a study makes as large, or as small, as it can.

    - `value` from certificates (a row each: label, predict, radius, correct, chosen) and the run's result;
    - `radii` (ℓ2, pixels in [0,1]) that adaptive sampling has to decide for it; None: it needs all n draws;
    - `protocol` that makes it;
    - `prunes` whether certificates made during training tell of it.
    """

    name: str
    direction: Literal["maximize", "minimize"]
    value: Callable[[pd.DataFrame, Mapping[str, Any]], float]
    radii: tuple[float, ...] | None = ()
    protocol: str = "certify"
    prunes: bool = True


def find_objective(name: str, board_radii: tuple[float, ...]) -> Objective:
    """The objective called `name`; `certified_accuracy@0.25` is at a radius. Raises UserError for an unknown one."""
    kind, at, radius = name.partition("@")
    if kind == "certified_accuracy":
        radii = (_parse_radius(name, radius),) if at else board_radii
        return Objective(name, "maximize", lambda certificates, result: mean_accuracy(certificates, radii), radii)
    found = {
        "acr": Objective(
            "acr", "maximize", lambda c, result: average_certified_radius(c["radius"], c["correct"]), None
        ),
        "clean_accuracy": Objective("clean_accuracy", "maximize", lambda c, result: clean_accuracy(c)),
        "seconds": Objective(
            "seconds", "minimize", lambda c, result: result["timing"]["deployed"], protocol="timing", prunes=False
        ),
    }
    if name not in found:
        raise unknown("objective", name, [*found, "certified_accuracy", "certified_accuracy@RADIUS"])
    return found[name]


def mean_accuracy(certificates: pd.DataFrame, radii: tuple[float, ...]) -> float:
    """The mean over `radii` of the certified accuracy there: the share of images that are correct with R ≥ r."""
    abstained = certificates["predict"] == -1
    shares = [certified_accuracy(certificates["radius"], certificates["correct"], abstained, r) for r in radii]
    return float(np.mean(shares))


def clean_accuracy(certificates: pd.DataFrame) -> float:
    """The share of images whose label is among ĉ_A: the accuracy of the single pass, or of the vote of n₀."""
    pairs = zip(certificates["label"], certificates["chosen"], strict=True)
    return float(np.mean([label in chosen for label, chosen in pairs]))


def _parse_radius(name: str, text: str) -> float:
    try:
        radius = float(text)
    except ValueError:
        radius = -1.0
    if not 0 < radius < np.inf:
        raise UserError(f"'{name}': the radius has to be a number above 0, as in certified_accuracy@0.25")
    return radius
