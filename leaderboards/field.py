"""The field at a glance: for each method the best certified accuracy at each radius, over σ and whatever was varied.

This is how papers compare methods (Cohen et al. 2019, Table 1). The choice is made after the fact, with the images that
the row is measured on, so it flatters methods of which more was tried; a line says which row and σ it is from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboards.board import rows
from leaderboards.estimates import CURVES
from leaderboards.published import PUBLISHED
from leaderboards.published.entry import Entry
from leaderboards.published.tables import TableRow, published_tables
from leaderboards.rows import COMPARABLE, Row
from suite.boards.board import Roots, load_board
from suite.statistics.bounds import Convention

TERMS = tuple(name for name in COMPARABLE if name != "sigma")
EXTRA = ("pre-trained", "unlabelled")  # words of a variant that say what else was trained on


@dataclass(frozen=True)
class Best:
    """The most that a method certifies at a radius: of which row, at which σ (None: of a margin, or not said)."""

    share: float
    run_id: str
    sigma: float | None


@dataclass(frozen=True)
class FieldLine:
    """A method on a test set, trained on the same data: its best at each radius, by the radius's number.

    `images` and `every` say on which of the test images; all rows that count have the same. `source` is "records" or,
    for what was typed, the table of a paper; `rows` counts what the best was chosen from. `holds` is whether the
    certificates are of what is deployed (None: not known).
    """

    method: str
    kind: str
    data: str
    images: int | None
    every: int | None
    extra_data: str
    holds: bool | None
    year: str
    citation: str
    link: str
    source: str
    rows: int
    at: dict[float, Best]
    clean: float | None = None
    variant: str = ""
    sigmas: tuple[float, ...] = ()
    terms: str = ""


def field(
    dataset: str, runs: Path, convention: Convention = "standard", published: Roots | None = PUBLISHED
) -> list[FieldLine]:
    """The lines of a board, of test sets on which some method has rows at several σ; then what was typed."""
    known = load_board(dataset, published).all_radii
    radii = [r for r in known if not (4 * r) % 1] or known
    typed = published_tables(dataset, published) if published else []
    lines = field_lines(rows(dataset, runs, convention, published), radii, typed, convention)
    chosen = {line.data for line in lines if len(line.sigmas) > 1}
    return [line for line in lines if line.source != "records" or line.data in chosen]


def field_lines(
    rows: Iterable[Row], radii: Sequence[float], typed: Iterable[TableRow] = (), convention: Convention = "standard"
) -> list[FieldLine]:
    """A line for each method and what it was trained on, what has records first; of these the best first, over `radii`.

    Of a method the rows on most images count; where these differ in more than σ in what votes have to have in common
    (`COMPARABLE`), they are in lines of their own. So are rows whose certificates do not hold for what they deploy.
    """
    methods: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row.read == "log":
            methods.setdefault((row.method, row.data, row.top, row.kind, row.holds, extra_data(row)), []).append(row)
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for key, own in methods.items():
        most = max(row.images or 0 for row in own)
        for row in own:
            if (row.images or 0) == most:
                groups.setdefault((*key, *(getattr(row, name) for name in TERMS)), []).append(row)
    found = [of_rows(own, radii, CURVES[convention]) for own in groups.values()]
    found += [of_table(row) for row in typed]
    return sorted(found, key=lambda line: order(line, radii))


def order(line: FieldLine, radii: Sequence[float]) -> tuple[Any, ...]:
    """Records by what they certify over the radii; what was typed, at radii of its own, by kind and method."""
    if line.source != "records":
        return (True, line.data, line.kind, line.method, line.year, -(line.clean or 0.0))
    return (False, line.data, -(line.images or 0), -sum(line.at[r].share for r in radii if r in line.at), line.method)


def of_rows(rows: list[Row], radii: Sequence[float], curve: str) -> FieldLine:
    """The line of a method's rows."""
    at = {}
    for r in radii:
        known = [(share, row) for row in rows if (share := row.curves[curve][str(r)].value) is not None]
        if known:
            share, row = max(known, key=lambda pair: pair[0])
            at[r] = Best(share, row.run_id, row.sigma)
    first, chosen = rows[0], {best.run_id for best in at.values()}
    return FieldLine(
        first.method,
        first.kind,
        first.data,
        images=first.images,
        every=first.every,
        extra_data=extra_data(first),
        holds=first.holds,
        year=min(year_of(row) for row in rows),
        citation=" ".join(dict.fromkeys(row.citation for row in rows if row.citation and row.run_id in chosen)),
        link=first.url,
        source="records",
        rows=len(rows),
        at=at,
        clean=max((c for row in rows if (c := row.metrics["clean_accuracy"].value) is not None), default=None),
        sigmas=tuple(sorted({row.sigma for row in rows if row.sigma})),
        terms=terms(first),
    )


def of_table(row: TableRow) -> FieldLine:
    """The line of a paper's table."""
    line = row.line
    sigma = line.sigma if isinstance(line.sigma, float) else None
    at = {r: Best(share, row.row_id, sigma) for r, share in zip(line.radii, row.accuracy.values(), strict=True)}
    return FieldLine(
        line.method,
        line.kind,
        load_board(line.board).title,
        images=line.images,
        every=None,
        extra_data="" if line.extra_data == "no" else line.extra_data,
        holds=None,
        year=str(row.paper.year),
        citation=row.paper.citation,
        link=row.paper.link,
        source=row.said,
        rows=1,
        at=at,
        clean=None if line.clean is None else line.clean / 100,
        variant=", ".join(filter(None, (line.variant, line.arch))),
    )


def year_of(row: Row) -> str:
    """When the method was proposed, where the row says so; else when the row was."""
    years: list[str] = re.findall(r"\b(?:19|20)\d\d\b", row.proposed)
    return years[-1] if years else row.date[:4]


def terms(row: Row) -> str:
    """What lines of a method may differ in beside what they have columns for."""
    n = "" if row.n is None else f"n {'=' if row.sampling == 'fixed' else '≤'} {row.n:,}, α = {row.alpha:g}"
    return ", ".join(filter(None, (f"top-{row.top}", n, "discrete noise" if row.noise == "discrete" else "")))


def extra_data(row: Row | Entry) -> str:
    """What a published row was trained on beside the data set, as its variant says."""
    return ", ".join(part for part in row.variant.split(", ") if any(word in part for word in EXTRA))
