"""Projected gradient ascent (PGD) in an ℓ2 ball: in adversarial training, and as an attack up to its first success."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from suite.attacks.target import Seen, Target, norm


def pgd(
    loss: Callable[[Tensor], Tensor],
    x: Tensor,
    *,
    epsilon: float,
    steps: int,
    step_size: float,
    start: Tensor | None = None,
    clip_first: bool = False,
) -> Tensor:
    """Images within ε of x that raise the loss: ℓ2 PGD (Kurakin et al. 2017; Madry et al. 2018), its last iterate.

    x is (B, C, H, W) in pixels in [0,1]; ε and the step size α are ℓ2 norms in the same units. From x' = x, or from
    x' = x + `start`, `steps` times, with g = ∇loss(x') and ĝ = g/‖g‖₂ for each image (0 where g is 0)::

        x' ← clip(x + Π_ε(x' + αĝ − x), 0, 1),    Π_ε(δ) = δ · min(1, ε/‖δ‖₂)

    or, with `clip_first`, x' ← x + Π_ε(clip(x' + αĝ, 0, 1) − x), which takes what the clipping cut off out of the step
    before its length is measured. Either way x' is in the ball and in the box.

    `loss` gives what to ascend, summed or per image; an image's term must depend on that image alone, so the model
    behind it has to be in evaluation mode. Returns the x', detached: within ε of x up to rounding, and in [0,1]. Makes
    `steps` forward and backward passes and no random choice. Raises RuntimeError where the loss does not depend on x'.
    """
    x = x.detach()

    def norm(images: Tensor) -> Tensor:
        found: Tensor = torch.linalg.vector_norm(images, dim=(1, 2, 3), keepdim=True)
        return found

    def feasible(points: Tensor) -> Tensor:
        if clip_first:
            points = points.clamp(0, 1)
        delta = points - x
        length = norm(delta)
        return (x + delta * torch.where(length > epsilon, epsilon / length, 1.0)).clamp(0, 1)

    x_adv = x.clone() if start is None else feasible(x + start)
    for _ in range(steps):
        x_adv.requires_grad_()
        (g,) = torch.autograd.grad(loss(x_adv).sum(), x_adv)
        length = norm(g)
        direction = torch.where(length > 0, g / length, torch.zeros_like(g))
        x_adv = feasible(x_adv.detach() + step_size * direction)
    return x_adv


def first_success_pgd(
    target: Target, x: Tensor, seen: Seen, *, epsilon: Tensor, steps: int, name: str = "pgd"
) -> tuple[Tensor, Tensor]:
    """PGD (Kurakin et al. 2017; Madry et al. 2018) until the answer changes: (x', found), (B, C, H, W) and bool (B,).

    From `seen.points`, where a hit ends the search at once, `steps` times x' ← x' + (2ε/steps)·g/‖g‖₂, clipped to [0,1]
    and projected on the ball of radius ε (B,) around x. x' is the first hit of each image, x where there is none. An
    image leaves the batch with its first hit. `name` tells its looks from those of other searches.
    """
    x_adv, found = torch.where(seen.hit.view(-1, 1, 1, 1), seen.points, x), seen.hit.clone()
    left, now = (~seen.hit).nonzero().flatten(), seen.only(~seen.hit)
    for step in range(1, steps + 1):
        if not len(left):
            break
        radius, centre = epsilon[left].view(-1, 1, 1, 1), x[left]
        delta = (now.points + (2 / steps) * radius * now.direction).clamp(0, 1) - centre
        points = (centre + delta * (radius / norm(delta)).clamp(max=1)).to(x.dtype).clamp(0, 1)
        now = target.see(points, now.rows, f"{name} {step}" if step < steps else "")
        x_adv[left[now.hit]], found[left[now.hit]] = now.points[now.hit], True
        left, now = left[~now.hit], now.only(~now.hit)
    return x_adv, found
