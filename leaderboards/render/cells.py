"""A board in words and figures as people read them: the same in a terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from leaderboards.board import groups
from suite.protocols.protocol import Column, columns
from suite.store.result import EARLIER

NAMES = ("#", "method", "arch", "seeds", "source")  # headings of what is no metric
ALWAYS = ("clean_accuracy", "acr", "abstained")  # which every table has, and whose meaning is said apart
Cell = tuple[str, str]  # text, and its 95 % interval where there is one


@dataclass(frozen=True)
class Group:
    """A group of comparable rows: the first `names` columns are names, the others metrics."""

    title: str
    headings: list[str]
    lines: list[list[Cell]]
    rows: pd.DataFrame
    metrics: dict[str, Column]

    @property
    def names(self) -> int:
        return sum(heading in NAMES for heading in self.headings)


def percent(share: float | None) -> str:
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f}"


def deployment(row: Mapping[str, Any]) -> str:
    """What a user of the row runs, in words."""
    if row["deployed"] == "vote":
        return f"a vote of {row['n0']} passes" if row.get("n0") else "a vote"
    return "one pass" if row["deployed"] == "pass" else ""


def references(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """What is cited: variant, note and citation of rows that are not of runs, in their order."""
    others = frame[frame["source"] != "run"]
    return others[["variant", "note", "citation"]].drop_duplicates().apply(tuple, axis=1).tolist()


def group_columns(group: pd.DataFrame) -> dict[str, Column]:
    """The columns of a group as wide as a terminal, by their place in the table: those that some of its rows have.

    The board's radii stand where the column of certified accuracy does.
    """
    found: dict[str, Column] = {}
    radii = [name for name in map(str, group) if name.startswith("r=")]
    for key, (_, column) in columns().items():
        if key == "certified_accuracy":
            found |= {name: replace(column, heading=name.removeprefix("r=")) for name in radii}
        elif key in group and (key in ALWAYS or (column.compact and group[key].notna().any())):
            found[key] = column
    return found


def render_groups(frame: pd.DataFrame) -> Iterator[Group]:
    """The groups of a table, best row first, without columns that say nothing."""
    cited = references(frame)
    for title, group in groups(frame):
        metrics = group_columns(group)
        if "n ≤" not in title:
            metrics.pop("draws", None)
        seeds, sources = any(s not in ([], [0]) for s in group["seeds"]), (group["source"] != "run").any()
        names = ["#", "method", "arch", *(["seeds"] if seeds else []), *(["source"] if sources else [])]
        lines = []
        for _, row in group.iterrows():
            own = (row["variant"], row["note"], row["citation"])
            source = "run" if row["source"] == "run" else f"[{cited.index(own) + 1}]"
            text = {"#": str(row["rank"]), "method": row["method"], "arch": row["arch"], "source": source}
            text["seeds"] = ",".join(map(str, row["seeds"])) or "–"
            lines.append([*((text[name], "") for name in names), *(cell(row, key, c) for key, c in metrics.items())])
        yield Group(title, [*names, *(column.heading for column in metrics.values())], lines, group, metrics)


def cell(row: Any, key: str, column: Column) -> Cell:
    """A metric of a row as text, and its 95 % interval where there is one."""
    if column.of:
        return ("–" if pd.isna(row[key]) else f"{row[key]}/{row[f'{key}_of']}", "")
    scale = 100 if column.unit == "share" else 1
    text = "–" if pd.isna(row[key]) else format(scale * row[key], column.form)
    if key == "acr" and (deviation := row["spread"]["acr"]) is not None:
        text += f" ± {deviation:{column.form}}"
    bounds = row["intervals"].get(key) if key in ALWAYS or key.startswith("r=") else None
    return text, "–".join(format(scale * bound, column.form) for bound in bounds or ())


def legend(frame: pd.DataFrame, metrics: Mapping[str, Column], paper_convention: bool) -> Iterator[str]:
    """What the columns mean, a line each."""
    said = "R > r, abstentions dropped (the paper's)" if paper_convention else "R ≥ r, abstentions wrong (Cohen's)"
    yield f"0.1 and so on: % of images certified at that radius r; {said}"
    yield f"clean: {columns()['clean_accuracy'][1].help}"
    if (frame["sampling"] == EARLIER).any():
        yield (
            f"{EARLIER}: certified before its rule was mended; the certificates hold, but images were given up that "
            "would have been certified, up to 1.2 % of a row's"
        )
    if (frame["source"] == "published").any():
        yield "clean –: a published log does not say what the images that were abstained on were taken for"
    if frame["seeds"].map(len).max() > 1:
        yield "seeds: metrics are means over them; ACR ± is their standard deviation"
    for key, column in metrics.items():
        if key not in ALWAYS and not column.by_radius:
            yield f"{column.heading}: {column.help}"


def claims(frame: pd.DataFrame) -> Iterator[str]:
    """What each certificate says, and of whose rows."""
    for said, methods in frame.groupby("claim")["method"].unique().items():
        yield f"{', '.join(methods)}: {said}"


def notes(cited: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The numbered references."""
    for number, reference in enumerate(cited, start=1):
        yield f"[{number}] {'; '.join(filter(None, reference))}"
