"""Networks whose answer cannot change fast: 1-Lipschitz layers, each with its proof, and a linear head.

‖·‖ is the ℓ2 norm. A network here maps an image x to features F(x), and those to logits u = WF(x) + c. Each layer of F
says by `lipschitz_bound` how much farther apart its outputs can be than its inputs, and the bound of F is the product:
1 in exact arithmetic, for all weights. It is computed in float64 from the weights as they are.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.errors import UserError
from suite.networks.architecture import Architecture, Shape


class Layer(nn.Module):
    """A map with a Lipschitz bound in the ℓ2 norm."""

    def lipschitz_bound(self) -> float:
        """L with ‖layer(x) − layer(y)‖ ≤ L‖x − y‖ for all x and y. Here 1: see the layer's own docstring."""
        return 1.0


class SLL(Layer):
    """The SDP-based Lipschitz layer (Araujo et al., ICLR 2023, Theorem 3 and eq. 8), as a convolution::

        x ↦ x − 2Wᵀ diag(1/T) ReLU(Wx + b),    T_i = Σ_j |WWᵀ|_ij q_j / q_i,    q > 0

    W are `hidden` filters of k×k over zero-padded images (B, C, H, W), Wᵀ is the transposed convolution, and b, q and W
    are learned. 1-Lipschitz for all of them:

    1. diag(T) − WWᵀ is positive semidefinite: with Q = diag(q), Q⁻¹(diag(T) − WWᵀ)Q has in row i the diagonal entry
       T_i − (WWᵀ)_ii ≥ Σ_{j ≠ i} |WWᵀ|_ij q_j/q_i, so it is diagonally dominant, and its eigenvalues, which are those
       of the symmetric diag(T) − WWᵀ, are not negative.
    2. For two points let d = x − y and a = ReLU(Wx + b) − ReLU(Wy + b). ReLU grows at a slope of 0 to 1, so in each
       coordinate a_i² ≤ a_i (Wd)_i. With D = diag(1/T), ‖d − 2WᵀDa‖² = ‖d‖² − 4aᵀDWd + 4aᵀDWWᵀDa
       ≤ ‖d‖² − 4aᵀDa + 4aᵀD diag(T) Da = ‖d‖².
    3. A convolution's WWᵀ is the correlation of its filters with each other at all shifts at which they overlap, so the
       sum over j is one over filters and (2k − 1)² shifts, with q the same at all places. That is W on images without
       an end, from which zero padding takes columns (pixels that are 0) and rows: of the W that is left,
       WWᵀ is at most that of the whole, restricted, and T stays enough.

    With a factor 2/t in the place of 2/T it is x + c(L(x) − x) for a 1-Lipschitz L and c = max T/t, if that is above 1;
    its bound is c + |1 − c| = 2c − 1. In evaluation the factors are the numbers of float32 below those of float64, so
    c ≤ 1.
    """

    factors: Tensor

    def __init__(self, channels: int, hidden: int, kernel: int = 3):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError("SLL needs a kernel of an odd size, so that its image keeps its size")
        self.weight = nn.Parameter(torch.empty(hidden, channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.log_q = nn.Parameter(torch.zeros(hidden))
        self.register_buffer("factors", torch.zeros(hidden), persistent=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.xavier_normal_(self.weight)
        nn.init.zeros_(self.bias)
        nn.init.zeros_(self.log_q)
        self._set_factors()

    def divisors(self, dtype: torch.dtype) -> Tensor:
        """T, shape (hidden,), computed in `dtype`."""
        weight, q = self.weight.to(dtype), self.log_q.to(dtype).exp()
        correlation = F.conv2d(weight, weight, padding=weight.shape[-1] - 1)
        return torch.einsum("ijkl,j->i", correlation.abs(), q) / q

    @torch.no_grad()
    def _set_factors(self) -> None:
        divisors = self.divisors(torch.float64)
        rounded = torch.where(divisors > 0, 2 / divisors, 0.0).to(self.weight.dtype)  # 0: a filter of zeros
        self.factors.copy_(torch.nextafter(rounded, torch.zeros_like(rounded)))

    def train(self, mode: bool = True) -> SLL:
        if not mode:
            self._set_factors()
        return super().train(mode)

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._set_factors()

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.autocast(x.device.type, enabled=False):
                factors = 2 / self.divisors(self.weight.dtype)
        else:
            factors = self.factors
        padding = self.weight.shape[-1] // 2
        back = (self.weight * factors[:, None, None, None]).flip(2, 3).transpose(0, 1)
        active = F.relu(F.conv2d(x, self.weight, self.bias, padding=padding))
        return x - F.conv2d(active, back, padding=padding)

    @torch.no_grad()
    def lipschitz_bound(self) -> float:
        c = float((self.divisors(torch.float64) * self.factors.double() / 2).max())
        return max(1.0, 2 * c - 1) if math.isfinite(c) else math.inf


class Unshuffle(Layer):
    """Each 2×2 square of pixels becomes 4 channels: a permutation of the numbers, so distances stay."""

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, 2).contiguous(memory_format=torch.channels_last)


class Widen(Layer):
    """Channels of zeros appended up to `channels`: distances stay."""

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (0, 0, 0, 0, 0, self.channels - x.shape[1]))


class Pool(Layer):
    """2×2 means times 2: the inner product with (½, ½, ½, ½), a vector of length 1, on squares that do not overlap.

    That is a projection, written in the coordinates of what it projects to, so its bound is 1. An odd last row or
    column is left out, which is a projection as well.
    """

    def forward(self, x: Tensor) -> Tensor:
        return 2 * F.avg_pool2d(x, 2)


class LipschitzNetwork(nn.Module):
    """Layers with a Lipschitz bound, and a linear `head`: logits (B, K) of images (B, C, H, W)."""

    def __init__(self, layers: list[Layer], features: int, classes: int):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(features, classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.layers(x).flatten(1))
        return logits

    def lipschitz_bound(self) -> float:
        """L with ‖F(x) − F(y)‖ ≤ L‖x − y‖, F being what the head gets: the product of the layers' bounds."""
        bound = 1.0
        for layer in self.layers:
            assert isinstance(layer, Layer)
            bound *= layer.lipschitz_bound()
        return bound


def lipschitz(depth: int, classes: int, shape: Shape, width: int) -> nn.Module:
    """2×2 squares to channels, `width` channels, `depth` SLL layers; again, with 4 × `width`; a pool, and the head."""
    channels, height, side = shape
    if width < 4 * channels:
        raise UserError(f"a Lipschitz network for {channels} channels needs a width of at least {4 * channels} (-wN)")
    if height % 4 or side % 4 or min(height, side) < 8:
        raise UserError(
            f"a Lipschitz network takes images whose sides are multiples of 4, at least 8, not {height}×{side}"
        )
    layers: list[Layer] = [Unshuffle(), Widen(width), *(SLL(width, width) for _ in range(depth))]
    layers += [Unshuffle(), *(SLL(4 * width, 2 * width) for _ in range(depth)), Pool()]
    return LipschitzNetwork(layers, 4 * width * (height // 8) * (side // 8), classes)


SMALL, MEDIUM, LARGE = (
    Architecture(partial(lipschitz, depth), width, lipschitz=True) for depth, width in ((4, 24), (6, 48), (8, 96))
)
