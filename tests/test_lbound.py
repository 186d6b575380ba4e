"""Theorem 3's bound and the averaging error, on models whose Gaussian average has a closed form."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.known import (
    Always,
    Plane,
    Smoothed,
    Step,
    digits_spec,
    examine,
    protocol,
    small_images,
    small_model,
    subject,
)
from scipy import stats
from torch import Tensor

from leaderboards.rows import by_radius
from suite.store.result import Result, make_result

SIGMA = 0.25


@pytest.mark.slow
def test_the_bound_never_exceeds_the_distance_to_another_answer() -> None:
    t = 1.2 * torch.rand(4_000, generator=torch.Generator().manual_seed(1)) - 0.6  # up to 2.4 σ either side
    model = Smoothed(SIGMA)
    found = examine("lbound", subject(model, digits_spec(**{"lbound.draws": 2})), model.at(t))
    radius, distance = found["radius"].to_numpy(), t.abs().double().numpy()
    assert (radius <= distance + 1e-7).all()
    near = (distance < 0.1 * SIGMA) & (distance > 1e-3 * SIGMA)
    assert near.sum() > 50
    ratio = 1 - (distance / SIGMA) ** 2 / 6  # √(π/2)(2Φ(s) − 1) = s − s³/6 + …
    np.testing.assert_allclose(radius[near] / distance[near], ratio[near], rtol=1e-3)
    np.testing.assert_allclose(
        radius, SIGMA * math.sqrt(math.pi / 2) * (2 * stats.norm.cdf(distance / SIGMA) - 1), atol=1e-7
    )
    np.testing.assert_allclose(found["probit_radius"], distance, atol=1e-7)  # exact on a half-space
    assert found["soft_radius"].isna().all()
    assert found["predict"].tolist() == (t < 0).int().tolist()


class Slabs(Plane):
    """The average of the indicators of the three slabs that t = −0.1 and t = 0.15 divide, as probabilities."""

    def shares(self, t: np.ndarray) -> np.ndarray:
        low, high = stats.norm.cdf((-0.1 - t) / SIGMA), stats.norm.cdf((0.15 - t) / SIGMA)
        return np.stack((low, high - low, 1 - high), axis=-1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self.shares(self.distance(x).double().numpy())).log()


@pytest.mark.parametrize("k", [1, 2])
def test_the_bound_holds_for_the_set_of_k_leading_classes(k: int) -> None:
    model, t = Slabs(), torch.linspace(-0.5, 0.5, 500)
    spec = digits_spec(**{"lbound.draws": 2, "certify.top": k})
    found = examine("lbound", subject(model, spec), model.at(t))
    grid = np.linspace(-1, 1, 4_001)

    def leading(at: np.ndarray) -> np.ndarray:
        return np.sort(np.argsort(-model.shares(at), axis=1)[:, :k], axis=1)

    differs = (leading(t.double().numpy())[:, None] != leading(grid)).any(axis=2)
    distances = np.abs(t.numpy()[:, None] - grid)
    nearest = np.where(differs, distances, np.inf).min(axis=1)
    assert np.isfinite(nearest).all()
    assert (found["radius"] <= found["probit_radius"]).all()
    assert (found["probit_radius"] <= nearest + 1e-7).all()
    assert (found["radius"] / nearest).max() > 0.6
    assert (found["probit_radius"] / nearest).max() > {1: 0.8, 2: 0.9999}[k]  # k = 2: the outer slabs are half-spaces


def test_the_exact_average_is_within_the_sampling_noise() -> None:
    n, total = 200, 400
    model = Smoothed(SIGMA)
    t = torch.linspace(-SIGMA, SIGMA, total)
    spec = digits_spec("heat", **{"lbound.draws": n})
    found = examine("lbound", subject(model, spec, other=Step()), model.at(t))
    p = stats.norm.cdf(t.double().numpy() / SIGMA)
    np.testing.assert_allclose(found["noise"], np.sqrt(2 * p * (1 - p) / n), rtol=0.25)
    # (distance/noise)² is about χ²₁: its mean over the images is 1 ± 5 √(2/400)
    assert np.mean((found["distance"] / found["noise"]) ** 2) == pytest.approx(1, abs=5 * math.sqrt(2 / total))
    row = protocol("lbound").metrics(spec, found)["averaging"]
    assert row["noise"] == pytest.approx(math.sqrt(np.mean(2 * p * (1 - p) / n)), rel=0.02)
    assert row["low"] < row["distance"] < row["high"] < row["noise"]


def test_an_offset_is_measured_in_full_and_a_constant_has_none() -> None:
    images = small_images(5)
    heat = digits_spec("heat", **{"lbound.draws": 70})
    near = examine("lbound", subject(Always(0.7, 0.3), heat, other=Always(0.6, 0.4)), images)
    np.testing.assert_allclose(near["distance"], 0.1 * math.sqrt(2), rtol=1e-6)
    np.testing.assert_allclose(near["radius"], SIGMA * math.sqrt(math.pi / 2) * 0.4, rtol=1e-6)
    assert near["agrees"].tolist() == [1] * 5
    far = examine("lbound", subject(Always(0.7, 0.3), heat, other=Always(0.4, 0.6)), images)
    assert far["agrees"].tolist() == [0] * 5
    row = protocol("lbound").metrics(heat, far)["averaging"]
    assert row["distance"] == pytest.approx(0.3 * math.sqrt(2))
    assert (row["low"], row["high"]) == (None, None)  # five images are too few for an interval
    assert row["agreement"]["share"] == 0
    same = examine("lbound", subject(Always(0.7, 0.3), digits_spec(**{"lbound.draws": 70})), images)
    assert same["distance"].max() < 1e-12
    assert same["noise"].max() < 1e-12


def test_a_stochastic_row_is_bounded_by_its_average() -> None:
    n = 5_000
    model, t = Step(), torch.tensor([-0.2, -0.05, 0.1, 0.3])
    spec = digits_spec("randomized-smoothing", **{"lbound.draws": n})
    found = examine("lbound", subject(model, spec), model.at(t), [1, 1, 1, 0])
    p = stats.norm.cdf(t.double().numpy() / SIGMA)
    scale = SIGMA * math.sqrt(math.pi / 2)
    error = scale * 2 * np.sqrt(p * (1 - p) / n)
    assert (np.abs(found["radius"] - scale * np.abs(2 * p - 1)) < 5 * error).all()
    assert found["predict"].tolist() == [1, 1, 0, 0]
    assert found["correct"].tolist() == [1, 1, 0, 1]
    np.testing.assert_allclose(found["distance"], math.sqrt(2) * np.minimum(p, 1 - p), atol=5 * math.sqrt(0.5 / n))
    assert (np.abs(found["probit_radius"] - np.abs(t.numpy())) < 5 * SIGMA * np.sqrt(2 * np.pi / n)).all()


def test_the_average_of_a_stochastic_row_is_certified_below_the_distance_to_another_answer() -> None:
    """α = 0.01, on images up to 0.3 from the plane: of those 60 the radius is 0 or too large for 3 at most."""
    model, t = Step(), torch.linspace(-0.3, 0.3, 60)
    spec = digits_spec("randomized-smoothing", **{"lbound.draws": 1_000, "certify.alpha": 0.01})
    strict = digits_spec("randomized-smoothing", **{"lbound.draws": 1_000, "certify.alpha": 1e-6})
    found, stricter = (examine("lbound", subject(model, own), model.at(t)) for own in (spec, strict))
    distance, radius = t.abs().double().numpy(), found["soft_radius"].to_numpy()
    assert ((radius > distance).sum(), (radius == 0).sum()) <= (3, 20)
    sure = distance > 0.15
    assert (radius[sure] > 0.6 * distance[sure]).all()
    assert (stricter["soft_radius"][sure] < radius[sure]).all()
    said = found["claim"][0]
    assert said.startswith("with probability 0.99 per image, no perturbation of a smaller ℓ2 norm than soft_radius")
    assert "of the vote that this row deploys none of them says anything" in said
    assert "assumption" in examine("lbound", subject(model, digits_spec()), model.at(t[:1]))["claim"][0]


def test_a_certificate_of_other_classes_than_the_answer_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model, t = Step(), torch.tensor([0.2])
    spec = digits_spec("randomized-smoothing", **{"lbound.draws": 50})
    for chosen, radius in (([0], 0.1), ([1], 0.0)):
        monkeypatch.setattr("suite.smoothing.averages.soft_certificate", lambda *_, c=chosen: (0.1, c))
        assert examine("lbound", subject(model, spec), model.at(t))["soft_radius"].tolist() == [radius]


def test_it_makes_one_clean_pass_and_the_draws() -> None:
    v, f = Always(0.7, 0.3), Always(0.6, 0.4)
    spec = digits_spec("heat", **{"lbound.draws": 30})
    examine("lbound", subject(v, spec, other=f, batch_size=64), small_images(5))
    assert (v.sizes, f.sizes) == ([5], [64, 64, 22])
    spec = digits_spec("randomized-smoothing", **{"lbound.draws": 30, "lbound.images": 5})
    examine("lbound", subject(v, spec), small_images(5))
    assert sum(v.sizes) - 5 == protocol("lbound").passes(spec, 360) == 5 * 31


def test_the_batch_size_and_the_company_change_no_record() -> None:
    spec = digits_spec("heat", **{"lbound.draws": 70})
    images = small_images()

    def records(batch_size: int) -> pd.DataFrame:
        given = subject(small_model(), spec, other=small_model(1), batch_size=batch_size)
        return examine("lbound", given, images)

    whole = records(256)
    assert whole["distance"].min() > 1e-3
    for size in (1, 7):
        pd.testing.assert_frame_equal(records(size), whole, rtol=1e-5, atol=1e-7)
    given = subject(small_model(), spec, other=small_model(1))
    rest = pd.DataFrame(protocol("lbound").records(given, [(i, images[i], 0) for i in (5, 2)]))
    expected = whole.loc[[5, 2]].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, expected, rtol=1e-5, atol=1e-7)


def test_misclassified_images_are_left_out_of_the_radii() -> None:
    spec = digits_spec()
    found = pd.DataFrame({
        "idx": range(4), "radius": [0.1, 0.3, 0.9, 0.2], "correct": [1, 1, 0, 1],
        "probit_radius": [0.2, 0.5, 1.2, 0.3], "soft_radius": [0.15, None, 0.8, 0.25],
        "distance": [0.0, 0.1, 0.2, 0.3], "noise": [0.01] * 4, "agrees": [1, 1, 0, 1],
    })  # fmt: skip
    row = protocol("lbound").metrics(spec, found)
    bound = row["lbound"]
    assert [bound[name] for name in ("mean", "median", "max")] == pytest.approx([0.2, 0.2, 0.3])
    assert [bound["probit"][name] for name in ("mean", "median", "max")] == pytest.approx([1 / 3, 0.3, 0.5])
    assert bound["soft"] == pytest.approx({"mean": 0.2, "median": 0.2, "max": 0.25})
    assert (bound["images"], bound["misclassified"]) == (4, 1)
    assert row["averaging"]["distance"] == pytest.approx(0.15)
    none = protocol("lbound").metrics(spec, found.assign(correct=0))["lbound"]
    assert [none[name] for name in ("mean", "median", "max", "misclassified")] == [None, None, None, 4]
    assert {none["probit"]["median"], *none["soft"].values()} == {None}
    earlier = protocol("lbound").metrics(spec, found.drop(columns=["probit_radius", "soft_radius"]))["lbound"]
    assert (earlier["median"], earlier["probit"]["median"]) == (bound["median"], None)
    assert earlier["probit"]["certified_accuracy"] == {}


def test_the_share_of_all_images_that_are_correct_with_that_radius() -> None:
    """Five images, of which one is wrong, at the radii of the digits' board; R = r counts."""
    found = pd.DataFrame({
        "idx": range(5), "radius": [0.1, 0.3, 0.9, 0.2, 0.05], "correct": [1, 1, 0, 1, 1],
        "probit_radius": [0.2, 0.5, 1.2, 0.3, 0.6], "soft_radius": [None] * 5,
        "distance": [0.1] * 5, "noise": [0.01] * 5, "agrees": [1] * 5,
    })  # fmt: skip
    bound = protocol("lbound").metrics(digits_spec(), found)["lbound"]
    radii = ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    assert bound["certified_accuracy"] == dict(zip(radii, [3 / 5, 2 / 5, 1 / 5, 0, 0, 0], strict=True))
    expected = [4 / 5, 4 / 5, 3 / 5, 2 / 5, 2 / 5, 1 / 5]
    assert bound["probit"]["certified_accuracy"] == dict(zip(radii, expected, strict=True))
    result = Result.model_validate(make_result(digits_spec(), "digits", "Digits", {"lbound": found}))
    columns = {column.key: by_radius(result, column) for column in protocol("lbound").columns if column.by_radius}
    assert [columns["lbound_accuracy"]["0.1"], columns["probit_accuracy"]["0.1"]] == [3 / 5, 4 / 5]
