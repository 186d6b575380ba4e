"""Results as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from leaderboards.render.cells import claims, legend, notes, percent, references, shown_groups
from suite.statistics.bounds import largest_radius
from suite.statistics.intervals import proportion_interval


def result_table(result: dict[str, Any]) -> Table:
    """A run's row, one figure a line, with 95 % intervals for a finite test set."""
    total = result.get("images", 0)

    def share(value: float) -> str:
        low, high = proportion_interval(value * total, total)
        return f"{percent(value)} %  ({percent(low)} – {percent(high)})"

    table = Table(box=SIMPLE, show_header=False, title=result["run_id"], title_justify="left")
    table.add_row("method", f"{result['method']}, {result['arch']}, deployed as {result['inference']}")
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
    for line in measured(result):
        table.add_row(*line)
    return table


def measured(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """One line for each figure of the protocols beside accuracy and certify."""

    def number(value: float | None, form: str = ".4f") -> str:
        return "–" if value is None else format(value, form)

    def interval(share: dict[str, float] | None) -> str:
        return (
            "–"
            if share is None
            else f"{percent(share['share'])} %  ({percent(share['low'])} – {percent(share['high'])})"
        )

    if bound := result.get("lbound"):
        radii = {"L-bound": bound, "L-bound, probit form": bound.get("probit"), "certified average": bound.get("soft")}
        for said, radius in radii.items():
            if radius and radius["mean"] is not None:
                yield f"{said}, mean / median", f"{number(radius['mean'])} / {number(radius['median'])}"
        error = result["averaging"]
        yield "averaging error", f"{number(error['distance'])}  ({number(error['low'])} – {number(error['high'])})"
        yield "answers as the average does", interval(error["agreement"])
    if attack := result.get("attack"):
        for name, said in (("best", "nearest found"), ("pgd", "the paper's PGD"), ("ddn", "the paper's DDN")):
            if name in attack:  # runs of an earlier version have no best
                found = f"{attack[name]['found']} of {attack['attacked']} images"
                yield f"adversarial distance, median, {said}", f"{number(attack[name]['median'])}, found for {found}"
    if timing := result.get("timing"):
        yield (
            "seconds an image, one pass",
            f"{number(timing['pass']['full'], '.2e')}, alone {number(timing['pass']['1'], '.2e')}",
        )
        yield (
            "seconds an image, a vote",
            f"{number(timing['vote']['full'], '.2e')}, alone {number(timing['vote']['1'], '.2e')}",
        )
    if agreement := result.get("agreement"):
        yield "pass = its own vote, where right", interval(agreement["own_given_correct"])
        if agreement["stochastic_given_correct"]:
            yield "pass = the stochastic vote", interval(agreement["stochastic_given_correct"])
    for name, audit in result.get("audit", {}).items():
        if audit["attacked"]:
            violated = f"{audit['violations']} of {audit['attacked']} radii (at most {percent(audit['rate_upper'])} %)"
            yield (
                f"audit of {name}",
                f"violated: {violated}; nearest finding at {number(audit['smallest_ratio'], '.2f')} R",
            )


def leaderboard_tables(frame: pd.DataFrame, paper_convention: bool) -> Iterator[Table | Text]:
    """One table for each group of comparable rows, then what the columns and the claims say."""
    headings: set[str] = set()
    for group in shown_groups(frame):
        yield Text(group.title, style="bold")
        table = Table(box=None, padding=(0, 1, 0, 0))
        for number, heading in enumerate(group.headings):
            table.add_column(heading, no_wrap=True, justify="left" if number < group.names else "right")
        for cells in group.lines:
            table.add_row(*(Text(text) for text, _ in cells))
        yield table
        yield Text()
        headings |= set(group.headings)
    yield from map(Text, legend(frame, headings, paper_convention))
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
