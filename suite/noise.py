"""Keyed noise: which numbers an image's draws get depends on (seed, purpose, image, draw) and on nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 64  # draws are made this many at a time, so that draw i is the same however many are asked for
_ODD = 0x9E3779B97F4A7C15  # odd, so that image ↦ image · _ODD is one-to-one modulo 2³² as well as modulo 2⁶⁴


def key(*parts: int | str) -> int:
    """A 63-bit integer that identifies `parts`; unequal parts collide with probability about 2⁻⁶³."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator seeded by `parts`."""
    return torch.Generator(device).manual_seed(key(*parts))


def draws(seed: int, purpose: str, image: int, n: int, like: Tensor) -> Iterator[Tensor]:
    """The first n draws of standard normal noise for one image, in blocks of at most 64: each (b, *like.shape).

    `image` is the image's index in its data set. torch's CPU generator keeps 32 bits of a seed, so the keys of one
    (seed, purpose) are spread by a map that is one-to-one on them: no two images share a stream. Streams differ
    between devices (CPU: Mersenne twister, CUDA: Philox); a run's records name the device. Three-dimensional images
    are drawn channels last, the layout in which they go through a convolution.
    """
    spread = (key(seed, purpose) + image * _ODD) % 2**63
    stream = torch.Generator(like.device).manual_seed(spread)
    shape = like.shape if like.ndim != 3 else (*like.shape[1:], like.shape[0])
    for start in range(0, n, BLOCK):
        block = torch.randn(BLOCK, *shape, generator=stream, device=like.device, dtype=like.dtype)
        yield (block if like.ndim != 3 else block.permute(0, 3, 1, 2))[: n - start]
