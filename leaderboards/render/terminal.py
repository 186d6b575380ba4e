"""Results as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from leaderboards.render.cells import claims, deployment, legend, notes, percent, references, render_groups
from leaderboards.rows import number
from suite.protocols.protocol import Column, columns
from suite.statistics.bounds import largest_radius
from suite.statistics.intervals import proportion_interval


def result_table(result: dict[str, Any]) -> Table:
    """A run's row, one figure a line, with 95 % intervals for a finite test set."""
    total = result.get("images", 0)

    def share(value: float) -> str:
        low, high = proportion_interval(value * total, total)
        return f"{percent(value)} %  ({percent(low)} – {percent(high)})"

    table = Table(box=SIMPLE, show_header=False, title=result["run_id"], title_justify="left")
    table.add_row("method", f"{result['method']}, {result['arch']}, deployed as {deployment(result)}")
    if "single_pass_accuracy" in result:
        said = f"{percent(result['single_pass_accuracy'])} %  of {result['single_pass_images']} test images"
        table.add_row("accuracy, one clean pass", said)
    if total:
        table.add_row(
            "certified", f"{total} images, n = {result['n']}, α = {result['alpha']:g}, σ = {result['sigma']:g}"
        )
        largest = largest_radius(result["n"], result["alpha"], result["sigma"])
        for radius, value in result["certified_accuracy"].items():
            if float(radius) <= largest:
                table.add_row(f"certified accuracy at r = {radius}", share(value))
        table.add_row("largest radius that n draws allow", f"{largest:.4f}")
        table.add_row("average certified radius", f"{result['acr']:.4f}")
        table.add_row("abstained", share(result["abstained"]))
        if result["sampling"] == "adaptive":
            table.add_row("draws an image, mean", f"{result['draws']:.0f} of at most {result['n']}")
        table.add_row("the certificate says", Text(result["claim"]))
    for line in metric_lines(result):
        table.add_row(*line)
    return table


def metric_lines(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """A line for each metric of the protocols beside accuracy and certify."""
    for protocol, column in columns().values():
        value = number(result, column.path)
        if protocol in ("accuracy", "certify") or value is None:
            continue
        text = metric_text(value, column)
        if column.of:
            text += f" of {number(result, column.of):.0f}"
        bounds = [number(result, path) for path in column.interval or ()]
        if bounds and None not in bounds:
            text += f"  ({' – '.join(metric_text(bound or 0.0, column) for bound in bounds)})"
        yield column.title, text


def metric_text(value: float, column: Column) -> str:
    """A metric as it is printed, with the unit of a share."""
    if column.unit == "share":
        return f"{100 * value:{column.form}} %"
    return f"{int(value) if column.form == 'd' else value:{column.form}}"


def leaderboard_tables(frame: pd.DataFrame, paper_convention: bool) -> Iterator[Table | Text]:
    """One table for each group of comparable rows, then what the columns and the claims say."""
    metrics: dict[str, Column] = {}
    for group in render_groups(frame):
        yield Text(group.title, style="bold")
        table = Table(box=None, padding=(0, 1, 0, 0))
        for place, heading in enumerate(group.headings):
            table.add_column(heading, no_wrap=True, justify="left" if place < group.names else "right")
        for cells in group.lines:
            table.add_row(*(Text(text) for text, _ in cells))
        yield table
        yield Text()
        metrics |= group.metrics
    yield from map(Text, legend(frame, metrics, paper_convention))
    yield from (Text(line, style="dim") for line in (*claims(frame), *notes(references(frame))))


def plain_table(entries: list[dict[str, Any]]) -> Table:
    """A table of what the entries have in common; settings as name=value."""
    table = Table(*entries[0], box=SIMPLE)
    for entry in entries:
        cells = (
            " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            for value in entry.values()
        )
        table.add_row(*map(Text, cells))
    return table
