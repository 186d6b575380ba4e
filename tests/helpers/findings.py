"""The rows that the page of findings is about, and its tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.pages import DOCS, tables
from leaderboards import board_results as board
from leaderboards.board import rows as board_rows
from leaderboards.paper.report import COMPARED, budget
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT, records_file
from leaderboards.rows import Row
from suite.store.read import read_spec
from suite.store.records import read_records
from suite.store.result import Result

FINDINGS = "findings/findings.md"
ON_ONE_NETWORK = ("airbench-w32", "lipschitz-small")


def rows_of(page: str, column: str, under: str = "") -> list[dict[str, str]]:
    [rows] = [rows for heading, rows in tables(DOCS / page) if column in rows[0] and under in heading]
    return rows


def seeds_at_the_papers_sigma(store: Path) -> dict[str, list[Result]]:
    """The seeds of each method's own recipe at σ = 0.1, on one network: the paper's methods first."""
    own = [row for row in board_rows("cifar10", store) if row.arch in ON_ONE_NETWORK and row.sigma == 0.1]
    own = [row for row in own if not row.variant]
    results = {result.run_id: result for result in board("cifar10", store)}
    order = [*COMPARED, *sorted({row.method for row in own} - {*COMPARED})]
    return {
        row.method: [results[run] for run in row.runs] for row in sorted(own, key=lambda row: order.index(row.method))
    }


def at_the_papers_sigma(store: Path) -> dict[str, Result]:
    """Of each method the first of `seeds_at_the_papers_sigma`, which went through every protocol."""
    return {method: seeds[0] for method, seeds in seeds_at_the_papers_sigma(store).items()}


def papers_columns(row: Row) -> dict[str, str]:
    """The clean accuracy, ACR and both conventions of a row, means over its seeds."""
    clean, abstained, acr = (row.metrics[name].value or 0 for name in ("clean_accuracy", "abstained", "acr"))
    found = {"seeds": str(len(row.seeds)), "clean": f"{100 * clean:.1f}", "abst. %": f"{100 * abstained:.1f}"}
    for convention, key in (("paper's", "certified_accuracy_paper"), ("Cohen et al.'s", "certified_accuracy")):
        curve = row.curves[key]
        found |= {f"{convention}, r = {r}": f"{100 * (curve[r].value or 0):.1f}" for r in ("0.1", "0.2", "0.25")}
    return found | {"ACR": f"{acr:.4f}"}


def called(method: str, run: str) -> str:
    start = read_spec(PUBLISHED / KEPT / run).start
    return f"`{method}`" + (f", started from `{start.method}`" if method == "average" and start else "")


def line_of(row: Row) -> dict[str, str]:
    """The line of the table of all methods that a row of the board has."""
    vote, audit = row.kind == "vote", row.metrics["audit"]
    certified = row.curves["certified_accuracy"]
    return {
        "row": called(row.method, row.run_id),
        "epochs": budget(read_spec(PUBLISHED / KEPT / row.run_id)),
        "certified": row.kind,
        "deployed": str(row.deployed),
        "holds": "yes" if row.holds else "no",
        "seeds": str(len(row.seeds)),
        "clean": f"{100 * (row.metrics['clean_accuracy'].value or 0):.1f}",
        **{f"r = {r}": f"{100 * (certified[r].value or 0):.1f}" for r in ("0.1", "0.25", "0.5", "0.75")},
        "ACR": f"{row.metrics['acr'].value:.3f}",
        "± over seeds": f"{row.metrics['acr'].spread:.3f}" if row.metrics["acr"].spread is not None else "–",
        "passes a certificate": f"{round(row.metrics['draws'].value or 0):,}" if vote else "1",
        "passes an answer": str(row.n0) if row.deployed == "vote" else "1",
        "broken": f"{audit.value:.0f} of {audit.of:.0f}" if audit.of else "–",
    }


def signed(number: float, digits: int) -> str:
    return f"{number:+.{digits}f}".replace("-", "−")


def kept_records(row: Result, protocol: str) -> pd.DataFrame:
    return read_records(records_file(PUBLISHED / KEPT / row.run_id, protocol))


def clean_on_certified(row: Row) -> float:
    """The accuracy of a row's passes on the images that it certified, averaged over seeds."""
    shares = []
    for run in row.runs:
        folder = PUBLISHED / KEPT / run
        answers, certified = (read_records(records_file(folder, name)) for name in ("accuracy", "certify"))
        shares.append(answers.set_index("idx").loc[certified["idx"], "correct"].mean())
    return float(np.mean(shares))
