"""What a published row keeps of a log: how many images are certified at each radius of a fine grid, and summaries.

The grid has every hundredth from 0 to the largest radius of an image that is classified correctly. Other radii that
matter are counted by themselves: those of the literature on deterministic certificates, and those of the board.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, PositiveInt, model_validator
from scipy.special import ndtr

from leaderboards.published.log import Log
from suite.statistics.bounds import Convention, average_certified_radius, mean_p_a
from suite.statistics.intervals import mean_interval, wilson

PER_UNIT = 100  # radii of the grid in a pixel's range
OF_MARGINS = (36 / 255, 72 / 255, 108 / 255)  # at which deterministic certificates are compared, beside 1
SHARES = np.r_[np.arange(50, 99) / 100, np.arange(990, 999) / 1000, np.arange(9990, 10_000) / 10_000, 1]
WIDTH = 20  # counts in a line of a file
Counts = NDArray[np.int64]


class Figures(BaseModel):
    """The figures of a log; each is a count of its `images`, or a summary of them.

    `certified` has at each radius of the grid the images that are correct with R ≥ r, and `ties` those of them with
    R = r; `between` has both for other radii. `p_right` and `p_wrong` count the lower bounds p_A of votes for the right
    and for a wrong class, between neighbours of SHARES. `every` is the usual step from `first` to `last` index.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    images: PositiveInt
    first: NonNegativeInt
    last: NonNegativeInt
    every: PositiveInt
    abstained: NonNegativeInt
    clean: NonNegativeInt | None = Field(None, description="images whose answer without a perturbation is right")
    acr: FiniteFloat
    acr_deviation: FiniteFloat = Field(0.0, description="of R · [correct] over the images")
    acr_interval: list[FiniteFloat] | None = Field(None, description="at 95 %, for a finite test set")
    p_a: FiniteFloat | None = Field(None, description="the mean of p_A · [correct]; None of margins")
    p_a_interval: list[FiniteFloat] | None = None
    median_radius: FiniteFloat = Field(description="of the images that it did not abstain on")
    largest: FiniteFloat = Field(description="radius, whether correct or not")
    seconds: FiniteFloat | None = Field(None, description="a certificate, the mean")
    seconds_median: FiniteFloat | None = None
    between: list[tuple[FiniteFloat, NonNegativeInt, NonNegativeInt]] = []
    certified: str
    ties: str
    p_right: str = ""
    p_wrong: str = ""

    @classmethod
    def of_log(cls, log: Log, radii: Iterable[float], sigma: float | None) -> dict[str, Any]:
        """The figures of a log, also at `radii` that are not on the grid; σ of its votes, None for margins."""
        records = log.records
        radius = records["radius"].astype(float).to_numpy()
        right = records["correct"].to_numpy(bool)
        answered = records["predict"].to_numpy() != -1
        own = np.sort(radius[right & answered])
        grid = np.arange(int(np.floor(own.max(initial=0.0) * PER_UNIT + 1e-9)) + 1) / PER_UNIT
        other = sorted({r for r in (*OF_MARGINS, *radii) if on_grid(r) is None and r <= radius.max()})
        gains = np.where(right, radius, 0.0)
        found: dict[str, Any] = {
            "images": len(records),
            "first": int(records["idx"].iloc[0]),
            "last": int(records["idx"].iloc[-1]),
            "every": int(np.median(np.diff(records["idx"]))) if len(records) > 1 else 1,
            "abstained": int((~answered).sum()),
            "clean": None if log.clean is None else int(log.clean.sum()),
            "acr": average_certified_radius(radius, right),
            "acr_deviation": round(float(gains.std(ddof=1)), 8) if len(gains) > 1 else 0.0,
            "acr_interval": interval_of(gains),
            "median_radius": float(np.median(radius[answered])) if answered.any() else 0.0,
            "largest": float(radius.max()),
            **seconds(records["time"]),
            "between": [
                (r, *map(int, (reached, tied))) for r, reached, tied in zip(other, *at(own, other), strict=True)
            ],
        }
        found |= {name: text_of(counts) for name, counts in zip(("certified", "ties"), at(own, grid), strict=True)}
        if sigma:
            for name, chosen in (("p_right", right), ("p_wrong", ~right)):
                bounds = ndtr(radius[answered & chosen] / sigma)
                found[name] = text_of(np.histogram(bounds, SHARES)[0])
            found["p_a"] = round(mean_p_a(radius, right & answered, sigma), 10)
            found["p_a_interval"] = interval_of(ndtr(radius / sigma) * (right & answered))
        return found

    @cached_property
    def counts(self) -> Counts:
        """(2, radii of the grid): images that are certified there, and those of them whose radius is that one."""
        return np.array([self.certified.split(), self.ties.split()], np.int64)

    @cached_property
    def bounds(self) -> Counts:
        """(2, shares): how many lower bounds p_A of votes for the right class and for a wrong one lie in each share."""
        return np.array([self.p_right.split(), self.p_wrong.split()], np.int64)

    @model_validator(mode="after")
    def _add_up(self) -> Self:
        """Whether the figures can be those of one log, which a figure that was changed by hand cannot."""
        reached, tied = self.counts
        answered = self.images - self.abstained
        falls = reached - np.append(reached[1:], 0)
        if not (falls >= tied).all() or (tied < 0).any() or reached[0] > answered or answered < 0:
            raise ValueError("certified: counts that no images have")
        least = reached[1:].sum() / PER_UNIT
        if not least - 1e-6 <= self.acr * self.images <= least + reached[0] / PER_UNIT + 1e-6:
            raise ValueError(f"acr: {self.acr} is not that of its counts")
        if self.p_right and self.bounds.sum(axis=1).tolist() != [reached[0], answered - reached[0]]:
            raise ValueError("p_right, p_wrong: counts that are not those of its images")
        if self.p_a is not None:
            low, high = (self.bounds[0] @ ends / self.images for ends in (SHARES[:-1], SHARES[1:]))
            if not low - 1e-9 <= self.p_a <= high + 1e-9:
                raise ValueError(f"p_a: {self.p_a} is not that of its counts")
        if any(r != sorted((r, 0.0, self.largest))[1] or n > reached[0] or t > n for r, n, t in self.between):
            raise ValueError("between: counts that no images have")
        return self

    def certified_at(self, r: float, convention: Convention = "standard") -> int | None:
        """How many images are certified at radius r; None where that is not among the figures."""
        place = on_grid(r)
        known = {radius: (reached, tied) for radius, reached, tied in self.between}
        if r > self.largest or (place is not None and place >= self.counts.shape[1]):
            return 0
        if place is None and r not in known:
            return None
        reached, tied = known[r] if place is None else self.counts[:, place]
        return int(reached if convention == "standard" else reached - tied)

    def total(self, convention: Convention = "standard") -> int:
        """The images that count."""
        return self.images if convention == "standard" else self.images - self.abstained

    def share(self, r: float, convention: Convention = "standard") -> float | None:
        """Certified accuracy at radius r; None where it is not known, or where nothing counts."""
        found, total = self.certified_at(r, convention), self.total(convention)
        return found / total if found is not None and total else None

    def grid(self, points: int = 101, largest: float | None = None) -> list[float]:
        """At most so many radii of the grid, evenly from 0 to just above the largest, or to `largest`."""
        last = self.counts.shape[1] if largest is None else int(largest * PER_UNIT) + 1
        step = -(-last // (points - 1))
        return [place / PER_UNIT for place in range(0, last + step, step)]

    def curve(self, convention: Convention = "standard", radii: Sequence[float] = ()) -> pd.DataFrame:
        """Certified accuracy on the grid, or at those of `radii` that are known.

        Columns: radius, accuracy, and low and high, Wilson's interval at 95 %.
        """
        found = {r: share for r in radii or self.grid() if (share := self.share(r, convention)) is not None}
        accuracy = np.array(list(found.values()), float)
        low, high = wilson(accuracy, max(self.total(convention), 1), 0.95)
        return pd.DataFrame({"radius": list(found), "accuracy": accuracy, "low": low, "high": high}, dtype=float)


def on_grid(r: float) -> int | None:
    """The place of a radius on the grid; None where it is not there."""
    place = round(r * PER_UNIT)
    return place if place / PER_UNIT == r else None


def at(radius: ArrayLike, radii: ArrayLike) -> tuple[Counts, Counts]:
    """How many of the radii, in ascending order, are at least each of `radii`, and how many are that one."""
    radius = np.asarray(radius)
    below, upto = (np.searchsorted(radius, radii, side) for side in ("left", "right"))
    return len(radius) - below, upto - below


def interval_of(values: NDArray[np.float64]) -> list[float] | None:
    """The interval of a mean at 95 %, as a file has it."""
    interval = mean_interval(values)
    return interval and [round(bound, 8) for bound in interval]


def seconds(time: pd.Series[float]) -> dict[str, float | None]:
    """The mean and the median time of a certificate; None in a log without times."""
    known = bool(time.notna().all())
    return {
        "seconds": round(float(time.mean()), 3) if known else None,
        "seconds_median": round(float(time.median()), 3) if known else None,
    }


def text_of(counts: ArrayLike) -> str:
    """Counts as a file has them, WIDTH in a line."""
    words = [str(count) for count in np.asarray(counts).tolist()]
    return "".join(f"{' '.join(words[k : k + WIDTH])}\n" for k in range(0, len(words), WIDTH))
