"""Attacks on what a row deploys: perturbations of small ℓ2 norm that change the answer to an image.

f is a network, L(f(x), y) the cross-entropy of its softmax, δ a perturbation; the noise η₁, …, η_m is drawn once for
each image. Where a row deploys one pass, an attack steps along ∇L(f(x + δ), y) ("Adversarial Boot Camp", eq. 8). Where
it deploys a vote, it steps along Σᵢ ∇L(f(x + δ + ηᵢ), y) (eq. 9), and the answer is that of the average of softmax(f).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from suite.noise import draws
from suite.protocols.voting import settled

GAMMA = 0.05  # of DDN: by what the radius grows or shrinks in a step


class Seen(NamedTuple):
    """What an attack gets to see of the images `rows` (B,) of a target at the points x' (B, C, H, W)."""

    rows: Tensor
    points: Tensor
    gradient: Tensor
    """of the images' losses, (B, C, H, W); zero where it was not asked for"""
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
    more than `batch_size` draws of an image go through the model at once.
    """

    def __init__(self, model: nn.Module, labels: Tensor, noise: Tensor, *, top: int, batch_size: int):
        self.model, self.labels, self.noise, self.top, self.batch_size = model, labels, noise, top, batch_size

    def see(self, points: Tensor, rows: Tensor, *, gradient: bool = True) -> Seen:
        """The images `rows` (B,) at `points`: one forward pass per draw and, with `gradient`, one backward pass."""
        leaf = points.detach().requires_grad_(gradient)
        g, parts = torch.zeros_like(points), []
        for eta in self.noise[rows].split(self.batch_size, dim=1):
            with torch.set_grad_enabled(gradient):
                log_p = self.log_p(leaf, rows, eta)
                if gradient:
                    g += torch.autograd.grad(self.loss(log_p, rows), leaf)[0]
            parts.append(log_p.detach())

        @torch.no_grad()
        def alone(close: Tensor) -> Tensor:
            ones = ((points[row : row + 1], rows[row : row + 1]) for row in close.tolist())
            return torch.cat([log_mean(self.log_p(point, one, self.noise[one])) for point, one in ones])

        classes = settled(log_mean(torch.cat(parts, dim=1)), self.top, alone).topk(self.top).indices
        return Seen(rows, points, g, classes, (classes != self.labels[rows, None]).all(dim=1))

    def log_p(self, points: Tensor, rows: Tensor, eta: Tensor) -> Tensor:
        """log softmax(f(x' + η)), (B, m, K)."""
        noisy = (points[:, None] + eta).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.model(noisy).unflatten(0, (len(points), -1)).log_softmax(dim=-1)

    def loss(self, log_p: Tensor, rows: Tensor) -> Tensor:
        """The sum over images and draws whose gradient is eq. 9; with one draw without noise, eq. 8."""
        return -log_p.gather(2, self.labels[rows, None, None].expand(-1, log_p.shape[1], 1)).sum()


def keyed_noise(x: Tensor, indices: list[int], m: int, *, sigma: float, seed: int, purpose: str) -> Tensor:
    """The `noise` of a Target for images (B, C, H, W): m draws of η ~ N(0, σ²I) each, keyed by index; 0: one pass."""
    if not m:
        return x.new_zeros(len(x), 1, 1, 1, 1)
    blocks = (draws(seed, purpose, index, m, like=image) for index, image in zip(indices, x, strict=True))
    return sigma * torch.stack([torch.cat(list(block)) for block in blocks])


def log_mean(log_p: Tensor) -> Tensor:
    """log of the mean over draws of exp(log_p): (B, m, K) → (B, K)."""
    return log_p.logsumexp(dim=1) - math.log(log_p.shape[1])


def first_success_pgd(target: Target, x: Tensor, seen: Seen, *, epsilon: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """PGD (Kurakin et al. 2017; Madry et al. 2018) until the answer changes: (x', found), (B, C, H, W) and bool (B,).

    From `seen.points`, where a hit ends the search at once, `steps` times x' ← x' + (2ε/steps)·g/‖g‖₂, clipped to [0,1]
    and projected on the ball of radius ε (B,) around x. x' is the first hit of each image, x where there is none. An
    image leaves the batch with its first hit.
    """
    x_adv, found = torch.where(seen.hit.view(-1, 1, 1, 1), seen.points, x), seen.hit.clone()
    left, now = (~seen.hit).nonzero().flatten(), seen.only(~seen.hit)
    for step in range(1, steps + 1):
        if not len(left):
            break
        radius, centre = epsilon[left].view(-1, 1, 1, 1), x[left]
        delta = (now.points + (2 / steps) * radius * unit(now.gradient)).clamp(0, 1) - centre
        points = (centre + delta * (radius / norm(delta)).clamp(max=1)).to(x.dtype).clamp(0, 1)
        now = target.see(points, now.rows, gradient=step < steps)
        x_adv[left[now.hit]], found[left[now.hit]] = now.points[now.hit], True
        left, now = left[~now.hit], now.only(~now.hit)
    return x_adv, found


def ddn(
    target: Target,
    x: Tensor,
    seen: Seen,
    *,
    epsilon: Tensor,
    steps: int,
    max_norm: float = math.inf,
    levels: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Decoupled direction and norm (Rony et al. 2019, Algorithm 1): (x', found), (B, C, H, W) and bool (B,).

    δ ← δ + αg/‖g‖₂, α falling from 1 to 0.01 along a cosine, scaled to the norm ε, which is `epsilon` (B,) at first and
    shrinks by γ after a hit, else grows; x + δ is rounded to `levels` values per pixel and clipped to [0,1]. `seen`, at
    x, is the first of `steps` looks at the model. x' is the hit nearest to x, x where there is none. ε stays within
    `max_norm` and the distance of the farthest image. An image with a hit at x is left alone.
    """
    x_adv, found = x.clone(), seen.hit.clone()
    left, now = (~seen.hit).nonzero().flatten(), seen.only(~seen.hit)
    centre = x[left]
    limit = norm(torch.maximum(centre, 1 - centre)).clamp(max=max_norm)
    norms, best = epsilon[left].view(-1, 1, 1, 1), torch.full_like(limit, math.inf)
    for step in range(steps - 1 if len(left) else 0):
        alpha = 0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2
        norms = (norms * torch.where(now.hit, 1 - GAMMA, 1 + GAMMA).view(-1, 1, 1, 1)).minimum(limit)
        points = centre + norms * unit(now.points - centre + alpha * unit(now.gradient))
        if levels:
            points = (points * (levels - 1)).round() / (levels - 1)
        now = target.see(points.to(x.dtype).clamp(0, 1), now.rows, gradient=step + 2 < steps)
        length = norm(now.points - centre)
        nearer = now.hit & (length < best).flatten()
        best[nearer] = length[nearer]
        x_adv[left[nearer]], found[left[nearer]] = now.points[nearer], True
    return x_adv, found


def norm(images: Tensor) -> Tensor:
    """‖·‖₂ of each image, float64 (B, 1, 1, 1): gradients of a confident network are too small to square in float32."""
    return torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True, dtype=torch.float64)


def unit(images: Tensor) -> Tensor:
    """Each image divided by its norm, float64; 0 stays 0."""
    length = norm(images)
    return torch.where(length > 0, images / length, 0.0)


def distances(x_adv: Tensor, x: Tensor) -> list[float]:
    """‖x' − x‖₂ of each image, of the pixels as they are."""
    return norm(x_adv.double() - x.double()).flatten().tolist()
