"""The figures of a row, from per-image certificates: the same function for a run and for a published log."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from suite.statistics.bounds import average_certified_radius, certified_accuracy


def figures(
    records: pd.DataFrame, radii: Iterable[float], *, sigma: float, n0: int, n: int, alpha: float
) -> dict[str, Any]:
    """What certificates (idx, label, predict, radius, correct; a row each) put into a row of the board.

    JSON values; shares in [0,1], radii (ℓ2, pixels in [0,1]) as keys of the certified accuracies. Clean accuracy is
    that of ĉ_A, the class that was certified or would have been: None where the records have no column `chosen`,
    because then an abstention does not say what the image was taken for. Seconds are None without a column `time`.
    `every` is the step of the images' indices, and `image_radii` has for each image, by idx, R where it is classified
    correctly, −1 where wrongly, None where abstained: what an interval over several seeds is computed from.
    """
    radius, correct = records["radius"].to_numpy(), records["correct"].to_numpy(bool)
    abstained = records["predict"].to_numpy() == -1
    clean = None
    if "chosen" in records:
        clean = float(
            np.mean([label in chosen for label, chosen in zip(records["label"], records["chosen"], strict=True)])
        )
    radii = list(radii)
    return {
        "every": int(np.median(np.diff(records["idx"]))) if len(records) > 1 else 1,
        "clean_accuracy": clean,
        "images": len(records),
        "n0": n0,
        "n": n,
        "alpha": alpha,
        "certified_accuracy": {str(r): certified_accuracy(radius, correct, abstained, r) for r in radii},
        "certified_accuracy_paper": {str(r): certified_accuracy(radius, correct, abstained, r, "paper") for r in radii},
        "acr": average_certified_radius(radius, correct),
        "abstained": float(abstained.mean()),
        "median_radius": float(np.median(radius[~abstained])) if (~abstained).any() else 0.0,
        "seconds_per_certificate": float(records["time"].mean()) if "time" in records else None,
        "claim": claim(sigma, alpha, n0),
        "image_radii": [None if np.isnan(r) else r for r in image_radii(records).tolist()],
    }


def image_radii(records: pd.DataFrame) -> NDArray[np.float64]:
    """Per image R where it is classified correctly, −1 where wrongly, NaN where abstained."""
    radii = np.where(records["correct"] == 1, records["radius"], -1.0)
    return np.where(records["predict"] == -1, np.nan, radii)


def claim(sigma: float, alpha: float, n0: int, noise: str = "gaussian") -> str:
    """What the certificate guarantees, and of which classifier; n0 = 0: the class is a single pass's."""
    rounded = " rounded to 1/255" if noise == "discrete" else ""
    voted = (
        f"with probability {1 - alpha:g} per image, the vote of this model under N(0, {sigma:g}²) "
        f"noise{rounded} keeps its answer within the radius"
    )
    if n0:
        return f"{voted}; the vote is what this row deploys"
    return f"{voted}; not guaranteed of the single pass that this row deploys"
