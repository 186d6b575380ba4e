"""A board as a page shows it where a reader sorts and ticks rows: the certificate first, then a preset's columns.

Headings, units and help are those of the terminal and the exports: of `leaderboards.render.cells`, of the protocols.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from leaderboards.comparable import groups
from leaderboards.estimates import CURVES
from leaderboards.headline import counted
from leaderboards.render.cells import RANKS, Cell, count_text, heading, metric_cell, rank_text, visible
from leaderboards.render.field import FieldTable
from leaderboards.render.presets import in_preset, is_guarantee
from leaderboards.render.schema import DESCRIPTIONS
from leaderboards.variants import variant_text
from suite.boards.board import radius_text
from suite.protocols.protocol import Column, columns
from suite.statistics.bounds import Convention

HOLDS, FAILS, UNKNOWN = "✓ ", "✗ ", "not known"


@dataclass(frozen=True)
class Heading:
    """A column of a page's table: what stands above it, what it means, how a number is printed ("" for text), how wide
    it is in pixels, and whether it stays when the others scroll. `chips` are the texts that a cell may be made of, and
    `link` what a cell shows of the address that it is: a pattern with a group."""

    name: str
    help: str
    form: str = ""
    width: int = 0
    pinned: bool = False
    chips: tuple[str, ...] = ()
    link: str = ""


NAMES = {
    "#": Heading("#", RANKS, width=52, pinned=True),
    "method": Heading("method", "what the row's authors call it", width=160, pinned=True),
    "kind": Heading("kind", DESCRIPTIONS["kind"], width=58),
    "holds": Heading("holds", f"{DESCRIPTIONS['holds']}; broken: how many an attack inside of their radii broke"),
    "arch": Heading("arch", "the network's architecture", width=100),
    "variant": Heading("variant", DESCRIPTIONS["variant"], width=170),
    "seeds": Heading("seeds", "of the runs that the row is the mean over", width=60),
    "source": Heading("source", "yours: of your store; the suite: comes with it; else whose log", width=150),
    "date": Heading("date", "when the run was made, or the log published", width=95),
}  # fmt: skip
BEFORE = ("#", "method", "kind", "holds")


def interactive_table(
    group: pd.DataFrame, preset: str = "certified", intervals: bool = False, convention: Convention = "standard"
) -> tuple[pd.DataFrame, list[Heading]]:
    """A group of comparable rows, a line each, and its columns: shares in percent, counts as 19/80.

    `group` has a column `whose` (`leaderboards.whose`). With `intervals` a metric is text, with its 95 % interval.
    """
    lines = [row for _, row in group.iterrows()]
    names: dict[str, list[Any]] = {
        "#": [rank_text(row) for row in lines],
        "method": group["method"].tolist(),
        "kind": group["kind"].tolist(),
        "holds": [certificate_chips(row) for row in lines],
    }
    after: dict[str, list[Any]] = {
        "arch": group["arch"].tolist(),
        "variant": [variant_text(row) for row in lines],
        "seeds": [", ".join(map(str, row["seeds"])) for row in lines],
        "source": group["whose"].tolist(),
        "date": group["date"].tolist(),
    }
    of_radii = columns()[CURVES[convention]]
    metrics = {n: of_radii if n.startswith("r=") else c for n, c in visible(group, compact=False).items()}
    metrics = {n: c for n, c in metrics.items() if in_preset(c, preset)}
    ordered = sorted(
        metrics.items(), key=lambda metric: not is_guarantee(metric[1])
    )  # stable: else as protocols have them
    values: dict[str, list[Any]] = {}
    headings = [about(name, names[name]) for name in BEFORE]
    for name, column in ordered:
        shown = heading_of(name, column, intervals)
        values[shown.name] = cells(group, lines, name, column, intervals)
        headings.append(shown)
    said = {name: own for name, own in after.items() if any(own) and (preset == "all" or name != "date")}
    if set(map(tuple, group["seeds"])) <= {(), (0,)}:
        said.pop("seeds", None)
    headings += [about(name, own) for name, own in said.items()]
    return pd.DataFrame(names | values | said), headings


def cells(group: pd.DataFrame, lines: list[Any], name: str, column: Column, intervals: bool) -> list[Any]:
    """A metric of each line: a number as its heading prints it, or text."""
    if column.of:
        return [count_text(row, column) for row in lines]
    if intervals:
        return [interval_text(metric_cell(row, name, column)) for row in lines]
    return ((100 if column.unit == "share" else 1) * group[name].astype(float)).tolist()


def as_printed(frame: pd.DataFrame, headings: Sequence[Heading]) -> pd.DataFrame:
    """Exact ties rounded to the even digit, as a terminal does; a browser would round them up."""
    for own in headings:
        if own.form.endswith("f"):
            values = frame[own.name].astype(float)
            tied = values * 10 ** int(own.form[-2]) % 1 == 0.5
            frame = frame.assign(**{own.name: values.where(~tied, values.map(own.form.__mod__).astype(float))})
    return frame


def interval_text(cell: Cell) -> str:
    text, bounds = cell
    return f"{text} ({bounds})" if bounds else text


def heading_of(name: str, column: Column, intervals: bool) -> Heading:
    """A metric's heading, as in a terminal, with what it means and its unit."""
    unit = ", in %" if column.unit == "share" else f", in {column.unit}" if column.unit else ""
    better = {True: "; larger is better", False: "; smaller is better", None: ""}[column.larger_is_better]
    at = f"at r = {radius_text(float(name.rpartition('r=')[2]))}: " if column.by_radius else ""
    bounds = "; in brackets its 95 % interval, over test sets like this one" if intervals and not column.of else ""
    form = "" if column.of or intervals else f"%{column.form}"
    shown = heading(name, column)
    width = 150 if intervals and not column.of else max(54, 24 + 9 * len(shown))
    return Heading(shown, f"{at}{column.help}{unit}{better}{bounds}", form, width)


def about(name: str, values: list[Any]) -> Heading:
    """The heading of what is not a metric; that of certificates with the chips that they are made of."""
    found = NAMES[name]
    if name != "holds":
        return found
    chips = tuple(dict.fromkeys(chip for own in values for chip in own))
    width = 190 if any(len(own) > 1 for own in values) else 100
    return Heading(found.name, found.help, width=width, chips=chips)


def certificate_chips(row: Any) -> list[str]:
    """Whether a row's certificates hold for what it deploys, in words: `✓ vote`, or `✗ pass` and `broken 19 of 80`."""
    if pd.isna(row["holds"]) or pd.isna(row["deployed"]):
        return [UNKNOWN]
    broken = counted(row)
    return [f"{HOLDS if row['holds'] else FAILS}{row['deployed']}", *([broken] if broken else [])]


def field_table(found: FieldTable) -> tuple[pd.DataFrame, list[Heading]]:
    """A table of the field, its small print in brackets, with the certificate in words as in tables of rows.

    What a method was trained on beside the data set, its small print in other tables, is a column here.
    """
    words = {"yes": [f"{HOLDS}holds"], "no": [f"{FAILS}does not hold"]}
    columns: dict[str, list[Any]] = {}
    for place, name in enumerate(found.headings):
        texts, small = zip(*(line[place] for line in found.lines), strict=True)
        if name == "method":
            columns |= {name: list(texts)} | ({"extra data": [more or "none" for more in small]} if any(small) else {})
        elif name == "holds":
            columns[name] = [words.get(text, [UNKNOWN]) for text in texts]
        else:
            columns[name] = [f"{text} ({more})" if more else text for text, more in zip(texts, small, strict=True)]
    return pd.DataFrame(columns), [field_heading(name, values) for name, values in columns.items()]


def field_heading(name: str, values: list[Any]) -> Heading:
    if name == "holds":
        chips = tuple(dict.fromkeys(chip for own in values for chip in own))
        return Heading(
            name, DESCRIPTIONS["holds"], width=125 if any(FAILS in chip for chip in chips) else 96, chips=chips
        )
    if name in NAMES:
        return NAMES[name]
    help = {
        "year": "when the method was proposed, or the row published",
        "terms": "what the certificates rest on",
        "images": "how many test images are certified",
        "clean": "accuracy on clean images, the best of the method's rows, in %",
        "extra data": "what the method was trained on beside the data set",
    }.get(name, f"the most images certified at r = {name}, in %; in brackets the σ of that row")
    return Heading(name, help, width=max(60, min(170, 16 + 7 * max([len(name), *map(len, values)]))))


def explained(frame: pd.DataFrame, convention: Convention = "standard") -> pd.DataFrame:
    """What each column of a board's tables says, a line each, as the help above it does."""
    found: dict[str, str] = {}
    for _, group in groups(frame):
        for shown in interactive_table(group, "all", convention=convention)[1]:
            found.setdefault(shown.name, shown.help)
    return pd.DataFrame(found.items(), columns=["column", "what it says"])
