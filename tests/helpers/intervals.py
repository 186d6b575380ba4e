"""Intervals in closed form, to compare others with."""

from __future__ import annotations

import math

from scipy.special import ndtri


def paired_interval(only_a: int, only_b: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """The interval for the difference p_A − p_B of two shares measured on the same `total` > 0 images.

    Only `only_a` and `only_b` count, the images that one has and the other does not. Adjusted Wald interval (Bonett and
    Price 2012): each discordant count gets one more, the total two, so that it keeps its level for small counts too.
    """
    a, b = (only_a + 1) / (total + 2), (only_b + 1) / (total + 2)
    half = float(ndtri((1 + level) / 2)) * math.sqrt((a + b - (a - b) ** 2) / (total + 2))
    return max(a - b - half, -1.0), min(a - b + half, 1.0)
