"""Per-image certification logs, read line by line and believed only if consistent.

A line has idx, label, predict (−1: abstained), radius, correct (0 or 1) and, in most logs, time in seconds or as
h:mm:ss; `layout` says in which forms.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leaderboards.published.layout import Layout, Line, read_layout
from suite.boards.board import Board
from suite.errors import UserError
from suite.statistics.bounds import certified_radius, largest_radius, smallest_count

INTEGER = re.compile(r"-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
CLOCK = re.compile(r"(([0-9]+) days?, )?([0-9]+):([0-5][0-9]):([0-5][0-9](\.[0-9]*)?)")
CLEAN = {"unperturbed correct": "unperturbed predict", "clean_correct": "clean_predict"}  # and the answer it is of
FARTHEST = 400.0  # radius: images of 3 × 224 × 224 are 388 apart at most
ALPHAS = (0.05, 0.01, 0.001)  # levels that are in use: what a wrong one may have been meant to be
WEAK = -3.0  # log10 of a chance; below it, none of ten other n, α and σ that a log might be of fits by chance, at 1 %


class Record(NamedTuple):
    """A line of a log: the radius as text, and whether the answer without a perturbation is right, if it tells."""

    idx: int
    label: int
    predict: int
    radius: str
    correct: int
    time: float
    clean: bool | None


@dataclass(frozen=True)
class Log:
    """A log whose every line holds: its columns by line of the file, the radius as text; time is NaN where it has none.

    `clean` says of each image whether the answer without a perturbation is right; None in a log that does not tell.
    """

    path: Path
    records: pd.DataFrame
    note: str
    sha256: str
    clean: NDArray[np.bool_] | None = None
    others: tuple[str, ...] = ()

    def at(self, place: int) -> str:
        """Where a record is: file and line."""
        return f"{self.path}, line {self.records.index[place]}"


def read_log(path: Path, board: Board, top: int = 1) -> Log:
    """The log in a file. Raises UserError, with file, line and reason, at the first line that cannot be.

    A last line that a kill cut off is left out; `note` says so, and which test images the log covers.
    """
    layout = read_layout(path)
    records: list[Record] = []
    notes = [f"the header is repeated in line {number}: the log was written in parts" for number in layout.headers]
    for line in layout.lines:
        try:
            records.append(_record(line, layout, board, top))
        except ValueError as error:
            if line is layout.lines[-1] and not line.whole and records:
                notes.append("the unfinished last line is left out")
                break
            raise UserError(f"{path}, line {line.number}: {error}") from error
    if not records:
        raise UserError(f"{path} has a header and no images")
    numbers = [line.number for line in layout.lines[: len(records)]]
    columns = dict(zip(Record._fields, zip(*records, strict=True), strict=True))
    clean = columns.pop("clean")
    frame = pd.DataFrame(columns, index=pd.Index(numbers))
    if said := next(_disorder(frame["idx"], layout.headers), ""):
        raise UserError(f"{path}, {said}")
    note = "; ".join([*_coverage(frame["idx"].to_numpy(), board), *notes])
    known = None if None in clean else np.array(clean, bool)
    return Log(path, frame, note, layout.sha256, known, layout.others)


def _disorder(idx: pd.Series[int], headers: list[int]) -> Iterator[str]:
    """What is wrong with the order of images: an index that is there twice, or that falls."""
    order = idx.to_numpy()
    fallen = np.flatnonzero(np.diff(order) <= 0)
    if not len(fallen):
        return
    place = int(fallen[0]) + 1
    line, here, before = idx.index[place], order[place], order[place - 1]
    again = f"image {here} is there twice" if here in order[:place] else f"idx {here} comes after {before}"
    if parts := [number for number in headers if number < line]:
        again += f"; a second run begins at the header in line {parts[-1]}: keep one of the two"
    elif here == order[0] and place > 1:
        again += ": a second run begins here; keep one of the two"
    elif not again.endswith("twice"):
        again += "; they have to rise"
    yield f"line {line}: {again}"


def _record(line: Line, layout: Layout, board: Board, top: int) -> Record:
    """One line's values. Raises ValueError with the reason why it cannot be."""
    if len(line.fields) != len(layout.columns):
        raise ValueError(f"{len(line.fields)} fields, not {len(layout.columns)}")
    named = dict(zip(layout.columns, line.fields, strict=True))
    idx = whole_number("idx", named["idx"])
    if idx < 0 or 0 < board.images <= idx:
        raise ValueError(f"idx {idx} is not one of {board.title}'s")
    label, predict, correct = _answer(
        named["label"], named["predict"], named["correct"], board.title, board.classes, top
    )
    if _radius(named["radius"]) and predict == -1:
        raise ValueError(f"radius {named['radius']} where predict -1 abstains; it has to be 0")
    time = _seconds(named["time"]) if "time" in named else np.nan
    return Record(idx, label, predict, named["radius"], correct, time, _clean(named, label, top))


@lru_cache(maxsize=4096)  # a log has few different ones
def _answer(label: str, predict: str, correct: str, title: str, classes: int, top: int) -> tuple[int, int, int]:
    """A line's label, answer and whether that is right. Raises ValueError where they cannot be."""
    found = [whole_number(*named) for named in (("label", label), ("predict", predict), ("correct", correct))]
    for name, value, least in (("label", found[0], 0), ("predict", found[1], -1)):
        if value < least or 0 < classes <= value:
            raise ValueError(f"{name} {value} is not one of {title}'s")
    check_correct(found[0], found[1], found[2], top)
    return found[0], found[1], found[2]


@lru_cache(maxsize=4096)
def _radius(text: str) -> float:
    if not NUMBER.fullmatch(text):
        raise ValueError(f"radius '{text}' is not a number")
    radius = float(text)
    if radius < 0:
        raise ValueError(f"radius {text} is negative")
    if radius > FARTHEST:
        raise ValueError(f"radius {text} is larger than two images of pixels in [0,1] can be apart")
    return radius


def whole_number(name: str, text: str) -> int:
    if not INTEGER.fullmatch(text) or len(text) > 18:
        raise ValueError(f"{name} '{text[:40]}' is not a whole number")
    return int(text)


def _clean(named: Mapping[str, str], label: int, top: int) -> bool | None:
    """Whether the answer without a perturbation is right, in a log that has a column for it."""
    for column, answer in CLEAN.items():
        if column in named:
            correct = whole_number(column, named[column])
            check_correct(label, whole_number(answer, named[answer]) if answer in named else None, correct, top, column)
            return bool(correct)
    return None


def check_correct(label: int, predict: int | None, correct: int, top: int, name: str = "correct") -> None:
    """Raise ValueError where `correct` cannot be, by a label and an answer, if that is known."""
    if correct not in (0, 1):
        raise ValueError(f"{name} {correct} is neither 0 nor 1")
    if predict is None:
        return
    may_be = {0} if predict == -1 else {1} if predict == label else {0} if top == 1 else {0, 1}
    if correct not in may_be:
        raise ValueError(
            f"{name} {correct} contradicts label {label} and {name.replace('correct', 'predict')} {predict}"
        )


def _seconds(text: str) -> float:
    if clock := CLOCK.fullmatch(text):
        return 86400 * int(clock[2] or 0) + 3600 * int(clock[3]) + 60 * int(clock[4]) + float(clock[5])
    if not NUMBER.fullmatch(text) or text.startswith("-"):
        raise ValueError(f"time '{text}' is neither seconds nor h:mm:ss")
    return float(text)


def _coverage(idx: NDArray[np.int64], board: Board) -> list[str]:
    """Which test images a log covers, where it is not all of them."""
    steps, often = np.unique(np.diff(idx), return_counts=True)
    step = int(steps[often.argmax()]) if len(steps) else 1
    notes = [] if step == 1 else [f"every {step}th test image"]
    if missing := len(range(int(idx[0]), int(idx[-1]) + 1, step)) - len(idx):
        notes.append(f"{missing} images are missing")
    whole = len(range(int(idx[0]), board.images, step))
    if len(idx) + missing < whole:
        notes.append(f"the log stops at image {idx[-1]} of {board.images}, with {len(idx)} of {whole} images")
    return notes


def check_level(log: Log, n: int, alpha: float, sigma: float) -> None:
    """Raise UserError unless each radius is, as printed, that of some count of n votes at level α and noise σ."""
    text, place = np.unique(log.records["radius"].to_numpy(str), return_inverse=True)
    radius, half = text.astype(float), rounding(text.tolist())
    wrong = ~fits(radius, half, n, alpha, sigma)
    if not wrong.any():
        return
    largest = largest_radius(n, alpha, sigma)
    above = wrong & (radius > largest)
    first = int((above if above.any() else wrong)[place].argmax())
    what = f"above {largest:.4g}, the largest" if above.any() else "that of no count of votes"
    fitting = [f"{other:g}" for other in ALPHAS if fits(radius, half, n, other, sigma).all()]
    hint = f"alpha = {fitting[0]} fits every radius" if fitting else "check n, sigma and alpha"
    raise UserError(
        f"{log.at(first)}: radius {text[place[first]]} is {what} at n = {n}, alpha = {alpha:g} "
        f"and sigma = {sigma:g}; {hint}"
    )


def fits(radius: ArrayLike, half: ArrayLike, n: int, alpha: float, sigma: float) -> NDArray[np.bool_]:
    """Whether some count of n votes has a certified radius within `half` of each radius; 0 always has."""
    radius, half = np.asarray(radius, float), np.asarray(half, float)
    count = smallest_count(np.maximum(radius - half, 0), n, alpha, sigma)
    nearest = certified_radius(np.minimum(count, n), n, alpha, sigma)
    return np.asarray((radius == 0) | ((count <= n) & (nearest <= radius + half)))


def evidence(log: Log, n: int, alpha: float, sigma: float) -> float:
    """log10 of the chance that arbitrary radii in the place of a log's would be those of counts of n votes, too.

    Each different radius counts once, as if it had fallen anywhere near its place: its chance is the share of the
    numbers there that counts have, which is what its rounding covers of the way from one count's radius to the next,
    at most 1. Near R = 0 radii of counts lie so close that every printed number is one, and near the largest far apart.
    """
    text = np.unique(log.records["radius"].to_numpy(str))
    values, first = np.unique(text.astype(float), return_index=True)
    radius, half = values[values > 0], rounding(text.tolist())[first][values > 0]
    count = np.minimum(smallest_count(np.maximum(radius - half, 0), n, alpha, sigma), n)
    above, below = (certified_radius(k, n, alpha, sigma) for k in (np.minimum(count + 1, n), count - 1))
    apart = (above - below) / np.where(count < n, 2, 1)
    return float(np.log10(np.minimum(2 * half / apart, 1)).sum())


def check_labels(log: Log, labels: ArrayLike, source: str) -> None:
    """Raise UserError unless the log's labels are the test set's (N,), numbered as they are there or by class."""
    labels = np.asarray(labels)
    idx, label = log.records["idx"].to_numpy(), log.records["label"].to_numpy()
    known = idx < len(labels)
    wrong = known.copy()
    wrong[known] = labels[idx[known]] != label[known]
    if wrong.any() and (np.sort(labels)[idx[known]] != label[known]).any():
        first = int(wrong.argmax())
        raise UserError(
            f"{log.at(first)}: label {label[first]} of image {idx[first]}, whose label is "
            f"{labels[idx[first]]} in {source}; idx has to be the image's number in the test set"
        )


def rounding(printed: list[str]) -> NDArray[np.float64]:
    """How far each number may be from what was rounded to it: half a unit of its last digit, and 10⁻⁶ of it.

    Trailing zeros may have been dropped, so the last digit is the one that the numbers together show: as many
    significant digits, or as many decimals, as the longest of them, whichever is coarser.
    """
    numbers = [Decimal(text) for text in printed]
    digits = max(len(number.as_tuple().digits) for number in numbers)
    decimals = max(-int(number.as_tuple().exponent) for number in numbers)
    return np.array([0.5 * 10.0 ** max(x.adjusted() - digits + 1, -decimals) + 1e-6 * float(x) for x in numbers])
