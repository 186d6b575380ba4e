"""Two rows on the same images: known counts, and the paired interval's level, exactly."""

from __future__ import annotations

from math import comb

import numpy as np
import pandas as pd
import pytest
from helpers.intervals import paired_interval
from helpers.shared import SHARED

from leaderboards.compare import decided_by_all, difference, outcomes, paired, same_images
from leaderboards.curves import curve
from leaderboards.published.fetch import fetch_log, published_records
from suite.statistics.bounds import certified_accuracy
from suite.store.result import Result

LOGS = SHARED / "data" / "published"


def row(*lines: tuple[int, int, float, int, int]) -> pd.DataFrame:
    return pd.DataFrame(lines, columns=["idx", "label", "radius", "predict", "correct"])


A = row((0, 3, 0.5, 3, 1), (1, 4, 0.2, 4, 1), (2, 5, 0.4, 9, 0), (3, 6, 0.0, -1, 0), (7, 1, 0.3, 1, 1))
B = row((0, 3, 0.3, 3, 1), (1, 4, 0.6, 4, 1), (2, 5, 0.1, 5, 1), (3, 6, 0.2, 6, 1), (8, 1, 0.3, 1, 1))


def test_outcomes_at_a_radius() -> None:
    shared = paired(A, B)
    assert shared.images["idx"].tolist() == [0, 1, 2, 3]
    assert outcomes(shared, 0.0).tolist() == ["both", "both", "only B", "only B"]
    assert outcomes(shared, 0.3).tolist() == ["both", "only B", "neither", "neither"]
    assert outcomes(shared, 0.4).tolist() == ["only A", "only B", "neither", "neither"]
    assert outcomes(shared, 0.3, "paper").to_dict() == {
        0: "only A",
        1: "only B",
        2: "neither",
    }  # R > r; A abstains on 3


def test_an_image_of_another_label_is_not_shared() -> None:
    other = B.assign(label=[3, 0, 5, 6, 1])
    assert paired(A, other).images["idx"].tolist() == [0, 2, 3]
    assert paired(A, B.assign(label=9)).images.empty
    assert difference(paired(A, B.assign(label=9))).empty


@pytest.mark.skipif(not LOGS.is_dir(), reason="the published logs do not lie beside this checkout (../shared)")
def test_the_difference_is_that_of_the_two_certified_accuracies_on_published_logs() -> None:
    names = {
        "randomized-smoothing-resnet110-sigma0.25-18867bca": "cohen2019/cifar10/resnet110_noise_0.25_sigma_0.25",
        "smoothadv-resnet110-sigma0.25-60adf6cc": "salman2019/cifar10/resnet110_PGD_2steps_8-multitrain_eps_255_noise_0.25_sigma_0.25",  # noqa: E501
    }  # fmt: skip
    for name, file in names.items():
        fetch_log(f"cifar10/{name}", source=LOGS / f"{file}.tsv")
    logs = [published_records(f"cifar10/{name}") for name in names]
    shared = paired(*logs)
    drawn = difference(shared, points=12)
    for line in drawn.to_dict("records"):
        a, b = (
            certified_accuracy(own["radius"], own["correct"], own["predict"] == -1, line["radius"])
            for own in (log[log["idx"].isin(shared.images["idx"])] for log in logs)
        )
        assert line["difference"] == pytest.approx(a - b, abs=1e-12)
        assert line["low"] <= line["difference"] <= line["high"]


def test_the_paired_interval_by_hand_and_its_level() -> None:
    # 9 and 3 of 100 discordant: p = 10/102 and 4/102, by hand
    centre, half = 6 / 102, 1.959964 * np.sqrt((14 / 102 - (6 / 102) ** 2) / 102)
    assert paired_interval(9, 3, 100) == pytest.approx((centre - half, centre + half), abs=1e-6)
    assert paired_interval(3, 9, 100) == pytest.approx((-centre - half, half - centre), abs=1e-6)
    assert paired_interval(0, 0, 100)[1] > 0.01  # no disagreement seen is not no disagreement
    for p_a, p_b, n in ((0.1, 0.05, 60), (0.02, 0.02, 60), (0.3, 0.1, 40)):
        cover = sum(
            comb(n, a) * comb(n - a, b) * p_a**a * p_b**b * (1 - p_a - p_b) ** (n - a - b)
            for a in range(n + 1)
            for b in range(n + 1 - a)
            if paired_interval(a, b, n)[0] <= p_a - p_b <= paired_interval(a, b, n)[1]
        )
        assert cover > 0.94


def test_a_radius_that_is_certified_counts_at_itself_but_not_by_the_papers_convention() -> None:
    """R ≥ r, and R > r: radii of 0.25 and 0.5, and an abstention, at 0, 0.25 and 0.5."""
    records = row((0, 3, 0.5, 3, 1), (1, 4, 0.25, 4, 1), (2, 5, 0.0, -1, 0), (3, 6, 0.5, 1, 0))
    assert curve(records, points=3, largest=0.5)["accuracy"].tolist() == [1 / 2, 1 / 2, 1 / 4]
    assert curve(records, "paper", points=3, largest=0.5)["accuracy"].tolist() == [2 / 3, 1 / 3, 0]
    both = paired(records, records)
    assert outcomes(both, 0.25).tolist() == ["both", "both", "neither", "neither"]
    assert outcomes(both, 0.25, "paper").to_dict() == {0: "both", 1: "neither", 3: "neither"}  # it abstains on 2


def test_what_may_not_be_the_same_pixels_is_said() -> None:
    jpeg, original = "CIFAR-10 (JPEG)", "CIFAR-10"
    assert same_images(jpeg, jpeg, ({"data": "aa"}, {"data": "aa"})) == ""
    assert same_images(original, original) == ""
    assert "aa and bb" in same_images(jpeg, jpeg, ({"data": "aa"}, {"data": "bb"}))
    assert "CIFAR-10 (JPEG) and CIFAR-10" in same_images(jpeg, original)
    assert "published" in same_images(original, original, ({"data": "aa"}, None))


def test_adaptive_records_are_compared_where_they_decided() -> None:
    """At σ = 0.1, n = 1,000 and α = 0.001 no radius above 0.246 can be certified."""
    fixed = Result(run_id="", method="", dataset="", n=1_000, alpha=0.001, sigma=0.1)
    adaptive = fixed.model_copy(update={"decided": [0.0, 0.05, 0.1]})
    finer = fixed.model_copy(update={"decided": [0.0, 0.1, 0.2], "sigma": 0.25})
    assert decided_by_all([fixed, fixed]) == []
    assert decided_by_all([fixed, adaptive]) == [0, 0.05, 0.1]
    assert decided_by_all([adaptive, finer]) == [0, 0.1]
    assert decided_by_all([adaptive, finer.model_copy(update={"decided": [0.0, 0.1, 0.3]})]) == [0, 0.1, 0.3]
    assert curve(A, decided=adaptive.decided)["radius"].tolist() == [0, 0.05, 0.1]
    drawn = difference(paired(A, B), at=decided_by_all([adaptive, fixed]))
    assert drawn["radius"].tolist() == [0, 0.05, 0.1]
