"""Stability against its formula written out image by image, and where its answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.adversarial import images, method, step
from helpers.votes import (
    Array,
    Rows,
    blank,
    cross_entropy,
    made,
    network,
    one_hot,
    probabilities,
    seen_logits,
    softmax,
    value,
)
from scipy.special import entr


def stability(clean: Array, noisy: Array, y: list[int], weight: float) -> float:
    """Clean and noisy logits (B, K)."""
    total = 0.0
    for z, noisy_z, label in zip(clean, noisy, y, strict=True):
        total += cross_entropy(one_hot(label, len(z)), z) + weight * cross_entropy(softmax(z), noisy_z)
    return total / len(y)


@pytest.mark.parametrize("weight", [0.0, 0.7, 2.0])
def test_stability_is_its_formula(weight: float) -> None:
    model, (x, y) = network(), images()
    clean, noisy = seen_logits(made("stability"), model, x, y)
    found = value(made("stability", **{"lambda": weight}), model, x, y)
    assert found == pytest.approx(stability(clean, noisy, y.tolist(), weight), abs=1e-9)


def test_stability_draws_the_clean_answer_to_the_noisy_one_too() -> None:
    """The gradient of CE(p → z) in the clean logits is (diag p − ppᵀ)(−log softmax z): p is not a constant."""
    clean, noisy = probabilities([0.7, 0.2, 0.1]).requires_grad_(), probabilities([0.3, 0.6, 0.1])
    p, q = clean.detach().exp()[0], noisy.exp()[0]
    made("stability", **{"lambda": 2}).loss(Rows(clean, noisy), blank(1), torch.tensor([1]), step()).backward()
    expected = p - torch.tensor([0.0, 1.0, 0.0]) + 2 * (p.diag() - p.outer(p)) @ -q.log()
    torch.testing.assert_close(clean.grad[0], expected)  # type: ignore[index]


def test_stability_without_its_weight_is_the_baseline() -> None:
    model, (x, y) = network(), images()
    assert value(made("stability", **{"lambda": 0}), model, x, y) == value(method("baseline", 0.0), model, x, y)


def test_stability_of_two_known_answers() -> None:
    clean, noisy = probabilities([0.8, 0.2]), probabilities([0.5, 0.5])
    found = value(made("stability", **{"lambda": 3}), Rows(clean, noisy), blank(1), torch.tensor([1]))
    assert found == pytest.approx(-math.log(0.2) + 3 * math.log(2))  # against ½, ½ every answer costs log 2
    same = value(made("stability", **{"lambda": 3}), Rows(clean), blank(1), torch.tensor([0]))
    assert same == pytest.approx(-math.log(0.8) + 3 * float(entr([0.8, 0.2]).sum()))
