"""What the findings say of larger networks is what the kept rows say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.findings import (
    FINDINGS,
    ON_ONE_NETWORK,
    at_the_papers_sigma,
    kept_records,
    line_of,
    papers_columns,
    rows_of,
    signed,
)
from helpers.pages import DOCS

from leaderboards import board_results as board
from leaderboards.board import rows
from leaderboards.curves import row_records
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT
from leaderboards.rows import Row
from leaderboards.verdict import compared
from suite.statistics.bounds import Convention, certified_accuracy
from suite.store.read import read_spec
from suite.store.result import Result

LARGER = ("airbench", "lipschitz-medium")


def larger(store: Path) -> dict[str, Row]:
    """The rows of the larger networks, as their table calls them, by ACR."""
    found = [row for row in rows("cifar10", store) if row.arch in LARGER]
    found.sort(key=lambda row: -(row.metrics["acr"].value or 0))
    steps = {row.run_id: read_spec(PUBLISHED / KEPT / row.run_id).parameters.get("timesteps", 1) for row in found}
    return {
        f"`{row.method}`" + (f", {steps[row.run_id]} timesteps" if steps[row.run_id] > 1 else ""): row for row in found
    }


def test_the_table_of_the_larger_networks_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = larger(tmp_path)
    lines = rows_of(FINDINGS, "passes a certificate", under="larger")
    assert [line["row"] for line in lines] == [*kept]
    for line in lines:
        own = line_of(kept[line["row"]]) | {"row": line["row"]}
        assert line == {column: own[column] for column in line}


def audited(row: Result) -> pd.DataFrame:
    """The audit's records of a row's certificates by image; `broken` says which did not hold."""
    found = kept_records(row, "audit").set_index("idx")
    found = found[found["radius"] > 0]
    return found.assign(broken=pd.to_numeric(found["distance"]) < found["radius"])


def test_the_audits_of_larger_networks_in_sentences_are_those_kept(tmp_path: Path) -> None:
    text = " ".join((DOCS / FINDINGS).read_text().split())
    everything = board("cifar10", tmp_path)
    kept = [row for row in everything if row.arch in LARGER]
    holds = {row.run_id: row.holds for row in rows("cifar10", tmp_path) if row.arch in LARGER}
    assert {row.run_id: not row.audit["certify"]["violations"] for row in kept} == holds
    bounds = {
        method: [row.audit["lbound"] for row in kept if row.method == method]
        for method in ("baseline", "heat", "madry", "madry-heat")
    }
    found = {method: {(own["violations"], own["attacked"]) for own in several} for method, several in bounds.items()}
    assert found == {"baseline": {(27, 50)}, "heat": {(0, 50)}, "madry": {(0, 50)}, "madry-heat": {(0, 50)}}
    assert "(none of 50 each is violated), and not for the `baseline` (27 of 50)" in text

    counts = np.zeros((2, 2), dtype=int)
    for method in bounds:
        [large] = [row for row in kept if row.method == method and "timesteps=3" not in row.command]
        [small] = [
            row for row in everything
            if (row.method, row.arch, row.sigma, row.deployed) == (method, "airbench-w32", 0.25, "pass")
            and row.metric("audit.certify.attacked")
        ]  # fmt: skip
        attacked = [set(kept_records(row, "audit")["idx"]) for row in (large, small)]
        for line, row in zip(counts, (large, small), strict=True):
            own = audited(row)
            line += own.loc[own.index.isin(attacked[0] & attacked[1]), "broken"].agg(["sum", "size"]).to_numpy()
    said = "{} of {} certificates of `baseline`, `madry`, `heat` and `madry-heat` are broken, and {} of {} on the small"
    assert said.format(*counts.ravel()) in text

    [large] = [row for row in everything if (row.arch, row.method) == ("resnet34", "baseline")]
    own = (f"{large.audit[name]['violations']} of {large.audit[name]['attacked']}" for name in ("certify", "lbound"))
    assert "were audited: {} are broken, and {} of its L-bounds.".format(*own) in text
    claims = (DOCS / "findings" / "claim-by-claim.md").read_text()
    assert "of larger ones 27 of 50 [at 0.25](findings.md#on-a-larger-network)" in claims
    assert f"and {large.audit['lbound']['violations']} of 50 at 0.1 ([ResNet-34]" in claims


def test_what_a_larger_network_changes_is_what_the_kept_rows_say(tmp_path: Path) -> None:
    kept = larger(tmp_path)
    small = {
        (row.method, row.deployed): row
        for row in rows("cifar10", tmp_path)
        if row.arch in ON_ONE_NETWORK and row.sigma in (None, 0.25) and not row.variant
    }
    for line in rows_of(FINDINGS, "A", under="larger"):
        a = kept[line["A"]]
        b = kept.get(line["B"]) or small[a.method, a.deployed]
        convention: Convention = "paper" if line["convention"] == "paper's" else "standard"
        verdict = compared(a, b, lambda row: row_records(row, tmp_path), convention).verdict
        known = {f"r = {at.radius:g}": at for at in verdict}
        for column in line.keys() - {"A", "B", "convention"}:
            at = known[column]
            d, low, high = (signed(100 * number, 1) for number in (at.difference, at.low, at.high))
            assert line[column] == f"{d} ({low} to {high}) " + (f"**{at.ahead}**" if at.ahead else "–")


def ahead(a: Row, b: Row, store: Path, convention: Convention = "standard") -> tuple[list[float], list[float]]:
    """The radii at which A is ahead, and B."""
    verdict = compared(a, b, lambda row: row_records(row, store), convention).verdict
    return tuple([at.radius for at in verdict if at.ahead == letter] for letter in "AB")  # type: ignore[return-value]


def test_who_is_ahead_on_a_larger_network_is_as_the_pages_say(tmp_path: Path) -> None:
    """The bullets below the tables, and the verdicts of the fourth claim in brackets."""
    kept = larger(tmp_path)
    heat, smoothed, adversarial = (kept[f"`{name}`"] for name in ("heat", "randomized-smoothing", "smoothadv"))
    assert ahead(heat, smoothed, tmp_path) == ([], [0.05, 0.1, 0.15, 0.2, 0.25])
    assert ahead(heat, smoothed, tmp_path, "paper") == ([], [])
    assert ahead(heat, adversarial, tmp_path) == ([0.05], [0.5, 0.75])
    assert ahead(heat, adversarial, tmp_path, "paper") == ([0.05, 0.1, 0.15, 0.2, 0.25], [0.75])
    steps = kept["`heat`, 3 timesteps"]
    assert ahead(steps, heat, tmp_path) == ([0.75], [])
    assert ahead(steps, smoothed, tmp_path) == ([], [0.05])
    small = {row.method: row for row in rows("cifar10", tmp_path) if row.arch == "lipschitz-small"}
    assert ahead(kept["`lipschitz`"], small["lipschitz"], tmp_path) == ([pytest.approx(36 / 255), 0.15], [])
    assert ahead(kept["`lipschitz-heat`"], small["lipschitz-heat"], tmp_path) == ([], [])


def test_the_rows_of_the_papers_network_are_those_kept(tmp_path: Path) -> None:
    own = {row.method: row for row in rows("cifar10", tmp_path) if (row.arch, row.source) == ("resnet34", "run")}
    lines = rows_of(FINDINGS, name := "row of ResNet-34")
    assert {line[name] for line in lines} == {f"`{method}`" for method in own}
    for line in lines:
        found = papers_columns(own[line[name].strip("`")])
        assert line == {name: line[name]} | {column: found[column] for column in line if column != name}
    verdict = compared(own["heat"], own["baseline"], lambda row: row_records(row, tmp_path)).verdict
    known = {at.radius: [f"{100 * number:.0f}" for number in (at.difference, at.low, at.high)] for at in verdict}
    said = (
        "{0} points more at r = 0.1, and {3} at 0.25, in Cohen et al.'s convention "
        "(intervals +{1} to +{2} and +{4} to +{5})"
    )
    text = " ".join((DOCS / FINDINGS).read_text().split())
    assert said.format(*known[0.1], *known[0.25]) in text
    large = {row.method: row for row in board("cifar10", tmp_path) if (row.arch, row.source) == ("resnet34", "run")}
    lost = [answered(rest["baseline"]) - answered(rest["heat"]) for rest in (large, at_the_papers_sigma(tmp_path))]
    assert "it loses {:.0f} points, where our recipe on the small network loses {:.0f}".format(*lost) in text


def answered(row: Result) -> float:
    """Certified accuracy at r = 0 in the paper's convention, %."""
    found = kept_records(row, "certify")
    return 100 * certified_accuracy(found["radius"], found["correct"], found["predict"] == -1, 0.0, "paper")
