"""How strongly radii bear out the n, α and σ that a log is said to have, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.logs import GIVEN, counted

from leaderboards.published import entries
from leaderboards.published.log import Log, evidence, fits, rounding
from leaderboards.published.store import import_logs
from suite.cli.boards import probability
from suite.errors import UserError
from suite.statistics.bounds import (
    certified_radius,
    largest_radius,
)

ROOT = Path(__file__).parents[1]
BOARDS = ("cifar10", "cifar100", "fashion-mnist", "imagenet", "mnist")


def chance(*printed: str, n: int) -> float:
    return evidence(Log(Path(), pd.DataFrame({"radius": printed}), "", ""), n, 0.001, 0.25)


@pytest.mark.parametrize("middle", [0.2, 0.4, 0.5, 0.6, 0.7, 0.8])
def test_the_chance_of_a_radius_is_the_share_of_the_numbers_there_that_a_count_gives(middle: float) -> None:
    """All 200 numbers of four digits around it are tried one after another, and so is each count's radius."""
    every = certified_radius(np.arange(5_000, 10_001), 10_000, 0.001, 0.25)
    given = {f"{r:.4f}" for r in every}
    share = np.mean([f"{middle + i / 10_000:.4f}" in given for i in range(-100, 100)])
    assert 10 ** chance(f"{middle + 0.0001:.4f}", n=10_000) == pytest.approx(share, abs=1.5 / 200)


def test_arbitrary_radii_are_taken_as_often_as_is_said() -> None:
    """Four radii of each of 10,000 logs, drawn near their places between radii of counts."""
    n = 10_000
    places = certified_radius([9_000, 9_500, 9_600, 9_700], n, 0.001, 0.25)
    drawn = places + np.random.default_rng(0).uniform(-0.005, 0.005, (10_000, 4))
    texts = [f"{r:.4f}" for r in drawn.ravel()]
    taken = fits(np.array(texts, float), rounding(texts), n, 0.001, 0.25).reshape(drawn.shape).all(axis=1)
    said = chance(*(f"{r:.4f}" for r in places), n=n)
    assert said < -1
    assert np.log10(taken.mean()) == pytest.approx(said, abs=0.08)


def test_what_is_said_of_the_radii_that_come_with_the_suite() -> None:
    """In the documentation: 88 % of arbitrary radii fit; all of a log's at once hardly ever; 3.92σ needs α = 0.01."""
    arbitrary = np.random.default_rng(0).uniform(0.02 * 0.25, largest_radius(100_000, 0.001, 0.25), 20_000)
    texts = [f"{r:.3}" for r in arbitrary]
    fitting = fits(np.array(texts, float), rounding(texts), 100_000, 0.001, 0.25).mean()
    known = [entry for board in BOARDS for entry in entries(board).values()]
    assert all(("arbitrary ones fit" in entry.note) == (entry.chance > -3) for entry in known)
    where = ("locuslab/smoothing", "ImageNet", 0.5, 0.5)
    [cohen] = [own for own in known if (own.repository, own.data, own.sigma, own.trained_sigma) == where]
    pages = ("docs/findings/findings.md", "docs/how-to/adding-a-board.md")
    findings, boards = (" ".join((ROOT / name).read_text().split()) for name in pages)
    weak = sum(entry.chance > -3 for entry in known)
    for text in (findings, boards):
        assert f"{100 * fitting:.0f} % " in text
        assert f"{weak} of the {len(known)}" in text
    assert f"{10**cohen.chance:.4f} for Cohen et al.'s ImageNet log at σ = 0.5" in findings
    assert f"below {probability(min(entry.chance for entry in known)).removeprefix('< ')}" in boards
    whole = [entry.chance for entry in known if entry.data == "CIFAR-10" and entry.images == 10_000]
    assert max(whole) < -6
    assert "below 1e-6 for each CIFAR-10 log of 10,000 images" in findings
    largest = largest_radius(100_000, 0.001, 1)
    assert f"its largest radius, {cohen.largest / 0.5:.2f}σ, where {largest:.2f}σ is" in findings


def test_repeated_radii_and_abstentions_are_no_evidence() -> None:
    one = chance("0.953", n=100_000)
    assert chance("0.953", "0.900", n=100_000) < one < -0.5
    assert chance("0.953", "0.953", "0.0", "0.953", n=100_000) == one
    assert chance("0.0", "0.0", n=100_000) == 0
    assert chance("0.100", "0.0", n=100_000) == 0  # every number of three digits is some count's there
    assert chance("0.1000000000000000", n=100_000) < -1  # and few of sixteen


def test_a_log_whose_radii_are_no_check_says_so(tmp_path: Path) -> None:
    given = GIVEN | {"n": 100_000}
    coarse = counted(tmp_path / "coarse.tsv", [60_000, 80_000, 90_000], n=100_000)
    [row] = import_logs([coarse], "cifar10", tmp_path, **given)
    assert row["chance"] > -3
    assert row["note"].endswith("radii too coarse to check n, α and σ: arbitrary ones fit with probability 1")
    fine = counted(tmp_path / "fine.tsv", list(range(99_900, 99_999)), n=100_000)
    [row] = import_logs([fine], "cifar10", tmp_path, **given)
    assert row["chance"] < -10
    assert "coarse" not in row["note"]


@pytest.mark.parametrize(("claimed", "true"), [(0.001, 0.01), (0.01, 0.001), (0.001, 0.05)])
def test_a_wrong_level_is_refused_and_the_right_one_named(tmp_path: Path, claimed: float, true: float) -> None:
    path = counted(tmp_path / "log.tsv", [1_000, 999, 998, 900], alpha=true)
    with pytest.raises(UserError) as error:
        import_logs([path], "cifar10", tmp_path, **GIVEN | {"alpha": claimed})
    assert f"line 2: radius {largest_radius(1_000, true, 0.25):.3} is" in str(error.value)
    assert ("above" in str(error.value)) == (claimed < true)
    assert f"alpha = {true:g} fits every radius" in str(error.value)
    assert import_logs([path], "cifar10", tmp_path, **GIVEN | {"alpha": true})[0]["new"]


def test_a_wrong_sigma_or_n_is_refused(tmp_path: Path) -> None:
    path = counted(tmp_path / "log.tsv", [1_000, 999, 998, 900])
    for wrong in ({"sigma": 0.12}, {"n": 500}, {"sigma": 0.3}):
        with pytest.raises(UserError, match="check n, sigma and alpha"):
            import_logs([path], "cifar10", tmp_path, **GIVEN | wrong)
