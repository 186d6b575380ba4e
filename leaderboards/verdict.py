"""Which of two rows certifies more at each radius, over all of their seeds, and beyond what chance explains.

On the same images, image by image, the difference has `mean_difference`'s interval. Where the records of one are not
here it has that of two independent estimates, which leaves it less certain than it is. Verdicts hold for all radii at
once: each is at the level 1 − 0.05/K for K radii (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import hypot

import pandas as pd
from scipy.special import ndtri

from leaderboards.compare import Pair, certified_shares, decided_by_all, every_seed_counts, paired
from leaderboards.estimates import CURVES
from leaderboards.rows import Row
from suite.boards.board import radius_text
from suite.errors import UserError
from suite.statistics.bounds import Convention
from suite.statistics.intervals import mean_difference

LEVEL = 0.95


@dataclass(frozen=True)
class At:
    """The certified accuracy of A minus that of B at a radius, and its interval for all radii at once."""

    radius: float
    difference: float
    low: float
    high: float

    @property
    def ahead(self) -> str:
        """A or B; empty where the interval has both signs."""
        return "A" if self.low > 0 else "B" if self.high < 0 else ""

    @property
    def verdict(self) -> str:
        return f"{self.ahead} ahead" if self.ahead else "undecided"

    @property
    def text(self) -> str:
        """`12.4 ± 5.1 points`, as it is read of whichever is ahead."""
        return f"{100 * abs(self.difference):.1f} ± {50 * (self.high - self.low):.1f} points"


@dataclass(frozen=True)
class Compared:
    """What can be said of two rows, and from what: their images in common (None: from their metrics alone).

    `decided` are the radii at which both are known, where adaptive sampling decided some only.
    """

    verdict: list[At]
    pair: Pair | None
    basis: str
    decided: list[float]


def compared(a: Row, b: Row, records: Callable[[Row], pd.DataFrame], convention: Convention = "standard") -> Compared:
    """Compare two rows on the images that both have, or by their metrics where the records of one are not here.

    `records` gives a row's (`leaderboards.curves.row_records`), or raises UserError where they are not here.
    """
    decided = decided_by_all((a, b))
    radii = [r for r in radii_of_both(a, b, convention) if not decided or r in decided]
    why, pair = "they have no image in common", None
    try:
        pair = paired(records(a), records(b))
    except UserError as error:
        why = str(error)
    if pair is not None and (a.decided or b.decided) and not decided:
        why, pair = "no radius was decided for both", None
    if pair is None or pair.images.empty:
        return Compared(unpaired_verdict(a, b, radii, convention), None, f"from their metrics ({why})", decided)
    basis = f"on the {len(pair.images):,} images of both, image by image"
    return Compared(paired_verdict(pair, radii, convention), pair, basis, decided)


def radii_of_both(a: Row, b: Row, convention: Convention = "standard") -> list[float]:
    """The radii of the board at which both rows are known and one of them certifies something."""
    curve = CURVES[convention]
    both = {r: (a.curves[curve][r].value, b.curves[curve][r].value) for r in a.curves[curve] if r in b.curves[curve]}
    return [float(r) for r, (x, y) in both.items() if x is not None and y is not None and (x or y)]


def paired_verdict(pair: Pair, radii: Sequence[float], convention: Convention = "standard") -> list[At]:
    """At each radius, on the images of both; radii at which a seed counts none are left out."""
    level = 1 - (1 - LEVEL) / max(len(radii), 1)
    sides = {r: certified_shares(pair, r, convention) for r in radii}
    return [At(r, *mean_difference(*both, level, shares=True)) for r, both in sides.items() if every_seed_counts(both)]


def unpaired_verdict(a: Row, b: Row, radii: Sequence[float], convention: Convention = "standard") -> list[At]:
    """At each radius that has an interval for both, from these alone."""
    wider = float(ndtri(1 - (1 - LEVEL) / 2 / max(len(radii), 1)) / ndtri((1 + LEVEL) / 2))
    found = []
    for r in radii:
        x, y = (row.curves[CURVES[convention]][str(r)] for row in (a, b))
        if x.value is None or y.value is None or x.interval is None or y.interval is None:
            continue
        half = wider * hypot(*((own.interval[1] - own.interval[0]) / 2 for own in (x, y) if own.interval))
        found.append(At(r, x.value - y.value, x.value - y.value - half, x.value - y.value + half))
    return found


def sentence(verdict: Sequence[At]) -> str:
    """`A ahead from r = 0.1 up to 0.4, by 12.4 ± 5.1 points at 0.1; undecided beyond.`"""
    if not verdict:
        return "Undecided: there is no radius at which both rows are known with an interval."
    if not any(at.ahead for at in verdict):
        most = max(verdict, key=lambda at: abs(at.difference))
        return (
            f"Undecided at every radius: the largest difference, {most.text} at r = {radius_text(most.radius)}, is "
            "within noise."
        )
    return f"{'; '.join(parts(verdict))}."


def parts(verdict: Sequence[At]) -> Iterator[str]:
    """What is said of each run of radii with the same verdict."""
    runs = [(ahead, list(own)) for ahead, own in groupby(verdict, key=lambda at: at.ahead)]
    for number, (ahead, own) in enumerate(runs):
        first, last = radius_text(own[0].radius), radius_text(own[-1].radius)
        if not number:
            where = f"up to r = {last}" if len(runs) > 1 else f"at every radius up to {last}"
        elif number == len(runs) - 1:
            upto = f"at r = {first}" if first == last else f"from r = {first} up to {last}"
            where = upto if ahead else "beyond"
        else:
            where = f"from {first} to {last}" if first != last else f"at {first}"
        if not ahead:
            yield f"undecided {where}" if number else f"Undecided {where}"
            continue
        most = max(own, key=lambda at: abs(at.difference))
        by = f", by {most.text}" + (f" at {radius_text(most.radius)}" if len(own) > 1 else "")
        yield f"{ahead} ahead {where}{by}"
