"""Adversarial distances: against foolbox, against known ones, and eq. 9 against its formula.

foolbox's attacks ascend a cross-entropy. That of two logits, the label's and the smooth largest of the others, has the
direction of their difference, the margin: on such a model its attacks are ours.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import foolbox
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from helpers.known import digits_spec
from helpers.networks import Answers, Scaled, small_case, smooth_model
from helpers.planes import Planes, records
from helpers.shared import SHARED
from PIL import Image
from torch import Tensor, nn

from suite.attacks.ddn import ddn
from suite.attacks.fmn import fmn
from suite.attacks.pgd import first_success_pgd
from suite.attacks.target import Seen, Target, bisected, distances, keyed_noise
from suite.networks.architectures import build
from suite.networks.checkpoints import adopt
from suite.smoothing.noise import draws
from suite.spec.run_spec import RunSpec

STEPS, MAX_NORM = 20, 4.0


def attacked_images(total: int = 40) -> tuple[nn.Module, Tensor, Tensor]:
    """A smooth network, images on a grid of 256 levels to which it is surest of its answer, and the answers."""
    model = smooth_model().requires_grad_(False)
    levels = torch.randint(256, (50 * total, 3, 8, 8), generator=torch.Generator().manual_seed(5), dtype=torch.int64)
    x = levels.double() / 255
    leading = model(x).topk(2).values
    x = x[(leading[:, 0] - leading[:, 1]).topk(total).indices]
    return model, x, model(x).argmax(dim=1)


def public_resnet20(root: Path, total: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The public ResNet-20, and the first images of CIFAR-10 (JPEG) that it classifies correctly, with their labels."""
    model = (
        build("resnet20", 10, (3, 32, 32), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).eval().requires_grad_(False)
    )
    adopt(model, SHARED / "weights" / "resnet20-12fca82f.th")
    lines = next(pq.ParquetFile(root / "cifar10" / "test-00000-of-00001.parquet").iter_batches(2 * total)).to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(line["img"]["bytes"]))) for line in lines]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    y = torch.tensor([line["label"] for line in lines])
    right = model(x).argmax(dim=1) == y
    return model, x[right][:total], y[right][:total]


def single_pass(model: nn.Module, x: Tensor, y: Tensor, top: int = 1) -> tuple[Target, Seen]:
    target = target_of(model, y, x.new_zeros(len(x), 1, 1, 1, 1), top=top)
    return target, target.see(x, torch.arange(len(x)), "clean")


def target_of(model: nn.Module, y: Tensor, noise: Tensor, top: int = 1, batch_size: int = 256) -> Target:
    numbers = list(range(len(y)))
    return Target(model, y, noise, numbers, seed=3, purpose="attack", top=top, batch_size=batch_size)


def ball(x: Tensor, radius: float) -> Tensor:
    return torch.full((len(x),), radius, dtype=torch.float64)


# against foolbox


class LabelAndRival(nn.Module):
    """The logit of the label, and the smooth largest of the others, of images whose labels are known by their order."""

    def __init__(self, model: nn.Module, y: Tensor):
        super().__init__()
        self.model, self.y = model, y

    def forward(self, x: Tensor) -> Tensor:
        logits = self.model(x)
        return torch.stack([torch.stack((z[y], rival(z, y))) for z, y in zip(logits, self.y.tolist(), strict=True)])


def rival(z: Tensor, y: int, t: Tensor | None = None) -> Tensor:
    """T log Σ exp(z_j/T) over the classes j but y, T by default a tenth of the logits' standard deviation."""
    t = z.detach().std() / 10 if t is None else t
    return t * (torch.cat((z[:y], z[y + 1 :])) / t).logsumexp(dim=0)


def in_foolbox(model: nn.Module, y: Tensor) -> tuple[foolbox.PyTorchModel, foolbox.criteria.Misclassification]:
    wrapped = foolbox.PyTorchModel(LabelAndRival(model, y).eval(), bounds=(0, 1), device="cpu")
    return wrapped, foolbox.criteria.Misclassification(torch.zeros_like(y))


@pytest.mark.slow
def test_pgd_stops_where_foolbox_first_succeeds() -> None:
    model, x, y = attacked_images()
    x_adv, found = first_success_pgd(*arguments(model, x, y), epsilon=ball(x, MAX_NORM), steps=STEPS)
    (wrapped, criterion), first = in_foolbox(model, y), torch.full((len(x),), math.nan).double()
    for steps in range(1, STEPS + 1):
        attack = foolbox.attacks.L2ProjectedGradientDescentAttack(
            steps=steps, abs_stepsize=2 * MAX_NORM / STEPS, random_start=False
        )
        theirs = attack.run(wrapped, x, criterion, epsilon=MAX_NORM)
        new = first.isnan() & (model(theirs).argmax(dim=1) != y)
        first[new] = (theirs - x).flatten(1).norm(dim=1)[new]
    assert found.sum() > 30
    assert first[found].max() > 1.5 * first[found].min()
    assert torch.equal(found, ~first.isnan())
    assert distances(x_adv[found], x[found]) == pytest.approx(first[found].tolist(), rel=1e-9)


def arguments(model: nn.Module, x: Tensor, y: Tensor) -> tuple[Target, Tensor, Seen]:
    target, clean = single_pass(model, x, y)
    return target, x, clean


def foolbox_ddn(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    attack = foolbox.attacks.DDNAttack(init_epsilon=1.0, gamma=0.05, steps=STEPS)
    wrapped, criterion = in_foolbox(model, y)
    theirs = attack.run(wrapped, x, criterion)
    return (theirs - x).flatten(1).norm(dim=1)


def test_ddn_is_foolboxs() -> None:
    """Without the rounding to 256 levels, which foolbox leaves out."""
    model, x, y = attacked_images()
    x_adv, found = ddn(*arguments(model, x, y), epsilon=ball(x, 1.0), steps=STEPS)
    theirs = foolbox_ddn(model, x, y)
    assert torch.equal(found, theirs > 0)
    assert found.sum() > 30
    assert distances(x_adv, x) == pytest.approx(theirs.tolist(), rel=1e-6)  # its factors of ε are in float32


def test_ddn_gives_images_that_can_be_stored_at_hardly_another_distance() -> None:
    model, x, y = attacked_images()
    x_adv, found = ddn(*arguments(model, x, y), epsilon=ball(x, 1.0), steps=STEPS, levels=256)
    assert torch.allclose(x_adv * 255, (x_adv * 255).round(), atol=1e-9)
    ours, theirs = torch.tensor(distances(x_adv, x))[found], foolbox_ddn(model, x, y)
    assert float(ours.median()) == pytest.approx(float(theirs[theirs > 0].median()), rel=0.02)


# against known distances


def test_a_linear_classifiers_distance_is_found_by_ddn_and_bounded_by_pgd() -> None:
    known = [0.05, 0.12, 0.23, 0.37, 0.41]
    model = Planes()
    x = model.between(*known)
    given = arguments(model, x, torch.zeros(5, dtype=torch.int64))
    x_adv, found = ddn(*given, epsilon=ball(x, 1.0), steps=200)
    assert found.all()
    assert distances(x_adv, x) == pytest.approx(known, rel=0.03)
    assert all(d > r for d, r in zip(distances(x_adv, x), known, strict=True))
    x_adv, found = first_success_pgd(*given, epsilon=ball(x, 1.0), steps=STEPS)
    assert distances(x_adv, x) == pytest.approx([math.ceil(r / 0.1) * 0.1 for r in known], rel=1e-5)


def test_pgd_finds_nothing_outside_its_ball() -> None:
    model = Planes()
    x = model.between(0.3, 0.5)
    x_adv, found = first_success_pgd(
        *arguments(model, x, torch.zeros(2, dtype=torch.int64)), epsilon=ball(x, 0.4), steps=10
    )
    assert found.tolist() == [True, False]
    assert torch.equal(x_adv[1], x[1])
    assert distances(x_adv, x)[0] <= 0.4 * (1 + 1e-6)


def test_the_top_k_rule_asks_for_the_label_to_leave_the_k_leading_classes() -> None:
    model = Planes(classes=3)
    x, y = model.at(0.3, 0.0, -0.1)[None], torch.tensor([0])
    lengths = []
    for top in (1, 2):
        target, clean = single_pass(model, x, y, top)
        x_adv, found = ddn(target, x, clean, epsilon=ball(x, 1.0), steps=300)
        assert found.all()
        assert 0 not in model(x_adv).topk(top).indices[0]
        lengths += distances(x_adv, x)
    assert lengths[0] == pytest.approx(0.3 / math.sqrt(2), rel=0.03)  # where class 1 passes
    assert lengths[1] > np.linalg.norm(np.array([0.3, 0.0, -0.1]) - 0.2 / 3)  # where all three logits are their mean


@pytest.mark.parametrize("given", [[0.9], [2.0, 0.9]])
def test_halving_the_way_to_a_hit_ends_at_the_plane(given: list[float]) -> None:
    model = Planes()
    x = model.between(*(0.3 for _ in given))
    way = (model.at(-1 / 2**0.5, 1 / 2**0.5) - 0.5).expand_as(x)
    hits = x + torch.tensor(given).view(-1, 1, 1, 1) * way
    near = bisected(lambda points, rows: model(points).argmax(dim=1) == 1, x, hits, torch.ones(len(x)).bool())
    for length, whole in zip(distances(near, x), given, strict=True):
        assert 0.3 < length <= 0.3 + whole / 1024 + 1e-6
    assert model.passes == 10 * len(given)


@pytest.mark.parametrize("start", [0.0, 0.6])
def test_fmn_finds_a_linear_classifiers_distance_from_an_image_and_from_a_hit(start: float) -> None:
    known, model = [0.23, 0.37, 0.41], Planes()
    x = model.between(*known)
    target, _, _ = arguments(model, x, torch.zeros(3, dtype=torch.int64))
    begin = x + start * (model.at(-0.6, 0.8) - 0.5)
    hit = torch.full((3,), start > 0)
    x_adv, found = fmn(target, x, begin, hit, epsilon=ball(x, 0.6), steps=60)
    assert found.all()
    assert distances(x_adv, x) == pytest.approx(known, rel=0.01)
    assert all(d > r for d, r in zip(distances(x_adv, x), known, strict=True))


def test_the_best_distance_of_a_linear_classifier_is_its_own_where_the_papers_are_those_of_their_steps() -> None:
    known, model = [0.05, 0.12, 0.23, 0.37, 0.41], Planes()
    found = records("attack", model, digits_spec("baseline"), model.between(*known), [0] * 5)
    assert found["best"].to_numpy() == pytest.approx(known, rel=1e-3)
    assert set(found["search"]) <= {"pgd", "ddn", "fmn"}
    assert found["pgd"].to_numpy() == pytest.approx([0.4, 0.4, 0.4, 0.4, 0.8], rel=1e-5)
    assert found["ddn"].between(0.41, 0.45).all()


@pytest.mark.slow
def test_a_public_resnet20s_best_distances_are_near_those_of_other_libraries(cifar10: Path) -> None:
    """adversarial-library 0.2.8: FMN in 300 steps, DDN in 300 and 1,000, and ALMA in 1,000, the nearest of each image.

    `benchmarks/attack.py` makes the comparison on more images.
    """
    known = np.array([0.1035, 0.0274, 0.1022, 0.0410, 0.0736])
    model, x, y = public_resnet20(cifar10, len(known))
    spec = RunSpec(method="baseline", dataset="cifar10", profile="quick", arch="resnet20")
    found = records("attack", model, spec, x, y.tolist())
    assert found["best"].median() < 1.03 * np.median(known)
    assert found["best"].to_numpy() == pytest.approx(known, rel=0.06)
    assert found["pgd"].between(0.39, 0.41).all()  # its first step


# a scale of the logits


@pytest.mark.parametrize("factor", [1e-3, 50, 1000])
def test_distances_of_a_single_pass_do_not_depend_on_a_scale_of_the_logits(factor: float) -> None:
    model, spec, images, labels = small_case("baseline")
    whole = records("attack", model, spec, images, labels)
    assert whole["pgd"].notna().sum() >= 8
    ours = records("attack", Scaled(model, factor), spec, images, labels)
    pd.testing.assert_frame_equal(ours.drop(columns="search"), whole.drop(columns="search"), rtol=1e-3, atol=1e-5)


def test_the_direction_in_which_a_vote_is_attacked_does_not_depend_on_a_scale_of_the_logits() -> None:
    """The answer does: averaged softmax outputs become shares of votes."""
    model, x = smooth_model().requires_grad_(False), torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    seen = [
        noisy_target(Scaled(model, factor), x.double(), torch.tensor([1, 4, 2]), 7).see(
            x.double(), torch.arange(3), "a"
        )
        for factor in (1, 1000)
    ]
    assert torch.allclose(seen[0].direction, seen[1].direction, atol=1e-9)
    model, spec, images, labels = small_case("randomized-smoothing")
    found = records("attack", Scaled(model, 1000), spec, images, labels)
    assert found.loc[found["correct"] == 1, ["pgd", "ddn", "best"]].notna().all(axis=None)


def test_a_gradient_of_0_is_replaced_by_a_random_direction_of_the_image_and_the_look() -> None:
    model = Answers()
    x, y = model.between(0.1, 0.1, 0.1), torch.zeros(3, dtype=torch.int64)
    target, _ = single_pass(model, x, y)
    whole, other = (target.see(x, torch.arange(3), look).direction for look in ("pgd 1", "pgd 2"))
    assert whole.flatten(1).norm(dim=1).tolist() == pytest.approx([1, 1, 1])
    both = torch.cat((whole, other)).flatten(1)
    assert (both @ both.T - torch.eye(6)).abs().max() < 0.99
    alone = target.see(x[1:2], torch.tensor([1]), "pgd 1").direction
    assert torch.equal(alone[0], whole[1])
    assert torch.equal(target.see(x, torch.arange(3)).direction, torch.zeros_like(whole))


# stochastic rows: eq. 9


def noisy_target(model: nn.Module, x: Tensor, y: Tensor, m: int, batch_size: int = 256) -> Target:
    noise = keyed_noise(x, list(range(len(x))), m, sigma=0.2, seed=3, purpose="attack")
    return target_of(model, y, noise, batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [256, 5])
def test_the_step_of_a_stochastic_row_is_eq_9(batch_size: int) -> None:
    """The gradient of Σᵢ M(f(x + ηᵢ), y) by central differences in float64, over draws made one by one."""
    model, (m, eps) = smooth_model().requires_grad_(False), (7, 1e-5)
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([1, 4])
    seen = noisy_target(model, x, y, m, batch_size).see(x, torch.arange(2), "here")
    eta = [0.2 * torch.cat(list(draws(3, "attack", i, m, like=x[i]))) for i in range(2)]

    fixed = [model(x[i] + eta[i]).std(dim=1) / 10 for i in range(2)]  # of which no gradient is taken

    def total(image: int, at: Tensor) -> float:
        logits, label = model(at + eta[image]), int(y[image])
        return float(sum(rival(z, label, t) - z[label] for z, t in zip(logits, fixed[image], strict=True)))

    for image in range(2):
        differences = torch.zeros(192, dtype=torch.float64)
        for pixel in range(192):
            step = torch.zeros(192, dtype=torch.float64)
            step[pixel] = eps
            differences[pixel] = total(image, x[image] + step.view(3, 8, 8)) - total(
                image, x[image] - step.view(3, 8, 8)
            )
        known = nn.functional.normalize(differences, dim=0)
        assert torch.allclose(seen.direction[image].flatten(), known, atol=1e-6)
    averaged = torch.stack([model(x[i] + eta[i]).softmax(dim=1).mean(dim=0) for i in range(2)])
    assert seen.classes[:, 0].tolist() == averaged.argmax(dim=1).tolist()


class Sigmoid(nn.Module):
    """The probability of class 0 is the logistic function of the first pixel."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((x[:, 0, 0, 0], torch.zeros_like(x[:, 0, 0, 0])), dim=1)


@pytest.mark.parametrize(
    ("eta", "hit"),
    [
        ([5.0, -0.4, -0.4], False),  # 0.993, 0.401 and 0.401 are 0.6 on average, though two draws of three say class 1
        ([1.0, 1.0, 1.0, -10.0], False),  # 0.55 on average, though the logits are −1.75
        ([-0.4, -0.4], True),
    ],
)
def test_the_answer_of_a_stochastic_row_is_that_of_the_averaged_softmax(eta: list[float], hit: bool) -> None:
    x, noise = torch.zeros(1, 1, 1, 1), torch.tensor(eta).view(1, -1, 1, 1, 1)
    target = target_of(Sigmoid(), torch.tensor([0]), noise, batch_size=2)
    assert target.see(x, torch.arange(1)).hit.tolist() == [hit]
