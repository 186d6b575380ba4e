"""A board in words and numbers as people read them: the same in a terminal, Markdown, LaTeX and HTML.

What a metric is called, how it is printed and what it means comes from its protocol's column.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from leaderboards.board import count_names, table_columns
from leaderboards.comparable import groups
from leaderboards.render.schema import DESCRIPTIONS
from leaderboards.variants import trained_at, variant_text
from suite.boards.board import radius_text
from suite.protocols.protocol import Column
from suite.store.result import EARLIER

NAMES = ("#", "method", "arch", "kind", "depl.", "holds", "seeds", "source")  # headings of what is not a metric
CONVENTIONS = {"standard": "R ≥ r, abstentions wrong (Cohen's)", "paper": "R > r, abstentions dropped (the paper's)"}
RANKS = "the ranks that a row may have, at 95 % for all rows of its table: counted from how many are better and worse"
Cell = tuple[str, str]  # text, and its 95 % interval where there is one


@dataclass(frozen=True)
class Block:
    """A group of comparable rows: the first `names` columns are names, the others metrics."""

    title: str
    headings: list[str]
    lines: list[list[Cell]]
    rows: pd.DataFrame

    @property
    def names(self) -> int:
        return sum(heading in NAMES for heading in self.headings)


def number(value: float | None, column: Column) -> str:
    """A metric as its column prints it; a share in percent, without the sign."""
    if value is None or pd.isna(value):
        return "–"
    if column.unit == "count":
        return str(int(value))
    return format(100 * value if column.unit == "share" else value, column.form)


def bounds(interval: Sequence[float] | None, column: Column) -> str:
    return "–".join(number(end, column) for end in interval) if interval else ""


def percent(share: float | None) -> str:
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f}"


def references(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """What is cited: variant, note and citation of rows that are not of runs, in their order."""
    others = frame[frame["source"] != "run"]
    return others[["variant", "note", "citation"]].drop_duplicates().apply(tuple, axis=1).tolist()


def visible(group: pd.DataFrame, *, compact: bool, sort: str = "") -> dict[str, Column]:
    """The metrics that a reader sees of a group: those that some row has, `compact` or all; by name in the table.

    So is the metric that sorts the rows, by the key of its column.

    Draws are left out where their number was fixed, which the group's title says.
    """
    fixed = group["sampling"].dropna().eq("fixed").all()
    return {
        name: column
        for name, column in table_columns(group).items()
        if (column.compact or not compact or column.key == sort)
        and not (column.unit == "draws" and fixed)
        and has_values(group, name, column)
    }


def has_values(group: pd.DataFrame, name: str, column: Column) -> bool:
    """Whether some row of a group has a metric; a count of 0 in all is none."""
    return bool((group[count_names(column)[1]] > 0).any() if column.of else group[name].notna().any())


def heading(name: str, column: Column) -> str:
    """What a metric is called in tables as wide as a terminal; a radius by its number."""
    if not column.by_radius:
        return column.heading
    return " ".join(filter(None, (column.heading, radius_text(float(name.rpartition("r=")[2])))))


def blocks(frame: pd.DataFrame, *, wide: bool = False, sort: str = "") -> Iterator[Block]:
    """The groups of a table, best row first, without columns that say nothing.

    `wide` is with all metrics and radii; else they are those that a terminal has room for, and what `sort`s the rows.
    """
    cited = references(frame)
    for title, group in groups(frame, wide=wide, sort=sort):
        metrics = visible(group, compact=not wide, sort=sort)
        seeds, sources = any(s not in ([], [0]) for s in group["seeds"]), (group["source"] != "run").any()
        names = [n for n in NAMES if (n != "seeds" or seeds) and (n != "source" or sources)]
        lines = []
        for _, row in group.iterrows():
            text = name_cells(row, cited)
            cells = (metric_cell(row, name, column) for name, column in metrics.items())
            lines.append([*((text[name], "") for name in names), *cells])
        headings = [*names, *(heading(name, column) for name, column in metrics.items())]
        yield Block(title, headings, lines, group)


def name_cells(row: Any, cited: list[tuple[str, ...]]) -> dict[str, str]:
    """What is not a metric in a row, by heading; sources are numbered as they are `cited`."""
    number = "" if row["source"] == "run" else cited.index((row["variant"], row["note"], row["citation"])) + 1
    source = f"[{number}]" if number else "run"
    seeds = ",".join(map(str, row["seeds"])) or "–"
    said = variant_text(row) if row["source"] == "run" else trained_at(row)  # the sources have what else differs
    method = f"{row['method']} ({said})" if said else row["method"]
    return {
        "#": rank_text(row),
        "method": method,
        "arch": row["arch"],
        "seeds": seeds,
        "source": source,
        "kind": row["kind"],
        "depl.": "–" if pd.isna(row["deployed"]) else row["deployed"],
        "holds": yes_no(row["holds"]),
    }


def rank_text(row: Any) -> str:
    """The ranks that a row may have; a dash for a row without a value of what sorts its table, and for a margin without
    the votes that it compares with, among which it has different ones."""
    if pd.isna(row["rank"]) or pd.isna(row["best_rank"]):
        return "–"
    return "–".join(map(str, dict.fromkeys([row["best_rank"], row["worst_rank"]])))


def yes_no(value: Any) -> str:
    """True or false in words; a dash where it is not known."""
    return "–" if pd.isna(value) else "yes" if value else "no"


def metric_cell(row: Any, name: str, column: Column) -> Cell:
    """A metric of a line of a table, and its interval; the ACR with its standard deviation over seeds."""
    if column.of:
        return (count_text(row, column), "")
    deviation = row["spread"].get(name) if name == "acr" else None
    spread = "" if deviation is None else f" ± {number(deviation, column)}"
    return (number(row[name], column) + spread, bounds(row["intervals"].get(name), column))


def count_text(row: Any, column: Column) -> str:
    """A count as 19/80; a dash where there was nothing to count."""
    found, total = (row[name] for name in count_names(column))
    return "–" if pd.isna(total) or not total else f"{int(found)}/{int(total)}"


def legend(frame: pd.DataFrame, headings: set[str], paper_convention: bool) -> Iterator[str]:
    """What the columns mean, a line each."""
    convention = CONVENTIONS["paper" if paper_convention else "standard"]
    yield f"#: {RANKS}"
    yield f"columns that are a radius r: % of images classified correctly and certified at r; {convention}"
    for short, name in (("kind", "kind"), ("depl.", "deployed"), ("holds", "holds")):
        yield f"{short}: {DESCRIPTIONS[name]}"
    if (frame["sampling"] == EARLIER).any():
        yield (
            f"{EARLIER}: certified before its rule was corrected; the certificates hold, but images were given up that "
            "would have been certified, up to 1.2 % of a row's"
        )
    if "clean" in headings and ((frame["source"] == "published") & frame["clean_accuracy"].isna()).any():
        yield "clean –: published logs do not record the class of abstained images"
    if frame["seeds"].map(len).max() > 1:
        yield "seeds: numbers are means over them; ACR ± is their standard deviation"
    for column in dict.fromkeys(table_columns(frame).values()):
        if column.heading in headings:
            yield f"{column.heading}: {column.help}{', in %' if column.unit == 'share' else ''}"


def certificates(frame: pd.DataFrame) -> Iterator[str]:
    """What each certificate says, and of whose rows."""
    for claim, methods in frame.groupby("claim")["method"].unique().items():
        yield f"{', '.join(methods)}: {claim}"


def notes(cited: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The numbered references."""
    for number, reference in enumerate(cited, start=1):
        yield f"[{number}] {'; '.join(filter(None, reference))}"


def remarks(frame: pd.DataFrame, headings: set[str], paper_convention: bool) -> list[str]:
    """All text below the tables."""
    return [*legend(frame, headings, paper_convention), *certificates(frame), *notes(references(frame))]
