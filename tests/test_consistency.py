"""Consistency against its formula written out image by image, and where its answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers.adversarial import IMAGES, images, method
from helpers.votes import (
    Array,
    Rows,
    blank,
    cross_entropy,
    logits,
    made,
    network,
    one_hot,
    probabilities,
    seen_logits,
    softmax,
    value,
)
from scipy.special import entr, rel_entr


def consistency(z: Array, y: list[int], weight: float, eta: float) -> float:
    """Logits (m, B, K)."""
    total = 0.0
    for image, label in enumerate(y):
        answers = [softmax(draw[image]) for draw in z]
        mean = sum(answers) / len(z)
        total += sum(cross_entropy(one_hot(label, len(mean)), draw[image]) for draw in z) / len(z)
        total += weight * sum(float(rel_entr(mean, answer).sum()) for answer in answers) / len(z)
        total += eta * float(entr(mean).sum())
    return total / len(y)


@pytest.mark.parametrize(("weight", "eta"), [(0.0, 0.0), (20.0, 0.5), (3.0, 0.0), (0.0, 2.0)])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_consistency_is_its_formula(m: int, weight: float, eta: float) -> None:
    model, (x, y) = network(), images()
    [z] = seen_logits(made("consistency", m=m), model, x, y)
    found = value(made("consistency", m=m, eta=eta, **{"lambda": weight}), model, x, y)
    assert found == pytest.approx(consistency(z.reshape(m, IMAGES, -1), y.tolist(), weight, eta), abs=1e-9)


def test_consistency_without_noise_has_no_divergence() -> None:
    """As σ → 0 the draws agree: cross-entropy on clean images is left, and η times the answer's entropy."""
    model, (x, y) = network(), images()
    z = logits(model, x)
    entropies = np.mean([entr(softmax(row)).sum() for row in z])
    expected = value(method("baseline", 0.0), model, x, y) + 0.5 * entropies
    assert entropies > 0.1
    assert value(made("consistency", sigma=1e-9, **{"lambda": 20}), model, x, y) == pytest.approx(expected, abs=1e-6)


def test_a_single_draw_is_consistent_with_itself() -> None:
    model, (x, y) = network(), images()
    none, much = (value(made("consistency", m=1, **{"lambda": weight}), model, x, y) for weight in (0, 1e6))
    assert none == pytest.approx(much, abs=1e-9)


@pytest.mark.parametrize("a", [0.5, 0.9, 0.999])
def test_two_opposite_draws(a: float) -> None:
    """F_i = (a, 1 − a) and (1 − a, a): F̂ = ½, KL = −½ log 4a(1 − a), H = log 2, cross-entropy −½ log a(1 − a)."""
    rows = probabilities([a, 1 - a], [1 - a, a])  # one image's two draws
    found = value(made("consistency", m=2, eta=0.25, **{"lambda": 7}), Rows(rows), blank(1), torch.tensor([0]))
    spread = a * (1 - a)
    expected = -math.log(spread) / 2 + 7 * -math.log(4 * spread) / 2 + 0.25 * math.log(2)
    assert found == pytest.approx(expected, abs=1e-12)


def test_consistencys_draws_are_those_of_one_image() -> None:
    """Two images, of which each has equal draws: nothing to regularise, whatever the other image's answer is."""
    sure, other = [0.98, 0.02], [0.1, 0.9]
    rows = probabilities(sure, other, sure, other)
    found = value(made("consistency", m=2, eta=0, **{"lambda": 100}), Rows(rows), blank(2), torch.tensor([0, 1]))
    assert found == pytest.approx(-(math.log(0.98) + math.log(0.9)) / 2, abs=1e-9)
