"""Per-image certification logs in the layout of Cohen et al.'s code, read line by line and believed only if consistent.

A header, then a line per image, separated by tabs: idx, label, predict (−1: abstained), radius, correct (0 or 1), and
time in seconds or as h:mm:ss.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from suite.boards.board import Board
from suite.errors import UserError
from suite.statistics.bounds import certified_radius, largest_radius, smallest_count

HEADER = ("idx", "label", "predict", "radius", "correct", "time")
INTEGER = re.compile(r"-?[0-9]+")
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
CLOCK = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9](\.[0-9]*)?)")
ALPHAS = (0.05, 0.01, 0.001)  # levels that are in use: what a wrong one may have been meant to be
WEAK = -3.0  # log10 of a chance; below it, none of ten other n, α and σ that a log might be of fits by chance, at 1 %


@dataclass(frozen=True)
class Log:
    """A log whose every line holds: its columns, the radius as text, and the first line is line 2 of the file."""

    path: Path
    records: pd.DataFrame
    note: str
    sha256: str


def read_log(path: Path, board: Board, top: int = 1) -> Log:
    """The log in a file. Raises UserError, with file, line and reason, at the first line that cannot be.

    A last line that a kill cut off is left out; `note` says so, and which test images the log covers.
    """
    try:
        content = path.read_bytes()
        lines = text_of(content).split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no log to be read: {error}") from error
    while len(lines) > 2 and not "".join(lines[-2:]).strip():
        lines.pop()  # of empty lines at the end one is left: the end of the last line
    if tuple(lines[0].rstrip("\r").split("\t")) != HEADER:
        raise UserError(f"{path}, line 1: the header is not '{' '.join(HEADER)}', separated by tabs")
    unfinished = lines.pop()  # empty where the last line is whole
    records: list[dict[str, Any]] = []
    seen: set[int] = set()

    def take(line: str) -> None:
        record = _record(line.rstrip("\r").split("\t"), board, top)
        idx = record["idx"]
        if idx in seen:
            raise ValueError(f"image {idx} is there twice")
        if records and idx < records[-1]["idx"]:
            raise ValueError(f"idx {idx} comes after {records[-1]['idx']}; they have to rise")
        seen.add(idx)
        records.append(record)

    for number, line in enumerate(lines[1:], start=2):
        if tuple(line.rstrip("\r").split("\t")) == HEADER:
            raise UserError(f"{path}, line {number}: a second header, of a log that was appended to; leave it out")
        try:
            take(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
    notes = []
    if unfinished and lines:
        try:
            take(unfinished)
        except ValueError:
            notes.append("the unfinished last line is left out")
    if not records:
        raise UserError(f"{path} has a header and no images")
    frame = pd.DataFrame(records, columns=list(HEADER))
    return Log(path, frame, "; ".join([*_coverage(frame["idx"].to_numpy(), board), *notes]), _sha256(content))


def text_of(content: bytes) -> str:
    """A file's text: UTF-8, or UTF-16 where its first bytes say so, without the mark of either."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _record(fields: list[str], board: Board, top: int) -> dict[str, Any]:
    """One line's values. Raises ValueError with the reason why it cannot be."""
    if len(fields) != len(HEADER):
        raise ValueError(f"{len(fields)} fields, not {len(HEADER)} separated by tabs")
    named = dict(zip(HEADER, fields, strict=True))
    record: dict[str, Any] = dict(named)
    for name in ("idx", "label", "predict", "correct"):
        if not INTEGER.fullmatch(named[name]):
            raise ValueError(f"{name} '{named[name]}' is not a whole number")
        record[name] = int(named[name])
    if not NUMBER.fullmatch(named["radius"]):
        raise ValueError(f"radius '{named['radius']}' is not a number")
    idx, label, predict, correct = (record[name] for name in ("idx", "label", "predict", "correct"))
    radius = float(named["radius"])
    record["time"] = _seconds(named["time"])
    for name, value, least, end in (
        ("idx", idx, 0, board.images), ("label", label, 0, board.classes), ("predict", predict, -1, board.classes),
    ):  # fmt: skip
        if value < least or (end and value >= end):
            raise ValueError(f"{name} {value} is not one of {board.title}'s")
    if radius < 0:
        raise ValueError(f"radius {named['radius']} is negative")
    if predict == -1 and radius > 0:
        raise ValueError(f"radius {named['radius']} where predict -1 abstains; it has to be 0")
    check_correct(label, predict, correct, top)
    return record


def check_correct(label: int, predict: int, correct: int, top: int) -> None:
    """Raise ValueError where `correct` cannot be, by a label and an answer."""
    if correct not in (0, 1):
        raise ValueError(f"correct {correct} is neither 0 nor 1")
    may_be = {0} if predict == -1 else {1} if predict == label else {0} if top == 1 else {0, 1}
    if correct not in may_be:
        raise ValueError(f"correct {correct} contradicts label {label} and predict {predict}")


def _seconds(text: str) -> float:
    if clock := CLOCK.fullmatch(text):
        return 3600 * int(clock[1]) + 60 * int(clock[2]) + float(clock[3])
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
    radius = log.records["radius"].astype(float).to_numpy()
    half = rounding(log.records["radius"].tolist())
    wrong = ~fits(radius, half, n, alpha, sigma)
    if not wrong.any():
        return
    largest = largest_radius(n, alpha, sigma)
    above = wrong & (radius > largest)
    first = int((above if above.any() else wrong).argmax())
    what = f"above {largest:.4g}, the largest" if above.any() else "that of no count of votes"
    fitting = [f"{other:g}" for other in ALPHAS if fits(radius, half, n, other, sigma).all()]
    hint = f"alpha = {fitting[0]} fits every radius" if fitting else "check n, sigma and alpha"
    raise UserError(
        f"{log.path}, line {first + 2}: radius {log.records['radius'][first]} is {what} at n = {n}, alpha = {alpha:g} "
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
    values, first = np.unique(log.records["radius"].astype(float), return_index=True)
    radius, half = values[values > 0], rounding(log.records["radius"].tolist())[first][values > 0]
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
            f"{log.path}, line {first + 2}: label {label[first]} of image {idx[first]}, whose label is "
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
