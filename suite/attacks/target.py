"""Attacks on what a row deploys: perturbations of small ℓ2 norm that change the answer to an image.

f is a network, δ a perturbation; the noise η₁, …, η_m is drawn once for each image. Where a row deploys one pass, an
attack steps along ∇M(f(x + δ), y); where it deploys a vote, along Σᵢ ∇M(f(x + δ + ηᵢ), y), and the answer is that of
the average of softmax(f). M is the margin by which the other logits exceed the label's, the largest smoothly:

    M(z, y) = T log Σ_{j ≠ y} exp(z_j / T) − z_y,    T = std(z) / 10, of which no gradient is taken

These are eqs. 8 and 9 of "Adversarial Boot Camp" with M for the cross-entropy L. L of the logits z/T is
log(1 + exp(M/T)), so for one pass its gradient has the direction of ∇M, but rounds to 0 where logits are large. The
direction of ∇M does not depend on a factor of all logits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from suite.smoothing.noise import draws
from suite.smoothing.voting import settled

SOFTNESS = 0.1  # of the largest other logit, in standard deviations of the logits

ROUNDING = {getattr(kind, name) for kind in (torch, Tensor) for name in ("round", "floor", "ceil", "trunc", "sign")}

HALVINGS = 10  # of the way from an image to a hit: what is left is a thousandth of it


class Identity(torch.autograd.Function):
    """A value that was made from x, with the gradient of x itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *g: Tensor) -> tuple[Tensor, None]:
        return g[0], None


class StraightThrough(TorchFunctionMode):
    """Inside of it, rounding has the gradient of the identity (BPDA, Athalye, Carlini and Wagner 2018), and not 0."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        value = func(*args, **(kwargs or {}))
        return Identity.apply(args[0], value) if func in ROUNDING and args and args[0].requires_grad else value


class Seen(NamedTuple):
    """What an attack gets to see of the images `rows` (B,) of a target at the points x' (B, C, H, W)."""

    rows: Tensor
    points: Tensor
    direction: Tensor
    """in which the images' margins grow fastest: unit vectors, float64 (B, C, H, W); 0 where it was not asked for"""
    classes: Tensor
    """the answer, int64 (B, top), likeliest class first"""
    hit: Tensor
    """whether the label is not in the answer, bool (B,)"""

    def only(self, which: Tensor) -> Seen:
        """The part of it for which `which` (B,), bool, holds."""
        return Seen(*(part[which] for part in self))


class Target:
    """A batch of images with labels (B,), as an attack sees them through what a row deploys.

    `model` is in evaluation mode; `noise` (B, m, C, H, W) holds each image's draws of η in pixel units, or zeros that
    broadcast, (B, 1, 1, 1, 1), for a single pass. A hit is an answer whose `top` classes do not contain the label. No
    more than `batch_size` draws of an image go through the model at once. `numbers` are the images' indices in the test
    set: with `seed` and `purpose` they key the directions that replace a gradient of 0.
    """

    def __init__(
        self,
        model: nn.Module,
        labels: Tensor,
        noise: Tensor,
        numbers: Sequence[int],
        *,
        seed: int,
        purpose: str,
        top: int,
        batch_size: int,
    ):
        self.model, self.labels, self.noise, self.numbers = model, labels, noise, numbers
        self.seed, self.purpose, self.top, self.batch_size = seed, purpose, top, batch_size

    def see(self, points: Tensor, rows: Tensor, look: str = "") -> Seen:
        """The images `rows` (B,) at `points`: one forward pass per draw and, for a direction, one backward pass.

        A `look` that has a name asks for the direction. Where the gradient is 0 it is a random one, keyed by the name.
        """
        leaf = points.detach().requires_grad_(bool(look))
        g, parts = torch.zeros_like(points), []
        for eta in self.noise[rows].split(self.batch_size, dim=1):
            with torch.set_grad_enabled(bool(look)):
                scores = self.scores(leaf, rows, eta)
                total = self.margins(scores, rows).sum()
            if total.requires_grad:
                (own,) = torch.autograd.grad(total, leaf, allow_unused=True)
                g += 0 if own is None else own
            parts.append(scores.detach())

        @torch.no_grad()
        def alone(close: Tensor) -> Tensor:
            ones = ((points[row : row + 1], rows[row : row + 1]) for row in close.tolist())
            return torch.cat([log_mean(self.scores(point, one, self.noise[one])) for point, one in ones])

        answer = settled(log_mean(torch.cat(parts, dim=1)), self.top, alone)
        classes = answer.sort(dim=1, descending=True, stable=True).indices[:, : self.top]
        direction = self.direction(g, rows, look) if look else g.double()
        return Seen(rows, points, direction, classes, (classes != self.labels[rows, None]).all(dim=1))

    def direction(self, g: Tensor, rows: Tensor, look: str) -> Tensor:
        """Each gradient divided by its norm, and a random direction in place of 0 and of what is not finite."""
        length = norm(g)
        for row in (~((length > 0) & length.isfinite())).flatten().nonzero().flatten().tolist():
            number = self.numbers[int(rows[row])]
            g[row] = next(draws(self.seed, f"{self.purpose}, {look}", number, 1, like=g[row]))[0]
        return unit(g)

    def scores(self, points: Tensor, rows: Tensor, eta: Tensor) -> Tensor:
        """log softmax(f(x' + η)), (B, m, K): the logits but for a constant, which no margin depends on.

        Of a single pass the logits themselves, whose differences the softmax would round.
        """
        noisy = (points[:, None] + eta).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        with StraightThrough():
            logits = self.model(noisy).unflatten(0, (len(points), -1))
        found: Tensor = logits if self.noise.shape[1] == 1 else logits.log_softmax(dim=-1)
        return found

    def margins(self, scores: Tensor, rows: Tensor) -> Tensor:
        """M for each draw, (B, m); for more than one `top`, of the label and the others from the `top`-th on."""
        label = self.labels[rows, None, None].expand(-1, scores.shape[1], 1)
        others = scores.scatter(2, label, -torch.inf).sort(dim=2, descending=True).values[..., self.top - 1 : -1]
        t = SOFTNESS * scores.detach().std(dim=2, keepdim=True)
        return t[..., 0] * (others / t).logsumexp(dim=2) - scores.gather(2, label)[..., 0]


def keyed_noise(x: Tensor, indices: list[int], m: int, *, sigma: float, seed: int, purpose: str) -> Tensor:
    """The `noise` of a Target for images (B, C, H, W): m draws of η ~ N(0, σ²I) each, keyed by index; 0: one pass."""
    if not m:
        return x.new_zeros(len(x), 1, 1, 1, 1)
    blocks = (draws(seed, purpose, index, m, like=image) for index, image in zip(indices, x, strict=True))
    return sigma * torch.stack([torch.cat(list(block)) for block in blocks])


def log_mean(log_p: Tensor) -> Tensor:
    """log of the mean over draws of exp(log_p): (B, m, K) → (B, K)."""
    return log_p.logsumexp(dim=1) - math.log(log_p.shape[1])


def bisected(hits: Callable[[Tensor, Tensor], Tensor], x: Tensor, x_adv: Tensor, found: Tensor) -> Tensor:
    """Hits x' moved towards x as far as halving the way to them goes on finding hits: (B, C, H, W).

    `hits(points, rows)` says which points (b, C, H, W), of the images `rows` (b,), are hits; images that were not
    `found` (B,) stay. Makes HALVINGS passes of each of the others.
    """
    nearest, rows = x_adv.clone(), found.nonzero().flatten()
    low = torch.zeros(len(rows), 1, 1, 1, dtype=torch.float64, device=x.device)
    high, way = torch.ones_like(low), x_adv[rows].double() - x[rows].double()
    for _ in range(HALVINGS if len(rows) else 0):
        middle = (low + high) / 2
        points = (x[rows] + middle * way).to(x.dtype)
        hit = hits(points, rows)
        nearest[rows[hit]] = points[hit]
        low = torch.where(hit.view(-1, 1, 1, 1), low, middle)
        high = torch.where(hit.view(-1, 1, 1, 1), middle, high)
    return nearest


def norm(images: Tensor) -> Tensor:
    """‖·‖₂ of each image, float64 (B, 1, 1, 1): gradients of a confident network are too small to square in float32."""
    found: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True, dtype=torch.float64)
    return found


def unit(images: Tensor) -> Tensor:
    """Each image divided by its norm, float64; 0 stays 0."""
    length = norm(images)
    return torch.where(length > 0, images / length, 0.0)


def distances(x_adv: Tensor, x: Tensor) -> list[float]:
    """‖x' − x‖₂ of each image, of the pixels as they are."""
    return norm(x_adv.double() - x.double()).flatten().tolist()
