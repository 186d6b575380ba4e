"""Which of two rows certifies more: known answers, over seeds, and without records."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from helpers.intervals import paired_interval

from leaderboards.compare import Pair, difference, differing, outcomes, paired
from leaderboards.rows import Row, board_rows
from leaderboards.verdict import At, paired_verdict, radii_of_both, sentence, unpaired_verdict
from suite.store.result import Result


def records(radius: list[float], run: str = "", first: int = 0) -> pd.DataFrame:
    """Records of images whose answers are right; a radius of −1 is a wrong answer, of −2 an abstention."""
    frame = pd.DataFrame({"idx": range(first, first + len(radius)), "label": 3, "radius": radius})
    frame["predict"] = [-1 if r == -2 else 3 if r >= 0 else 4 for r in radius]
    frame["correct"] = [int(r >= 0) for r in radius]
    return frame.assign(run=run) if run else frame


def pair(a: list[float], b: list[float]) -> Pair:
    return paired(records(a), records(b))


def test_one_seed_has_the_paired_interval_at_the_level_of_all_radii() -> None:
    a, b = [0.5] * 30 + [-1.0] * 70, [0.5] * 10 + [-1.0] * 90
    [at] = paired_verdict(pair(a, b), [0.25])
    assert (at.low, at.high) == pytest.approx(paired_interval(20, 0, 100, 0.95))
    assert at.difference == pytest.approx(0.2)
    two = paired_verdict(pair(a, b), [0.25, 0.5])
    assert (two[0].low, two[0].high) == pytest.approx(paired_interval(20, 0, 100, 0.975))


def test_all_seeds_of_a_row_count() -> None:
    """A's seeds certify 20 and 40 of 100, B's one 10: 30 − 10 points."""
    seeds = pd.concat([records([0.5] * n + [-1.0] * (100 - n), run=f"seed{n}") for n in (20, 40)])
    both = paired(seeds, records([0.5] * 10 + [-1.0] * 90))
    assert both.a.shape == (2, 100)
    [at] = paired_verdict(both, [0.25])
    assert at.difference == pytest.approx(0.3 - 0.1)
    assert at.ahead == "A"
    counts = outcomes(both, 0.25).value_counts()
    assert counts.to_dict() == {"neither": 60, "only A": 30, "both": 10}  # half of A's seeds are enough
    assert difference(both, at=[0.25])["difference"].tolist() == pytest.approx([0.2])


def test_only_images_of_all_runs_are_compared() -> None:
    both = paired(records([0.5, 0.5, 0.5]), records([0.1, 0.1], first=2))
    assert both.images["idx"].tolist() == [2]
    assert (both.a.tolist(), both.b.tolist()) == ([[0.5]], [[0.1]])
    assert paired(records([0.5]), records([0.5], first=7)).images.empty


def test_the_papers_convention_leaves_abstentions_out() -> None:
    """R > r: of A's two images that count one, of B's three two."""
    both = pair([0.5, 0.25, -2.0], [0.5, 0.5, -1.0])
    assert paired_verdict(both, [0.25], "paper")[0].difference == pytest.approx(1 / 2 - 2 / 3)
    assert paired_verdict(pair([-2.0], [0.5]), [0.25], "paper") == []


def at(radius: float, low: float, high: float) -> At:
    return At(radius, (low + high) / 2, low, high)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (
            [at(0.1, 0.05, 0.15), at(0.2, 0.07, 0.17), at(0.4, 0.01, 0.05), at(0.5, -0.02, 0.02)],
            "A ahead up to r = 0.4, by 12.0 ± 5.0 points at 0.2; undecided beyond.",
        ),
        ([at(0.1, -0.05, 0.15), at(0.2, -0.3, -0.1)], "Undecided up to r = 0.1; "
            "B ahead at r = 0.2, by 20.0 ± 10.0 points."),
        ([at(0.1, 0.1, 0.3)], "A ahead at every radius up to 0.1, by 20.0 ± 10.0 points."),
        (
            [at(0.1, 0.1, 0.3), at(0.2, -0.1, 0.1), at(0.3, -0.3, -0.1)],
            "A ahead up to r = 0.1, by 20.0 ± 10.0 points; undecided at 0.2; "
            "B ahead at r = 0.3, by 20.0 ± 10.0 points.",
        ),
        (
            [at(0.1, -0.1, 0.3), at(0.2, -0.1, 0.1)],
            "Undecided at every radius: the largest difference, 10.0 ± 20.0 points at r = 0.1, is within noise.",
        ),
        ([], "Undecided: there is no radius at which both rows are known with an interval."),
    ],
)  # fmt: skip
def test_a_verdict_is_a_sentence(verdict: list[At], said: str) -> None:
    assert sentence(verdict) == said


def row(share: float, images: int = 100) -> Row:
    """A row of which figures alone are known."""
    terms = {"sigma": 0.25, "n0": 100, "n": 1000, "alpha": 0.001, "kind": "vote", "top": 1, "every": 1}
    curve = {"0.25": share, "0.5": 0.0, "1.0": None}
    result = Result(
        run_id=f"r{share}", method="m", dataset="digits", images=images, abstained=0.0, certified_accuracy=curve,
        certified_accuracy_paper=curve, source="published", **terms,
    )  # fmt: skip
    return board_rows([result], (0.25, 0.5, 1.0))[0]


def test_without_records_the_intervals_of_both_add_up() -> None:
    a, b = row(0.5), row(0.2)
    assert radii_of_both(a, b) == [0.25]  # at 0.5 neither certifies, at 1 nothing is known
    [found] = unpaired_verdict(a, b, [0.25])
    halves = [
        (high - low) / 2
        for low, high in (own.curves["certified_accuracy"]["0.25"].interval or (0, 0) for own in (a, b))
    ]
    assert found.difference == pytest.approx(0.3)
    assert found.high - found.difference == pytest.approx(np.hypot(*halves))
    assert found.ahead == "A"
    assert unpaired_verdict(row(0.5), row(0.45), [0.25])[0].ahead == ""


def test_only_settings_that_differ_are_named() -> None:
    a = {"sigma": 0.25, "training": {"lr": 0.1, "epochs": 2}, "arch": "cnn"}
    b = {"sigma": 0.25, "training": {"lr": 0.2, "epochs": 2}, "n": 100}
    assert differing(a, b).to_numpy().tolist() == [
        ["arch", "cnn", "–"], ["training.lr", "0.1", "0.2"], ["n", "–", "100"],
    ]  # fmt: skip
    assert differing(a, a).empty
