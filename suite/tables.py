"""Results as people read them in a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from leaderboards import groups
from suite.statistics import largest_radius, proportion_interval


def percent(share: float | None) -> str:
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f}"


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
        yield "L-bound, mean / median", f"{number(bound['mean'])} / {number(bound['median'])}"
        error = result["averaging"]
        yield "averaging error", f"{number(error['distance'])}  ({number(error['low'])} – {number(error['high'])})"
        yield "answers as the average does", interval(error["agreement"])
    if attack := result.get("attack"):
        for name in ("pgd", "ddn"):
            found = f"{attack[name]['found']} of {attack['attacked']} images"
            yield f"{name.upper()} distance, median", f"{number(attack[name]['median'])}, found for {found}"
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


# columns of a board's table that stand there if any row has them: heading, column, how it is printed
MEASURED = (
    ("PGD", "pgd", ".2f"), ("DDN", "ddn", ".2f"), ("s/image", "seconds_per_image", ".1e"),
    ("avg.err.", "averaging", ".3f"), ("draws", "draws", ".0f"), ("audit", "audited", ""),
)  # fmt: skip
LEGEND = {
    "PGD": "PGD, DDN: median ℓ2 distance of the adversarial examples found",
    "s/image": "s/image: seconds to classify an image as the row is deployed, in full batches",
    "avg.err.": "avg.err.: mean ℓ2 distance of the single pass from the Gaussian average, as probabilities",
    "draws": "draws: made per certificate, mean",
    "audit": "audit: certificates violated of those attacked, on what the row deploys",
}


def leaderboard_tables(frame: pd.DataFrame, paper_convention: bool) -> Iterator[Table | Text]:
    """One table for each group of comparable rows, then what the columns and the claims say."""
    others = frame[frame["source"] != "run"]
    references = others[["variant", "note", "citation"]].drop_duplicates().apply(tuple, axis=1).tolist()
    shown: set[str] = set()
    for title, group in groups(frame):
        yield Text(title, style="bold")
        yield board_table(group, references, shown, adaptive="n ≤" in title)
        yield Text()
    said = "R > r, abstentions dropped (the paper's)" if paper_convention else "R ≥ r, abstentions wrong (Cohen's)"
    yield Text(f"0.1 and so on: % of images certified at that radius r; {said}")
    yield Text("clean: accuracy of what the row deploys; a pass on the whole test set, a vote on the certified images")
    if len(others):
        yield Text("clean –: a published log does not say what the images that were abstained on were taken for")
    if frame["seeds"].map(len).max() > 1:
        yield Text("seeds: figures are means over them; ACR ± is their standard deviation")
    yield from (Text(said) for heading, said in LEGEND.items() if heading in shown)
    for deployed, methods in frame.groupby("claim")["method"].unique().items():
        yield Text(f"{', '.join(methods)}: {deployed}", style="dim")
    for number, reference in enumerate(references, start=1):
        yield Text(f"[{number}] {'; '.join(filter(None, reference))}", style="dim")


def board_table(group: pd.DataFrame, references: list[tuple[str, ...]], shown: set[str], adaptive: bool) -> Table:
    """The table of a group; the headings of the measured columns that it has are added to `shown`."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    radii = [column for column in map(str, group) if column.startswith("r=")]
    measured = [m for m in MEASURED if group[m[1]].notna().any() and (m[1] != "draws" or adaptive)]
    shown |= {heading for heading, _, _ in measured}
    names = ["#", "method", "arch"]
    names += ["seeds"] if any(seeds not in ([], [0]) for seeds in group["seeds"]) else []
    names += ["source"] if (group["source"] != "run").any() else []
    for name in names:
        table.add_column(name, no_wrap=True)
    for heading in ("clean", *radii, "ACR", "abst.", *(heading for heading, _, _ in measured)):
        table.add_column(heading.removeprefix("r="), justify="right", no_wrap=True)
    for _, row in group.iterrows():
        text = {"#": str(row["rank"]), "method": row["method"], "arch": row["arch"], "source": row["source"]}
        text["seeds"] = ",".join(map(str, row["seeds"])) or "–"
        if row["source"] != "run":
            text["source"] = f"[{references.index((row['variant'], row['note'], row['citation'])) + 1}]"
        deviation = row["spread"]["acr"]
        acr = decimals(row["acr"], ".4f") + (f" ± {deviation:.4f}" if deviation is not None else "")
        table.add_row(
            *(Text(text[name]) for name in names),
            *(percent(row[column]) for column in ("clean", *radii)),
            acr,
            percent(row["abstained"]),
            *(decimals(row[column], form) if column != "audited" else audited(row) for _, column, form in measured),
        )
    return table


def audited(row: Any) -> str:
    return "–" if pd.isna(row["audited"]) else f"{row['violations']}/{row['audited']}"


def decimals(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(value, form)


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
