"""The average of a network's probabilities under noise, and radii of it ("Adversarial Boot Camp", Theorem 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from suite.smoothing.noise import noisy
from suite.smoothing.voting import TIE, Asking, settled_logits
from suite.statistics.bounds import l_bound, probit_bound, soft_certificate


def probabilities(model: nn.Module, x: Tensor, k: int) -> Tensor:
    """The softmax outputs (B, K) for x (B, C, H, W), float64 on the CPU."""
    return settled_logits(model, x, k).cpu().double().softmax(dim=1)


Averaged = Asking[dict[str, Any]]  # the answers are the probabilities (K,) of each noisy image


def average_record(
    v: Tensor, example: tuple[int, Tensor, int], bounds_pass: bool, *,
    sigma: float, k: int, n: int, alpha: float, seed: int,
) -> Averaged:  # fmt: skip
    """The record of an image with v = v(x), once it has been sent f's probabilities of all draws."""
    index, image, label = example
    drawn = torch.stack((yield noisy(image, n, sigma=sigma, seed=seed, purpose="lbound", index=index)))
    mean = drawn.mean(dim=0)
    bounded = v if bounds_pass else mean
    leading = bounded.argsort(descending=True, stable=True)[:k].tolist()
    soft_radius = None
    if not bounds_pass:
        certified, chosen = soft_certificate(drawn.numpy(), k, alpha, sigma)
        soft_radius = certified if set(chosen) == set(leading) else 0.0
    return {
        "idx": index,
        "label": label,
        "predict": leading[0],
        "correct": int(label in leading),
        "radius": float(l_bound(bounded, k, sigma)),
        "probit_radius": float(probit_bound(bounded, k, sigma)),
        "soft_radius": soft_radius,
        "distance": float((v - mean).norm()),
        "noise": float((drawn.var(dim=0).sum() / n).sqrt()),
        "agrees": int(mean[v.argmax()] >= mean.max() - TIE["fp32"]),
    }
