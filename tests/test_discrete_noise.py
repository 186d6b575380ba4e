"""Noise on whole levels of 1/255: its law is exact, and no classifier can tell by the low bits what it was added to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from suite import UserError, certify
from suite.smoothing.noise import Noise, _law, noisy, rounded_gaussian

SIGMA = 0.25


def law(sigma: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The levels k and P(k) by scipy, from the tail in which the difference keeps its digits."""
    k = np.arange(-int(9.5 * 255 * sigma), int(9.5 * 255 * sigma) + 1)
    low, high = (k - 0.5) / (255 * sigma), (k + 0.5) / (255 * sigma)
    return k, np.where(k <= 0, stats.norm.cdf(high) - stats.norm.cdf(low), stats.norm.sf(low) - stats.norm.sf(high))


@pytest.mark.parametrize("sigma", [0.01, 0.25, 1.0])
def test_every_levels_probability_is_the_rounded_gaussians(sigma: float) -> None:
    edges, decided, least = _law(sigma, torch.device("cpu"))
    inner = [int(edge) + 2**63 for edge in edges]
    mass = np.diff([0, *inner, 2**64]) / 2.0**64
    found = dict(zip(range(least, least + len(mass)), mass, strict=True))
    k, p = law(sigma)
    assert max(abs(found.get(level, 0.0) - share) for level, share in zip(k.tolist(), p, strict=True)) < 1e-15
    for cell, level in zip(range(0, 2**64, 97 * 2**48), decided.tolist()[::97], strict=True):
        first, last = (sum(edge <= unit for edge in inner) + least for unit in (cell, cell + 2**48 - 1))
        assert level == first == last if level == level else first < last  # NaN: the cell does not decide


def test_the_draws_have_that_law() -> None:
    drawn = rounded_gaussian(SIGMA, (500, 2_000), torch.Generator().manual_seed(0)).flatten().numpy()
    k, p = law(SIGMA)
    common = p * len(drawn) > 50
    found = np.bincount(drawn.astype(int) - k[0], minlength=len(k))[common]
    expected = np.append(p[common], 1 - p[common].sum()) * len(drawn)
    assert stats.chisquare(np.append(found, len(drawn) - found.sum()), expected).pvalue > 1e-3


def test_a_noisy_image_is_its_levels_and_the_draws_and_keyed() -> None:
    levels = torch.randint(0, 256, (3, 4, 4), generator=torch.Generator().manual_seed(0)).float()

    def sample(n: int, index: int, image: Tensor = levels / 255) -> Tensor:
        settings = {"sigma": SIGMA, "seed": 0, "purpose": "test"}
        return torch.cat(list(noisy(image, n, index=index, noise="discrete", **settings)))  # type: ignore[arg-type]

    drawn = sample(130, 7)
    assert drawn.shape == (130, 3, 4, 4)
    whole = (drawn * 255).round()
    assert torch.equal(drawn, whole / 255)  # the same float for the same level, whatever the image
    assert torch.equal(sample(130, 7, torch.zeros_like(levels)), (whole - levels) / 255)
    assert torch.equal(sample(70, 7), drawn[:70])
    assert not torch.equal(sample(130, 8), drawn)
    with pytest.raises(UserError, match="8-bit"):
        sample(1, 7, levels / 255 + 0.001)


class LowBits(nn.Module):
    """Class 0 where a pixel is no multiple of 2⁻³², else 1: small floats are not, sums with 1/255 and more are."""

    def forward(self, x: Tensor) -> Tensor:
        fine = (x * 2**32 != (x * 2**32).round()).flatten(1).any(dim=1).float()
        return torch.stack((fine, 1 - fine), dim=1)


@pytest.mark.parametrize(("noise", "sound"), [("gaussian", False), ("discrete", True)])
def test_a_classifier_of_low_bits_gets_false_certificates_in_floating_point_alone(noise: Noise, sound: bool) -> None:
    """In the manner of Voráček and Hein (2023): two images nearer to each other than the radius certified at each."""
    images = torch.stack((torch.zeros(3, 32, 32), torch.full((3, 32, 32), 1 / 255)))
    found = certify(LowBits(), images, torch.zeros(2), sigma=SIGMA, n=1_000, noise=noise)
    distance = float((images[0] - images[1]).norm())
    assert found["radius"].min() > 2 * distance
    assert (found["predict"][0] == found["predict"][1]) == sound


class Above(nn.Module):
    """One pixel: class 0 from level 128 on. Under rounded noise the boundary of the vote is at 127.5/255."""

    def forward(self, x: Tensor) -> Tensor:
        t = 255 * x.flatten(1)[:, 0] - 127.5
        return torch.stack((t, -t), dim=1)


@pytest.mark.slow
def test_no_more_discrete_certificates_exceed_the_true_distance_than_alpha_allows() -> None:
    alpha, total = 0.05, 1_500
    levels = torch.randint(128, 218, (total,), generator=torch.Generator().manual_seed(1))
    distance = (levels - 127.5).numpy() / 255
    images = levels.to(torch.uint8).view(total, 1, 1, 1)
    found = certify(
        Above(), images, torch.zeros(total), sigma=SIGMA, n=100, alpha=alpha, deterministic=True, noise="discrete"
    )
    too_large = int((found["radius"] > distance).sum())
    assert 0.4 * alpha * total < too_large <= stats.binom.ppf(0.999, total, alpha)
    assert "rounded to 1/255" in found["claim"][0]
