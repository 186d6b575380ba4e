"""Certify on classifiers whose truth is known, and its independence of how the work is cut up."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from suite import UserError, certify
from suite.networks.architectures import build
from suite.networks.folding import folded
from suite.protocols.protocol import Record
from suite.smoothing.batching import together
from suite.smoothing.certificates import certificates
from suite.smoothing.noise import BLOCK, draws, noisy
from suite.smoothing.voting import TIE, Voter, near_ties, top_classes
from suite.statistics.bounds import certified_radius, largest_radius


class Linear(nn.Module):
    """Two classes divided by a hyperplane through ½: its vote under noise is itself, its distances are known."""

    def __init__(self, dimension: int):
        super().__init__()
        self.w = nn.functional.normalize(torch.randn(dimension, generator=torch.Generator().manual_seed(0)), dim=0)

    def margin(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.w

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((self.margin(x), -self.margin(x)), dim=1)


@pytest.mark.slow
@pytest.mark.parametrize("deterministic", [False, True])
def test_no_more_certificates_exceed_the_true_distance_than_alpha_allows(deterministic: bool) -> None:
    alpha, total = 0.05, 5_000
    model = Linear(12)
    spread = torch.Generator().manual_seed(1)
    distance = 0.35 * torch.rand(total, generator=spread)  # up to 1.4 σ, below the largest radius of 100 draws
    images = (0.5 + distance[:, None] * model.w).view(total, 3, 2, 2)
    found = certify(
        model, images, torch.zeros(total), sigma=0.25, n0=20, n=100, alpha=alpha, deterministic=deterministic
    )
    too_large = int((found["radius"] > distance.numpy()).sum())
    # σΦ⁻¹(p) is exactly a linear classifier's distance, so α is nearly reached: bounds a little too large would show
    assert 0.4 * alpha * total < too_large <= stats.binom.ppf(0.999, total, alpha)


@pytest.mark.slow
def test_adaptive_certificates_hold_as_surely_and_take_fewer_draws() -> None:
    alpha, total, radii = 0.05, 500, [0.1, 0.2, 0.3]
    model = Linear(12)
    spread = torch.Generator().manual_seed(1)
    distance = 0.35 * torch.rand(total, generator=spread)
    images = (0.5 + distance[:, None] * model.w).view(total, 3, 2, 2)
    found = certify(
        model, images, torch.zeros(total), sigma=0.25, n=1_000, alpha=alpha, deterministic=True, radii=radii
    )
    too_large = int((found["radius"] > distance.numpy()).sum())
    assert too_large <= stats.binom.ppf(0.999, total, alpha)
    assert found["draws"].mean() < 750
    fixed = certify(model, images, torch.zeros(total), sigma=0.25, n=1_000, alpha=alpha, deterministic=True)
    for r in radii:
        assert abs((found["radius"] >= r).mean() - (fixed["radius"] >= r).mean()) < 0.04


def small_model() -> nn.Module:
    torch.manual_seed(0)
    return build("cnn", 10, (1, 8, 8), (0.5,), (0.3,)).eval()


def small_images(total: int = 6) -> Tensor:
    return torch.rand(total, 1, 8, 8, generator=torch.Generator().manual_seed(2))


def run(
    indices: list[int], batch_size: int, deterministic: bool = False, seed: int = 0, **settings: Any
) -> list[Record]:
    images = small_images()
    stream: Iterator[tuple[int, torch.Tensor, int]] = ((i, images[i], i) for i in indices)
    records = certificates(
        small_model(), stream, sigma=0.3, n0=70, n=200, alpha=0.01, seed=seed, top=1,
        deterministic=deterministic, batch_size=batch_size, **settings,
    )  # fmt: skip
    return [{key: value for key, value in record.items() if key != "time"} for record in records]


@pytest.mark.slow
@pytest.mark.parametrize("deterministic", [False, True])
def test_records_do_not_depend_on_batch_size_order_or_company(deterministic: bool) -> None:
    everything = run([0, 1, 2, 3, 4, 5], 256, deterministic)
    assert [record["idx"] for record in everything] == [0, 1, 2, 3, 4, 5]
    assert run([0, 1, 2, 3, 4, 5], 7, deterministic) == everything
    assert run([0, 1, 2, 3, 4, 5], 1, deterministic) == everything
    assert run([5, 3, 4], 100, deterministic) == [everything[5], everything[3], everything[4]]
    assert run([0], 256, deterministic, seed=1) != everything[:1]


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"radii": [0.1, 0.3]}, {"precision": "bf16"}])
def test_nor_do_adaptive_or_bf16_records(settings: dict[str, Any]) -> None:
    everything = sorted(run([0, 1, 2, 3, 4, 5], 256, **settings), key=lambda record: record["idx"])
    for size in (1, 7):
        assert sorted(run([5, 1, 0, 2, 4, 3], size, **settings), key=lambda record: record["idx"]) == everything


@pytest.mark.parametrize("batch_size", [3, 64, 1_000])
def test_near_ties_settled_together_give_the_votes_of_ties_settled_batch_by_batch(batch_size: int) -> None:
    images, model = small_images(), folded(small_model(), small_images()[0])
    settings = {"sigma": 0.3, "seed": 0, "purpose": "estimate"}
    found = sorted(run([0, 1, 2], batch_size, True, precision="bf16"), key=lambda record: record["idx"])
    for index in range(3):
        blocks = list(noisy(images[index], 200, index=index, **settings))  # type: ignore[arg-type]
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            assert len(near_ties(model(torch.cat(blocks)).float(), 1, TIE["bf16"])) > 20
        classes = [c for block in blocks for c in top_classes(model, block, precision="bf16").flatten().tolist()]
        assert found[index]["votes"] == {str(c): classes.count(c) for c in sorted(set(classes))}


class Doubtful(nn.Module):
    """Class 0 of images below ½, else 1: by a hair of those with an odd level. `asked` are the passes in fp32."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        pixel = x[:, 0, 0, 0]
        if not torch.is_autocast_enabled("cpu"):
            self.asked.append(pixel)
        gap = torch.where((100 * pixel).round() % 2 == 1, 0.01, 0.5) * (pixel - 0.495).sign()
        return torch.stack((1 - gap, 1 + gap, torch.zeros_like(gap)), dim=1)


def test_near_ties_of_many_batches_are_asked_again_in_full_batches() -> None:
    levels = [torch.randint(100, (size,)) for size in (90, 5, 40, 70)]

    def voter(blocks: Iterator[Tensor]) -> Voter[Counter[int]]:
        return (yield blocks)  # type: ignore[misc]

    model = Doubtful()
    voters = (voter(iter((own / 100).view(-1, 1, 1, 1).split(7))) for own in levels)
    found = [votes for votes, _ in together(voters, model, batch_size=16, precision="bf16")]
    expected = [Counter((own >= 50).long().tolist()) for own in levels]
    assert sorted(votes.items() for votes in found) == sorted(votes.items() for votes in expected)
    sizes = [len(asked) for asked in model.asked]
    assert sum(sizes) == sum(int((own % 2).sum()) for own in levels)
    assert set(sizes[:-2]) == {16}  # all but the last, before and after the last batch in bf16


def test_bf16_votes_are_nearly_those_of_fp32() -> None:
    for exact, coarse in zip(run([0, 1, 2], 64), run([0, 1, 2], 64, precision="bf16"), strict=True):
        assert abs(exact["count"] - coarse["count"]) <= 2


def test_folding_changes_no_answer_and_foreign_models_stay_whole() -> None:
    model, images = small_model(), small_images()
    with torch.no_grad():
        model.train()(images)  # statistics other than 0 and 1
    fast = folded(model.eval(), images[0])
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in fast.modules())
    torch.testing.assert_close(fast(images), model(images), rtol=1e-4, atol=1e-5)
    assert folded(untraceable := Always([0.0, 1.0]), images[0]) is untraceable


def test_idx_are_the_images_numbers_and_key_their_noise() -> None:
    """Every other image by its number has the records that it has among all of them; the rows are in that order."""

    def records(order: list[int], **idx: Any) -> pd.DataFrame:
        found = certify(small_model(), small_images()[order], torch.tensor(order), sigma=0.3, n0=20, n=100, **idx)
        return found.drop(columns="time")

    everything = records([0, 1, 2, 3, 4, 5])
    assert everything["idx"].tolist() == [0, 1, 2, 3, 4, 5]
    wanted = everything[everything["idx"] % 2 == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(records([0, 2, 4], idx=range(0, 6, 2)), wanted)
    pd.testing.assert_frame_equal(records([4, 0, 2], idx=torch.tensor([4, 0, 2])), wanted)
    assert records([0, 2, 4])["votes"].tolist()[1:] != wanted["votes"].tolist()[1:]


def test_a_folded_copy_that_is_another_function_is_not_used() -> None:
    """torch.fx folds both batch norms into the convolution that they share, one after the other."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.BatchNorm2d(2)

        def forward(self, x: Tensor) -> Tensor:
            return (self.one(self.conv(x)) + self.two(self.conv(x)).relu()).mean(dim=(2, 3))

    model, images = Shared(), small_images()
    with torch.no_grad():
        model.two.weight.fill_(3)
    assert not torch.allclose(fuse(model.eval())(images), model(images), atol=1e-2)
    assert folded(model, images[0]) is model


def test_a_record_holds_what_its_radius_is_computed_from() -> None:
    for record in run([0, 1, 2], 64):
        votes = record["votes"]
        assert sum(votes.values()) == record["n"] == 200
        assert record["count"] == votes.get(str(record["chosen"][0]), 0)
        radius = certified_radius(record["count"], record["n"], record["alpha"], record["sigma"])
        assert record["radius"] == radius
        assert record["predict"] == (record["chosen"][0] if radius > 0 else -1)


def test_votes_are_those_of_the_model_on_the_keyed_noise() -> None:
    """Counted again by a plain loop, one draw at a time."""
    image, model = small_images()[1], small_model()
    noise = torch.cat(list(draws(0, "estimate", 1, 200, like=image)))
    classes = [int(model(image[None] + 0.3 * draw[None]).argmax()) for draw in noise]
    assert run([1], 256)[0]["votes"] == {str(c): classes.count(c) for c in sorted(set(classes))}


def test_the_deterministic_variant_certifies_the_class_of_the_clean_pass() -> None:
    images, model = small_images(), small_model()
    for record in run([0, 1, 2], 256, deterministic=True):
        assert record["chosen"] == [int(model(images[record["idx"]][None]).argmax())]
        assert record["n0"] == 0


class Always(nn.Module):
    """Logits that do not depend on the image."""

    def __init__(self, logits: list[float]):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("radii", [None, [0.1]])
def test_an_abstention_is_not_correct_though_the_class_is_the_label(radii: list[float] | None) -> None:
    """On the boundary the draws divide evenly, and nothing can be certified of the class of the clean pass."""
    model, image = Linear(12), torch.full((1, 3, 2, 2), 0.5)
    found = certify(model, image, torch.zeros(1), sigma=0.25, n=200, deterministic=True, radii=radii).iloc[0]
    assert found["label"] in found["chosen"]
    assert (found["predict"], found["radius"], found["correct"]) == (-1, 0, 0)


def test_a_constant_classifier_gets_the_largest_radius() -> None:
    found = certify(Always([0.0, 2.0, 1.0]), small_images(2), torch.tensor([1, 0]), sigma=0.5, n=1_000)
    assert found["radius"].tolist() == [largest_radius(1_000, 0.001, 0.5)] * 2
    assert found["correct"].tolist() == [1, 0]


def test_the_top_k_rule_certifies_a_set() -> None:
    model = Linear(64)
    images = torch.full((1, 1, 8, 8), 0.5) + 0.01 * model.w.view(1, 1, 8, 8)  # on the boundary: votes split evenly

    class Three(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((model(x), torch.full((len(x), 1), -10.0)), dim=1)

    one = certify(Three(), images, torch.tensor([1]), sigma=0.5, n=500)
    two = certify(Three(), images, torch.tensor([1]), sigma=0.5, n=500, top=2)
    assert one["radius"].item() < 0.1
    assert two["radius"].item() == largest_radius(500, 0.001, 0.5)
    assert two["correct"].item() == 1
    with pytest.raises(UserError, match="top-3 rule"):
        certify(Three(), images, torch.tensor([1]), sigma=0.5, n=500, top=3)


def test_noise_is_standard_normal_distinct_and_keyed() -> None:
    like = torch.zeros(3, 8, 8)

    def sample(seed: int, purpose: str, image: int, n: int) -> Tensor:
        return torch.cat(list(draws(seed, purpose, image, n, like=like)))

    base = sample(0, "estimate", 5, 1_000)
    assert base.shape == (1_000, 3, 8, 8)
    assert stats.kstest(base.flatten().numpy(), "norm").pvalue > 1e-3
    assert torch.equal(base[: BLOCK + 3], sample(0, "estimate", 5, BLOCK + 3))
    others = [sample(1, "estimate", 5, 9), sample(0, "select", 5, 9), sample(0, "estimate", 6, 9), base[9:18]]
    for other in others:
        correlation = np.corrcoef(base[:9].flatten().numpy(), other.flatten().numpy())[0, 1]
        assert abs(correlation) < 0.12  # 5 standard errors at 1,728 numbers


def test_a_near_tie_is_settled_by_the_image_alone() -> None:
    class Company(nn.Module):
        """Rounding that depends on the batch: alone, class 1 leads by a hair; in company, class 0 does."""

        def forward(self, x: Tensor) -> Tensor:
            hair = 1e-7 if len(x) == 1 else -1e-7
            return torch.tensor([1.0, 1.0 + hair, 0.0]).expand(len(x), -1)

    assert top_classes(Company(), torch.zeros(4, 1, 2, 2)).flatten().tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n": 5}, "the smallest n that works is 10"),
        ({"noise": "guassian"}, "noise: .*'gaussian' or 'discrete'"),
        ({"precision": "bf17"}, "precision: .*'fp32' or 'bf16'"),
        ({"radii": [-1.0, 0.1]}, r"radii\.0: .*greater than 0"),
        ({"top": 0}, "top: "),
        ({"alpha": 1.5}, "alpha"),
        ({"sigma": 0.0}, "sigma"),
        ({"n0": 0}, "n0"),
        ({"sigma": 63.75}, "give 0.25"),
        ({"sigma": float("inf")}, "sigma: .*finite"),
        ({"n": 10**30}, "n: "),
        ({"batch_size": 10**9}, "batch_size"),
        ({"idx": [0, 1]}, "idx"),
        ({"idx": [-1]}, "idx"),
    ],
)
def test_settings_out_of_range(settings: dict[str, float], said: str) -> None:
    with pytest.raises(UserError, match=said):
        certify(Always([0.0, 1.0, 0.5]), small_images(1), torch.zeros(1), **{"sigma": 0.5, **settings})  # type: ignore[arg-type]


def test_radii_of_numpy_and_a_model_in_double_precision() -> None:
    model, images, labels = small_model(), small_images(3), torch.zeros(3)
    first, *others = (
        certify(model, images, labels, sigma=0.5, n=200, radii=radii)
        for radii in ([0.1, 0.2], np.array([0.1, 0.2]), torch.tensor([0.1, 0.2], dtype=torch.float64))
    )
    assert all(other.drop(columns="time").equals(first.drop(columns="time")) for other in others)
    found = certify(copy.deepcopy(model).double(), images.double(), labels, sigma=0.5, n=200)
    assert found["predict"].isin(range(-1, 10)).all()


def test_no_images_are_a_table_without_rows() -> None:
    whole = certify(small_model(), small_images(1), torch.zeros(1), sigma=0.5, n=50)
    assert list(certify(small_model(), small_images(0), torch.zeros(0), sigma=0.5, n=50)) == list(whole)


def test_images_that_were_normalised_are_refused() -> None:
    with pytest.raises(UserError, match=r"from -1 to 1: .* normalise inside of the network"):
        certify(small_model(), torch.linspace(-1, 1, 64).view(1, 1, 8, 8), torch.zeros(1), sigma=0.5, n=50)


def test_images_of_pixels_up_to_255_are_refused() -> None:
    model, images = small_model(), (255 * small_images(1)).round()
    with pytest.raises(UserError, match="divide by 255"):
        certify(model, images, torch.zeros(1), sigma=0.5, n=50)
    votes = [certify(model, x, torch.zeros(1), sigma=0.5, n=50)["votes"][0] for x in (images.byte(), images / 255)]
    assert votes[0] == votes[1]


def test_logits_that_are_not_finite_are_refused() -> None:
    with pytest.raises(UserError, match="not finite"):
        certify(Always([0.0, float("nan"), 1.0]), small_images(1), torch.zeros(1), sigma=0.5, n=100)
