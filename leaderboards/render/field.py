"""The field's tables as people read them: a method a line, its best over σ at each radius, the σ in small print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from leaderboards.field import FieldLine
from leaderboards.render.cells import Cell, percent, yes_no
from suite.boards.board import radius_text

NAMES = ("method", "kind", "holds", "year")
BEST, TYPED = "the best over σ at each radius", "figures typed from papers"
NOTES = {
    BEST: "Of each method the best over σ and over what else was tried, chosen at each radius after the fact, on the "
    "images that it is measured on. Beside it: what else it was trained on, and the σ of its certificates.",
    TYPED: "Without records, so nothing here recomputes them. Beside it: what else it was trained on, and σ.",
}


@dataclass(frozen=True)
class FieldTable:
    """Lines that compare; the first `names` columns are names. `sources` says of each line where it is from."""

    title: str
    note: str
    headings: list[str]
    lines: list[list[Cell]]
    sources: list[str]
    names: int


def field_tables(lines: Sequence[FieldLine]) -> Iterator[FieldTable]:
    """A table for each test set, votes and margins together where records are here; of what was typed one for each."""
    for (typed, data, votes), own in groupby(lines, key=table_of):
        found = list(own)
        what = TYPED if typed else BEST
        kind = (": votes" if votes else ": margins of one pass") if typed else ""
        shared = {line.terms for line in found}
        alike = f", {found[0].terms}" if len(shared) == 1 and found[0].terms else ""
        yield field_table(f"{data}, {what}{kind}{alike}", NOTES[what], found)


def table_of(line: FieldLine) -> tuple[bool, str, bool]:
    typed = line.source != "records"
    return typed, line.data, not typed or line.kind == "vote"


def field_table(title: str, note: str, lines: Sequence[FieldLine]) -> FieldTable:
    """Radii: those at which some line has more than nothing."""
    radii = sorted({r for line in lines for r, best in line.at.items() if best.share > 0})
    clean = any(line.clean is not None for line in lines)
    variants = any(line.variant for line in lines)
    terms = len({line.terms for line in lines}) > 1
    images = len({(line.images, line.every) for line in lines}) > 1
    headings = [
        *NAMES,
        *["variant"] * variants,
        *["terms"] * terms,
        *["images"] * images,
        *["clean"] * clean,
        *map(radius_text, radii),
    ]
    cells = [
        [
            (line.method, line.extra_data),
            *((text, "") for text in (line.kind, yes_no(line.holds), line.year)),
            *([(line.variant or "–", "")] * variants),
            *([(line.terms, "")] * terms),
            *([(f"{line.images:,}" if line.images else "–", "")] * images),
            *([(percent(line.clean), "")] * clean),
            *(best_cell(line, r) for r in radii),
        ]
        for line in lines
    ]
    sources = dict.fromkeys(
        " ".join(filter(None, (f"{line.method}:", line.citation, typed_at(line)))) for line in lines
    )
    return FieldTable(title, note, headings, cells, list(sources), len(NAMES) + variants + terms)


def typed_at(line: FieldLine) -> str:
    return "" if line.source == "records" else f" {line.source}. {line.link}"


def best_cell(line: FieldLine, r: float) -> Cell:
    best = line.at.get(r)
    return (percent(best.share), f"{best.sigma:g}" if best.sigma and best.share else "") if best else ("–", "")
