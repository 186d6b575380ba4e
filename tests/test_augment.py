"""Augmentation: which windows and flips, how often, and by which generator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from suite.data.augment import augment
from suite.errors import UserError

POSITIONS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1000, 1, 16, 16)


def windows(pad, mode):
    """Every window of the padded image, by NumPy."""
    padded = np.pad(POSITIONS[0, 0].numpy(), pad, mode)
    steps = range(2 * pad + 1)
    return [torch.from_numpy(padded[y : y + 16, x : x + 16].copy()) for y in steps for x in steps]


@pytest.mark.parametrize(
    ("kind", "pad", "mode"),
    [("crop-flip", 4, "reflect"), ("crop-flip-zero", 4, "constant"), ("shift", 1, "constant")],
)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_are_windows_of_the_padded_image_all_equally_often(kind, pad, mode, dtype):
    seen = augment(POSITIONS.to(dtype), kind, torch.Generator().manual_seed(0))
    assert seen.dtype == dtype
    known = torch.stack(windows(pad, mode)).to(dtype)
    plain = (seen == known).flatten(2).all(2)
    flipped = (seen == known.flip(2)).flatten(2).all(2)
    assert ((plain | flipped).sum(1) == 1).all()
    assert abs(flipped.any(1).float().mean() - (0 if kind == "shift" else 0.5)) < 0.05
    counts = (plain | flipped).sum(0)
    expected = len(seen) / len(known)
    assert (counts - expected).abs().max() < 5 * expected**0.5


def test_flips_are_half_of_the_images_and_none_is_none():
    seen = augment(POSITIONS, "flip", torch.Generator().manual_seed(1))
    flipped = (seen == POSITIONS.flip(3)).flatten(1).all(1)
    assert torch.equal(seen[~flipped], POSITIONS[~flipped])
    assert abs(flipped.float().mean() - 0.5) < 0.05
    assert torch.equal(augment(POSITIONS, "none", torch.Generator()), POSITIONS)


@pytest.mark.parametrize("kind", ["crop-flip", "shift", "flip"])
def test_augmentation_follows_its_generator(kind):
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 3, 4)]
    first, again, other = (augment(POSITIONS, kind, generator) for generator in generators)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_unknown_augmentation():
    with pytest.raises(UserError, match="unknown augmentation 'flop': did you mean 'flip'"):
        augment(POSITIONS, "flop", torch.Generator())
