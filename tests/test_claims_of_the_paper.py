"""The page that goes through the paper's statements: its numbers are those of the kept rows, its verdicts follow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.findings import clean_on_certified
from helpers.pages import DOCS, tables

from leaderboards.board import rows
from leaderboards.compare import Pair, certified_shares
from leaderboards.curves import row_records
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT, records_file
from leaderboards.rows import Row
from leaderboards.verdict import compared
from suite.statistics.bounds import Convention
from suite.statistics.intervals import proportion_interval
from suite.store.records import read_records

PAGE = DOCS / "findings" / "claim-by-claim.md"
NETWORKS = {"airbench-w32", "lipschitz-small"}
CONVENTIONS: dict[str, Convention] = {"Cohen et al.'s": "standard", "paper's": "paper"}


def table_with(column: str, under: str = "") -> list[dict[str, str]]:
    [found] = [lines for heading, lines in tables(PAGE) if column in lines[0] and under in heading]
    return found


def ahead(line: dict[str, str], letter: str) -> list[str]:
    """The radii at which A, or B, is ahead in a line of a table of differences."""
    return [name.removeprefix("r = ") for name, cell in line.items() if cell.endswith(f"**{letter}**")]


def rows_at(sigma: float, store: Path) -> dict[str, Row]:
    """The rows of all methods on one network by their own recipes, by method and what is deployed."""
    found = [row for row in rows("cifar10", store) if row.arch in NETWORKS and row.sigma in (None, sigma)]
    found = [row for row in found if not row.variant]
    return {f"`{row.method}`, {row.deployed}": row for row in found}


def averages(store: Path) -> dict[str, Row]:
    """The rows of `average` at σ = 0.25, by the method of the model that they started from."""
    found = [row for row in rows("cifar10", store) if (row.method, row.sigma) == ("average", 0.25)]
    return {row.variant.partition("start.method=")[2] or "baseline": row for row in found}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Row]:
    return rows_at(0.25, tmp_path_factory.mktemp("empty"))


def signed(number: float) -> str:
    return f"{100 * number:+.1f}".replace("-", "−")


def check_difference(line: dict[str, str], kept: dict[str, Row], store: Path) -> None:
    """A line of a table of differences against what `suite compare` says of its rows."""
    a, b, convention = line["A"], line["B"], CONVENTIONS[line["convention"]]
    found = compared(kept[a], kept[b], lambda row: row_records(row, store), convention)
    assert found.pair is not None
    known = {f"r = {at.radius:g}": at for at in found.verdict}
    for column in (column for column in line if column.startswith("r = ")):
        own = known[column]
        ahead = f"**{own.ahead}**" if own.ahead else "–"
        assert line[column] == f"{signed(own.difference)} ({signed(own.low)} to {signed(own.high)}) {ahead}"
    if "each seed, r = 0.25" in line:
        seeds = [sorted(kept[name].seeds) for name in (a, b)]
        assert line["each seed, r = 0.25"] == (", ".join(by_seed(seeds, found.pair, convention)) or "one seed")


def by_seed(seeds: list[list[int]], pair: Pair, convention: Convention) -> Iterator[str]:
    """The difference at each seed that both rows have, where they have several."""
    own, other = (
        dict(zip(numbers, np.nanmean(shares, axis=1), strict=True))
        for numbers, shares in zip(seeds, certified_shares(pair, 0.25, convention), strict=True)
    )
    shared = sorted(own.keys() & other.keys())
    yield from (signed(own[seed] - other[seed]) for seed in shared if len(shared) > 1)


def test_differences_of_certified_accuracy_are_those_of_the_kept_rows(kept: dict[str, Row], tmp_path: Path) -> None:
    for line in table_with("A", "Certified accuracy"):
        check_difference(line, kept, tmp_path)
    at_the_papers = rows_at(0.1, tmp_path)
    for line in table_with("A", "At the paper's noise"):
        check_difference(line, at_the_papers, tmp_path)


def test_verdicts_on_the_radii_follow_from_the_differences() -> None:
    """Of `heat` against both stochastic methods, as the fourth statement has them."""
    found: dict[tuple[float, str, str], tuple[list[str], list[str]]] = {}
    for sigma, heading in ((0.25, "Certified accuracy"), (0.1, "At the paper's noise")):
        for line in table_with("A", heading):
            if line["A"] == "`heat`, pass":
                found[sigma, line["B"], line["convention"]] = ahead(line, "A"), ahead(line, "B")
    smoothed, adversarial = "`randomized-smoothing`, vote", "`smoothadv`, vote"
    assert found[0.1, smoothed, "paper's"] == found[0.1, smoothed, "Cohen et al.'s"] == ([], [])
    assert found[0.25, smoothed, "paper's"] == (["0.1", "0.15", "0.2", "0.25", "0.75"], [])
    assert found[0.25, smoothed, "Cohen et al.'s"] == ([], ["0.05", "0.1", "0.15", "0.2"])
    assert found[0.1, adversarial, "paper's"] == (["0.05", "0.1"], [])
    assert found[0.25, adversarial, "paper's"] == (["0.05", "0.1", "0.15", "0.2", "0.25"], ["0.5", "0.75"])
    assert found[0.1, adversarial, "Cohen et al.'s"] == (["0.05", "0.1"], [])
    assert found[0.25, adversarial, "Cohen et al.'s"] == ([], ["0.5", "0.75"])


def test_who_is_ahead_of_randomized_smoothing_at_the_papers_noise_is_as_the_findings_say() -> None:
    found = {
        line["A"].partition("`,")[0].strip("`"): (ahead(line, "A"), ahead(line, "B"))
        for line in table_with("A", "At the paper's noise")
        if not line["A"].startswith(("`heat`", "`madry-heat`"))
    }
    small, large = ["0.05", "0.1"], ["0.15", "0.2"]
    assert found == {
        "smoothadv": (["0.25"], small), "consistency": (["0.25"], small), "stability": ([], small),
        "macer": ([], [*small, *large, "0.25"]), "average": ([], [*small, *large]),
    }  # fmt: skip


def test_audits_are_those_of_the_kept_rows(kept: dict[str, Row], tmp_path: Path) -> None:
    lines = table_with("certificates broken")
    known = {name: row for name, row in kept.items() if row.method != "average"}
    known |= {f"`average`, started from `{start}`, pass": row for start, row in averages(tmp_path).items()}
    assert {line["row"] for line in lines} == {name for name, row in known.items() if row.metrics["audit"].of}
    for line in lines:
        audit = known[line["row"]].metrics["audit"]
        broken, attacked = round(audit.value or 0), round(audit.of or 0)
        low, high = (100 * bound for bound in proportion_interval(broken, attacked))
        assert line["certificates broken"] == f"{broken} of {attacked}"
        assert line["share, 95 %"] == f"{100 * broken / attacked:.0f} % ({low:.0f} to {high:.0f})"


def test_numbers_within_sentences_are_those_of_the_kept_rows(kept: dict[str, Row], tmp_path: Path) -> None:
    text = " ".join(PAGE.read_text().split())
    heat, vote, smoothed = (kept[name] for name in ("`heat`, pass", "`heat`, vote", "`randomized-smoothing`, vote"))
    own = [clean_on_certified(row) if row.deployed == "pass" else row.metrics["clean_accuracy"].value or 0
           for row in (heat, smoothed, vote)]  # fmt: skip
    clean = [f"{100 * share:.1f} %" for share in own]
    assert (
        "the pass of `heat` has {}, the vote of `randomized-smoothing` {}, and the vote of `heat` {}.".format(*clean)
        in text
    )
    draws = [round(row.metrics["draws"].value or 0) for row in (heat, smoothed)]
    assert "Certify draws {:,} passes for `heat` and {:,} for".format(*draws) in text
    assert f"abstains on {100 * (kept['`madry`, pass'].metrics['abstained'].value or 0):.1f} % of the images" in text
    average = averages(tmp_path)["baseline"]
    acr, errors = ([row.metrics[name].value for row in (average, heat)] for name in ("acr", "averaging_error"))
    assert "has a smaller ACR than `heat` ({:.3f} against {:.3f})".format(*acr) in text
    assert "nearer to the average of the same `baseline` ({:.3f} against {:.3f})".format(*errors) in text
    started = kept["`baseline`, pass"].metrics["averaging_error"].value
    said = "is {1:.3f}, that of the `baseline` it starts from {2:.3f}; direct regression on the average of the same"
    assert said.format(*errors, started) + f" `baseline` reaches {errors[0]:.3f}." in text
    found = read_records(records_file(PUBLISHED / KEPT / heat.run_id, "agreement"))
    same = found["predict"] == found["stochastic"]
    answered = 100 * same[found["stochastic"] != -1].mean()
    assert (
        f"vote on {answered:.1f} % of the images on which that answers, and on {100 * same.mean():.1f} % of all" in text
    )
    agreement = heat.metrics["agreement_own"]
    shares = [f"{100 * share:.1f}" for share in (agreement.value or 0, *(agreement.interval or ()))]
    assert "if {} % ({} to {}) is high".format(*shares) in text
