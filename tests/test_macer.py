"""Macer against its formula written out image by image, and where its answer is known."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from helpers.adversarial import method, step
from helpers.votes import (
    SIGMA,
    Array,
    Rows,
    blank,
    macer_case,
    made,
    probabilities,
    soft_answer,
    softmax,
    value,
)
from scipy.stats import norm
from torch import Tensor


def macer(z: Array, y: list[int], weight: float, sigma: float, beta: float, gamma: float) -> float:
    """Logits (m, B, K)."""
    total = 0.0
    for image, label in enumerate(y):
        total -= math.log(sum(softmax(draw[image])[label] for draw in z) / len(z))
        answer, difference = soft_answer(z[:, image], beta)
        if answer == label and difference < gamma:
            total += weight * sigma / 2 * (gamma - difference)
    return total / len(y)


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("m", [1, 3])
def test_macer_is_its_formula_with_images_of_every_kind(m: int, beta: float) -> None:
    """Soft answers that are right and wrong, hinges that are active and not."""
    model, x, y, z, gamma = macer_case(m, beta)
    values = [
        (value(made("macer", m=m, beta=beta, gamma=hinge, **{"lambda": weight}), model, x, y), weight, hinge)
        for weight in (0.0, 12.0)
        for hinge in (gamma, 8.0)
    ]
    for found, weight, hinge in values:
        assert found == pytest.approx(macer(z, y.tolist(), weight, SIGMA, beta, hinge), abs=1e-9)
    assert values[0][0] == values[1][0] < values[2][0] - 1e-3 < values[3][0] - 2e-3


def macer_of(rows: Tensor, y: list[int], m: int = 1, **given: Any) -> float:
    made = method("macer", m=m, **{"sigma": 0.5, "beta": 1.0} | given)
    return value(made, Rows(rows), blank(len(y)), torch.tensor(y))


def test_macer_without_its_weight_is_cross_entropy_of_the_averaged_softmax() -> None:
    rows = probabilities([0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.5, 0.5])  # two images' first draws, and their second
    found = macer_of(rows, [0, 1], m=2, **{"lambda": 0})
    assert found == pytest.approx(-(math.log((0.9 + 0.1) / 2) + math.log((0.7 + 0.5) / 2)) / 2, abs=1e-12)


def test_macer_ascends_the_radius() -> None:
    """Of answers (p, 1 − p) the radius is σΦ⁻¹(p)."""
    rows = probabilities([0.8, 0.2])
    plain = macer_of(rows, [0], **{"lambda": 0})
    radius = 0.5 * norm.ppf(0.8)
    assert macer_of(rows, [0], gamma=3.0, **{"lambda": 4}) - plain == pytest.approx(4 * (0.5 / 2 * 3.0 - radius))
    sharp = 0.8**16 / (0.8**16 + 0.2**16)  # β = 16
    radius = 0.5 * norm.ppf(sharp)
    found = macer_of(rows, [0], beta=16.0, gamma=20.0, **{"lambda": 4}) - plain
    assert found == pytest.approx(4 * (0.5 / 2 * 20.0 - radius), abs=1e-6)


def test_images_whose_soft_answer_is_wrong_contribute_nothing() -> None:
    rows = probabilities([0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4])
    wrong = [1, 0, 1]
    assert macer_of(rows, wrong, **{"lambda": 12}) == macer_of(rows, wrong, **{"lambda": 0})
    one_right = [0, 0, 1]
    gain = macer_of(rows, one_right, **{"lambda": 12}) - macer_of(rows, one_right, **{"lambda": 0})
    hinge = 8 - (norm.ppf(0.6) - norm.ppf(0.3))
    assert gain == pytest.approx(12 * 0.5 / 2 * hinge / 3)  # divided by all three images, not by the one that counts


def test_the_soft_answer_is_the_sharpened_one() -> None:
    """One draw is sure of class 1, two lean to class 0: their mean answers 1, and with β large two votes beat one."""
    rows = probabilities([0.6, 0.4], [0.6, 0.4], [0.01, 0.99])
    plain = macer_of(rows, [0], m=3, **{"lambda": 0})
    assert macer_of(rows, [0], m=3, beta=1.0, **{"lambda": 12}) == plain
    assert macer_of(rows, [0], m=3, beta=16.0, **{"lambda": 12}) > plain + 1


def test_the_hinge_is_off_beyond_gamma() -> None:
    rows = probabilities([0.8, 0.2])
    difference = 2 * norm.ppf(0.8)
    plain = macer_of(rows, [0], **{"lambda": 0})
    for gamma in (0.0, difference - 1e-6):
        assert macer_of(rows, [0], gamma=gamma, **{"lambda": 12}) == plain
    assert macer_of(rows, [0], gamma=difference + 1e-3, **{"lambda": 12}) == pytest.approx(plain + 12 * 0.25 * 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_sure_answers_leave_loss_and_gradient_finite(scale: float, dtype: torch.dtype) -> None:
    z = torch.tensor([[scale, -scale, 0.0], [-scale, scale, 0.0]] * 2, dtype=dtype, requires_grad=True)
    for gamma in (8.0, 1e3):  # with the second the hinge is active at the clip
        for m in (1, 2):
            made = method("macer", m=m, gamma=gamma)
            labels = torch.tensor([0, 1, 0, 1][: 4 // m])
            loss = made.loss(Rows(z), blank(4 // m, dtype), labels, step())
            assert torch.isfinite(loss)
            (gradient,) = torch.autograd.grad(loss, z)
            assert torch.isfinite(gradient).all()
            assert gamma == 1e3 or loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 1_000])
def test_the_clip_moves_no_hinge_in_single_precision(classes: int) -> None:
    """Against the hinge without a clip, in float64, for answers from undecided to surer than single precision knows."""
    for sureness in torch.linspace(0.1, 40, 60).tolist():
        z = torch.zeros(1, classes, dtype=torch.float64)
        z[0, 0] = sureness
        p = softmax(z[0].numpy())
        exact = max(0.0, 8.0 - float(norm.ppf(p[0]) - norm.ppf(p[1]))) if p[0] < 1 else 0.0
        plain, whole = (
            method("macer", m=1, beta=1.0, sigma=2.0, **{"lambda": weight})
            .loss(Rows(z.float()), blank(1, torch.float32), torch.tensor([0]), step())
            .item()
            for weight in (0, 1)
        )
        assert whole - plain == pytest.approx(exact, abs=5e-3)


def test_the_robustness_loss_sets_in_after_the_warmup() -> None:
    model, x, y, _, _ = macer_case(3, 16.0)
    with_it, without = made("macer", warmup=200), made("macer", **{"lambda": 0})
    for epoch in (0.0, 199.9):
        assert value(with_it, model, x, y, epoch=epoch) == value(without, model, x, y)
    assert value(with_it, model, x, y, epoch=200.0) == value(made("macer"), model, x, y) > value(without, model, x, y)
