"""How certain it is that one row of a table is better than another in what sorts them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from leaderboards.estimates import CURVES, gains, hits_and_counted, p_as
from leaderboards.rows import Row
from suite.statistics.ranking import z_of_estimates, z_of_means, z_of_shares

MEANS = ("acr", "p_a")  # over all images, in either convention


def z_scores(rows: Sequence[Row], sort: str, curve: str) -> NDArray[np.float64]:
    """How many standard errors of their difference each of K comparable rows is better than each other (K, K).

    `sort` is what they are sorted by: "acr", "p_a", "clean" or a radius of `curve`, one of CURVES. Rows whose records
    are here are compared image by image; a row of which only figures are known by its 95 % interval, which leaves a
    difference less certain than it is. NaN where a row has no value or no interval.
    """
    metric = {"clean": "clean_accuracy"}.get(sort, sort)
    estimates = [row.metrics[metric] if metric in row.metrics else row.curves[curve][sort] for row in rows]
    values = np.array([np.nan if e.value is None else e.value for e in estimates])
    widths = np.array([np.nan if e.interval is None else e.interval[1] - e.interval[0] for e in estimates])
    errors = widths / 2 / ndtri(0.975)
    radii = {i: row.radii for i, row in enumerate(rows) if row.radii is not None and not np.isnan(values[i])}
    if sort == "clean" or (sort not in MEANS and curve != CURVES["standard"]) or len(radii) < 2:
        return z_of_estimates(values, errors)
    if sort == "acr":
        paired = z_of_means([gains(own).mean(axis=0) for own in radii.values()])
    elif sort == "p_a":
        paired = z_of_means([p_as(own, rows[i].sigma or np.nan).mean(axis=0) for i, own in radii.items()])
    else:
        paired = z_of_shares([hits_and_counted(own, curve, [float(sort)])[0][0].mean(axis=0) for own in radii.values()])
    if len(radii) == len(rows):
        return paired
    z = z_of_estimates(values, errors)
    z[np.ix_(list(radii), list(radii))] = paired
    return z
