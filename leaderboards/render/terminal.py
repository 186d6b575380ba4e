"""Results as people read them in a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from leaderboards.comparable import draws_sign
from leaderboards.estimates import bounds_of
from leaderboards.field import FieldLine
from leaderboards.render.cells import blocks, certificates, legend, notes, number, percent, references, yes_no
from leaderboards.render.cells import bounds as interval_text
from leaderboards.render.field import field_tables
from leaderboards.render.labels import deployment
from suite.protocols.protocol import Column, columns
from suite.statistics.bounds import largest_radius
from suite.statistics.intervals import proportion_interval
from suite.store.result import Result


def result_table(result: Result) -> Table:
    """A run's row, one metric a line, with 95 % intervals for a finite test set."""
    table = Table(box=SIMPLE, show_header=False, title=Text(result.run_id), title_justify="left")
    table.add_row("method", f"{result.method}, {result.arch}, deployed: {deployment(result)}")
    if result.single_pass_accuracy is not None:
        accuracy = f"{percent(result.single_pass_accuracy)} %  of {result.single_pass_images} test images"
        table.add_row("accuracy, one clean pass", accuracy)
    if result.is_certified:
        for line in certificate_lines(result):
            table.add_row(*line)
    for column in columns().values():
        counted = result.metric(column.of) != 0 if column.of else True
        if not column.by_radius and counted and result.metric(column.path) is not None:
            table.add_row(column.title, metric_text(result, column))
    return table


def certificate_lines(result: Result) -> Iterator[tuple[str, str | Text]]:
    """How certificates were made, what share of images they hold for at each radius, and what they say."""
    images, n, alpha, sigma = result.images or 0, result.n or 0, result.alpha or 0.0, result.sigma or 0.0
    votes = result.kind == "vote"
    terms = (
        f"vote, n {draws_sign(result)} {n:,}, α = {alpha:g}, σ = {sigma:g}" if votes else "margin of one pass, no noise"
    )
    yield "certified", f"{images:,} images, {terms}"
    yield "holds for what is deployed", yes_no(result.holds)
    largest = largest_radius(n, alpha, sigma) if votes else math.inf
    for radius, value in result.certified_accuracy.items():
        if float(radius) <= largest and value is not None:
            yield f"certified accuracy at r = {radius}", share_text(value, images)
    if votes:
        yield "largest radius that n draws allow", f"{largest:.4f}"
    yield "the certificate says", Text(result.claim)


def share_text(share: float, total: int) -> str:
    low, high = proportion_interval(share * total, total)
    return f"{percent(share)} %  ({percent(low)} – {percent(high)})"


def metric_text(result: Result, column: Column) -> str:
    """A metric as its column prints it, a count as "19 of 80", with its interval where it is known."""
    value = result.metric(column.path)
    if column.of:
        return f"{number(value, column)} of {number(result.metric(column.of), column)}"
    if column.key == "abstained" and value is not None and result.images:
        return share_text(value, result.images)
    ends = bounds_of([result], column)
    unit = " %" if column.unit == "share" else ""
    return f"{number(value, column)}{unit}" + (f"  ({interval_text(ends, column).replace('–', ' – ')})" if ends else "")


def field_blocks(lines: Sequence[FieldLine]) -> Iterator[Table | Text]:
    """The field's tables, each with where its lines are from."""
    for found in field_tables(lines):
        yield Text(found.title, style="bold")
        table = empty_table(found.headings, found.names)
        for cells in found.lines:
            table.add_row(*(Text.assemble(text, (f" {small}" if small else "", "dim")) for text, small in cells))
        yield table
        yield from (Text(line, style="dim") for line in (found.note, *found.sources))
        yield Text()


def leaderboard_tables(
    frame: pd.DataFrame, paper_convention: bool, *, wide: bool = False, sort: str = ""
) -> Iterator[Table | Text]:
    """One table for each group of comparable rows, then what the columns and the certificates say.

    `wide` and `sort` are as for `leaderboards.render.cells.blocks`.
    """
    headings: set[str] = set()
    for group in blocks(frame, wide=wide, sort=sort):
        yield Text(group.title, style="bold")
        lines = [group.headings, *([text for text, _ in cells] for cells in group.lines)]
        yield Text("\n".join(aligned(lines, group.names)), no_wrap=True, overflow="ellipsis")
        yield Text()
        headings |= set(group.headings)
    yield from map(Text, legend(frame, headings, paper_convention))
    yield from (Text(line, style="dim") for line in (*certificates(frame), *notes(references(frame))))


def aligned(lines: Sequence[Sequence[str]], names: int) -> Iterator[str]:
    """Lines of cells as text, in columns; what comes after the first `names` of them stands on the right.

    (A table of Rich's takes twenty times as long.)
    """
    widths = [max(map(cell_len, column)) for column in zip(*lines, strict=True)]
    for cells in lines:
        spaces = [" " * (width - cell_len(text)) for width, text in zip(widths, cells, strict=True)]
        named = [text + space for text, space in zip(cells[:names], spaces, strict=False)]
        numbers = [space + text for text, space in zip(cells[names:], spaces[names:], strict=True)]
        yield " ".join([*named, *numbers]).rstrip()


def empty_table(headings: Sequence[str], names: int) -> Table:
    """A table without lines; what comes after the first `names` columns stands on the right."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for place, heading in enumerate(headings):
        table.add_column(heading, no_wrap=True, justify="left" if place < names else "right")
    return table


def plain_table(entries: list[dict[str, Any]]) -> Table:
    """A table of what the entries have in common; settings as name=value."""
    table = Table(*entries[0], box=SIMPLE)
    for entry in entries:
        table.add_row(*(Text(plain_text(value)) for value in entry.values()))
    return table


def plain_text(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={own}" for name, own in value.items())
    return yes_no(value) if value is None or isinstance(value, bool) else str(value)
