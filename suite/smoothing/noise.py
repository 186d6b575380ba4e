"""Keyed noise: which numbers an image's draws get depends on (seed, purpose, image, draw) and on nothing else."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Literal

import torch
from torch import Tensor

from suite.errors import UserError

Noise = Literal["gaussian", "discrete"]

BLOCK = 64  # draws are made this many at a time, so that draw i is the same however many are asked for
_ODD = 0x9E3779B97F4A7C15  # odd, so that image ↦ image · _ODD is one-to-one modulo 2³² as well as modulo 2⁶⁴


def key(*parts: int | str) -> int:
    """A 63-bit integer that identifies `parts`; unequal parts collide with probability about 2⁻⁶³."""
    text = "\0".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(*parts: int | str, device: str | torch.device = "cpu") -> torch.Generator:
    """A torch generator seeded by `parts`."""
    return torch.Generator(device).manual_seed(key(*parts))


@dataclass(frozen=True)
class Piece:
    """Draws `first` to `first + count` of x + η: in blocks (b, C, H, W), or by what identifies them."""

    of: NoisyImage
    first: int
    count: int

    def __iter__(self) -> Iterator[Tensor]:
        """The blocks, once; an image's pieces in their order."""
        return islice(self.of.blocks, -(-self.count // BLOCK))


class NoisyImage:
    """x + η for draws of an image x (C, H, W), which are asked for piece by piece; settings as for `noisy`."""

    def __init__(
        self, image: Tensor, n: int, *, sigma: float, seed: int, purpose: str, index: int, noise: Noise = "gaussian"
    ):
        self.image, self.sigma, self.noise, self.left = image, sigma, noise, n
        self.key, self.asked = stream_key(seed, purpose, index), 0
        self.blocks = noisy(image, n, sigma=sigma, seed=seed, purpose=purpose, index=index, noise=noise)

    def take(self, least: int) -> Piece:
        """The next draws, in whole blocks of 64: at least so many, if there are."""
        piece = Piece(self, self.asked, min(-(-least // BLOCK) * BLOCK, self.left))
        self.asked, self.left = self.asked + piece.count, self.left - piece.count
        return piece


def noisy(
    image: Tensor, n: int, *, sigma: float, seed: int, purpose: str, index: int, noise: Noise = "gaussian"
) -> Iterator[Tensor]:
    """x + η for the first n draws of η ~ N(0, σ²I) of an image x (C, H, W), in blocks of at most 64: (b, C, H, W).

    `index` is the image's in its data set. "gaussian" adds in floating point. "discrete" gives x + η rounded to whole
    levels of 1/255, computed in integers (`rounded_gaussian`): for an 8-bit x that is x + round(η), since x is a whole
    level. Raises UserError for "discrete" where a pixel is not.

    Source of "discrete": Voráček and Hein (2023), "Sound randomized smoothing in floating-point arithmetic".
    """
    if noise == "gaussian":
        yield from (block.mul_(sigma).add_(image) for block in draws(seed, purpose, index, n, like=image))
        return
    levels = (image * 255).round()
    if not torch.equal(levels / 255, image):
        raise UserError("discrete noise is for 8-bit images: every pixel has to be a whole number of 1/255")
    stream = _stream(seed, purpose, index, image.device)
    for block in _blocks(image, n, lambda shape: rounded_gaussian(sigma, shape, stream)):
        yield block.add_(levels).div_(255)


def rounded_gaussian(sigma: float, shape: Sequence[int], stream: torch.Generator) -> Tensor:
    """Independent k with P(k) = Φ((k + ½)/(255σ)) − Φ((k − ½)/(255σ)), as float32: 255η rounded, η ~ N(0, σ²).

    By inversion, from 64 fair bits each: 16 of them decide unless they lie in a cell that an edge of the law's
    distribution function divides. The edges are exact to 2⁻⁶⁵. The product of `shape` has to be a multiple of 4.
    """
    edges, decided, least = _law(sigma, stream.device)
    words = torch.empty(math.prod(shape) // 4, dtype=torch.int64, device=stream.device)
    cells = words.random_(-(2**63), None, generator=stream).view(torch.int16).int()
    levels = decided.index_select(0, cells + 2**15)
    divided = levels.isnan().nonzero().flatten()
    rest = torch.empty(len(divided), dtype=torch.int64, device=stream.device).random_(0, 2**48, generator=stream)
    levels[divided] = least + torch.searchsorted(edges, cells[divided].long() * 2**48 + rest, right=True).float()
    return levels.view(shape)


@cache
def _law(sigma: float, device: torch.device) -> tuple[Tensor, Tensor, int]:
    """The edges of the rounded Gaussian's distribution function, as 64-bit integers from −2⁶³ on; what each cell of 16
    bits decides, NaN where an edge divides it; and the least level."""
    import mpmath

    most = math.ceil(9.2 * 255 * sigma)  # the tail beyond it is less than 2⁻⁶⁵
    with mpmath.workprec(100):
        below = [mpmath.ncdf((2 * k + 1) / (510 * mpmath.mpf(sigma))) for k in range(-most, most)]
        units = [int(mpmath.nint(share * 2**64)) - 2**63 for share in below]
    edges = torch.tensor([unit for unit in units if unit < 2**63])
    first = torch.arange(-(2**15), 2**15) * 2**48
    lowest, highest = (torch.searchsorted(edges, cell, right=True) for cell in (first, first + (2**48 - 1)))
    decided = torch.where(lowest == highest, (lowest - most).float(), torch.nan)
    return edges.to(device), decided.to(device), -most


def draws(seed: int, purpose: str, image: int, n: int, like: Tensor) -> Iterator[Tensor]:
    """The first n draws of standard normal noise for one image, in blocks of at most 64: each (b, *like.shape).

    `image` is the image's index in its data set. Streams differ between devices (CPU: Mersenne twister; CUDA: Philox,
    and for votes that of `kernels`); a run's records name the device. Three-dimensional images are drawn channels last,
    the layout in which they go through a convolution.
    """
    stream = _stream(seed, purpose, image, like.device)
    return _blocks(like, n, lambda shape: torch.randn(shape, generator=stream, device=like.device, dtype=like.dtype))


def stream_key(seed: int, purpose: str, image: int) -> int:
    """63 bits. torch's CPU generator keeps 32 bits of a seed, so the keys of one (seed, purpose) are spread by a map
    that is one-to-one on them: no two images share a stream."""
    return (key(seed, purpose) + image * _ODD) % 2**63


def _stream(seed: int, purpose: str, image: int, device: torch.device) -> torch.Generator:
    return torch.Generator(device).manual_seed(stream_key(seed, purpose, image))


def _blocks(like: Tensor, n: int, make: Callable[[Sequence[int]], Tensor]) -> Iterator[Tensor]:
    shape = like.shape if like.ndim != 3 else (*like.shape[1:], like.shape[0])
    for start in range(0, n, BLOCK):
        block = make((BLOCK, *shape))
        yield (block if like.ndim != 3 else block.permute(0, 3, 1, 2))[: n - start]
