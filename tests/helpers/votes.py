"""Methods that train for the vote, as tests of them see them: given logits, given draws, and softmax written out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from scipy.stats import norm
from torch import Tensor, nn

from helpers.adversarial import IMAGES, images, method, step, watch
from helpers.networks import Scaled, smooth_model
from methods import Method

SIGMA = 0.25
DRAWS = {"stability": 1, "consistency": 3, "macer": 3}
Array = np.ndarray[Any, np.dtype[np.float64]]


class Rows(nn.Module):
    """Logits that are given, whatever the images: one table of them for each pass, then again from the first."""

    def __init__(self, *tables: Tensor):
        super().__init__()
        self.tables, self.passes = tables, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.tables[(self.passes - 1) % len(self.tables)]


def probabilities(*rows: list[float]) -> Tensor:
    """Logits whose softmax these rows are."""
    return torch.tensor(rows, dtype=torch.float64).log()


def blank(batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((batch, 1, 2, 2), 0.5, dtype=dtype)


def made(name: str, sigma: float = SIGMA, **parameters: Any) -> Method[Any]:
    """The method with three draws, if it has several."""
    return method(name, sigma, **({"m": 3} if name != "stability" else {}) | parameters)


def value(method: Method[Any], model: nn.Module, x: Tensor, y: Tensor, **when: Any) -> float:
    return method.loss(model, x, y, step(**when)).item()


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    found: Array = e / e.sum()
    return found


def cross_entropy(p: Array, z: Array) -> float:
    """−Σ_k p_k log softmax(z)_k."""
    return -float(sum(p_k * math.log(q_k) for p_k, q_k in zip(p, softmax(z), strict=True)))


def one_hot(y: int, classes: int) -> Array:
    return np.eye(classes)[y]


def soft_answer(z: Array, beta: float) -> tuple[int, float]:
    """The softly smoothed classifier's class from logits (m, K), and Φ⁻¹(p₁) − Φ⁻¹(p₂)."""
    p = sum(softmax(beta * draw) for draw in z) / len(z)
    second, first = np.sort(p)[-2:]
    return int(np.argmax(p)), float(norm.ppf(first) - norm.ppf(second))


def logits(model: nn.Module, batch: Tensor) -> Array:
    """Image by image."""
    with torch.no_grad():
        found: Array = torch.stack([model(image[None])[0] for image in batch]).numpy()
    return found


def network() -> nn.Module:
    """Not in training: an image's logits do not depend on its batch. Its answers are more decided than at random."""
    return Scaled(smooth_model(), 3.0).eval()


def seen_logits(method: Method[Any], model: nn.Module, x: Tensor, y: Tensor) -> list[Array]:
    """The logits of each pass that the loss makes."""
    return [logits(model, batch) for batch in watch(method, model, x, y).batches]


def macer_case(m: int, beta: float) -> tuple[nn.Module, Tensor, Tensor, Array, float]:
    """Half of the labels are the soft answers; γ lies in the middle of those images' differences. Logits (m, B, K)."""
    model, (x, y) = network(), images()
    [z] = seen_logits(made("macer", m=m), model, x, y)
    z = z.reshape(m, IMAGES, -1)
    answers, differences = zip(*(soft_answer(z[:, image], beta) for image in range(IMAGES)), strict=True)
    half = IMAGES // 2
    y = torch.tensor([(answer + (image >= half)) % 5 for image, answer in enumerate(answers)])
    middle = sorted(differences[:half])[half // 2 - 1 : half // 2 + 1]
    assert middle[1] - middle[0] > 1e-3
    return model, x, y, z, sum(middle) / 2
