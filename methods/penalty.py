"""The gradient penalty of HeatSmoothing: an estimate of ‖∇ₓv(x)‖²_F that never forms the Jacobian."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from suite.errors import UserError
from suite.networks.device import upload

Projections = Literal["gaussian", "orthogonal"]

PASS = 256  # images: more of them at once are slower on a CPU, where the activations outgrow its caches and its heap


def draw_projections(
    kind: Projections, kappa: int, batch: int, classes: int, *, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """The directions w_j in the space of the logits, (κ, B, K), with E[w_j w_jᵀ] = I/K.

    gaussian: w_j = g_j/√K, g_j ~ N(0, I_K), as in the paper. orthogonal: per image, κ ≤ K orthonormal directions drawn
    by Haar measure. Raises UserError for more orthogonal directions than classes.
    """
    draw = partial(torch.randn, generator=generator, device=generator.device, dtype=dtype)
    if kind == "gaussian":
        directions: Tensor = draw(kappa, batch, classes) / classes**0.5
        return directions
    if kappa > classes:
        raise UserError(
            f"there are no {kappa} orthogonal projections of {classes} logits: "
            f"take kappa ≤ {classes}, or projections=gaussian"
        )
    # on the CPU: a GPU would take so many small ones one after another
    q, r = (upload(part, generator.device) for part in torch.linalg.qr(draw(batch, classes, kappa).cpu()))
    # a QR routine chooses the signs of R's diagonal by itself; made positive, Q is Haar-distributed
    signs = r.diagonal(dim1=1, dim2=2).sign()
    found: Tensor = (q * signs[:, None]).permute(2, 0, 1)
    return found


def gradient_penalty(
    v: nn.Module,
    x: Tensor,
    vx: Tensor,
    *,
    kappa: int,
    delta: float,
    generator: torch.Generator,
    normalise: Literal["paper", "unbiased"] = "paper",
    projections: Projections = "gaussian",
) -> Tensor:
    """P(v, x) per image, shape (B,): the regulariser of "Adversarial Boot Camp", equations 16 to 18.

    x is (B, C, H, W) with requires_grad set, vx = v(x) its logits (B, K) with their graph. For the projections w_j of
    `draw_projections` and ĝ_j the normalised gradient of w_j·v at x (0 where that gradient is 0; eq. 18), treated as a
    constant::

        P = Σ_{j ≤ κ} ((w_j·v(x + δĝ_j) − w_j·v(x)) / δ)²

    E[P] = (κ/K)·‖∇v(x)‖²_F as δ → 0: unbiased at κ = K, and with `normalise="unbiased"` (×K/κ) at every κ. With κ = K
    orthogonal projections P is ‖∇v(x)‖²_F itself, not only on average. The one-sided difference errs by O(δ). Both
    terms of the difference carry gradient to v's weights; ĝ_j carries none.

    The projections are taken in groups, as many as make a pass of at most 256 images, at least one at a time: a
    group's vector-Jacobian products are one batched backward pass over the graph of vx (on a GPU, a pass each), and its
    points x + δĝ_j go through v as one batch. v(x) itself is computed once and its graph is used once by the backward
    pass of the loss.
    Where v's batch norm takes the statistics of its batch, each projection's points are a batch of their own, one
    projection after another: loss, gradient and running statistics are those of the pseudo-code, and P also sees how
    the statistics of x + δĝ_j differ from those of x.
    """
    batch, classes = vx.shape
    alone = mixes_images(v)
    w = draw_projections(projections, kappa, batch, classes, generator=generator, dtype=x.dtype)
    total = torch.zeros(batch, dtype=x.dtype, device=x.device)
    for group in w.split(max(1, PASS // batch)):
        g = products(vx, x, group.to(vx.dtype))
        norm = g.flatten(2).norm(dim=2).view(*g.shape[:2], *[1] * (x.ndim - 1))
        direction = torch.where(norm > 0, g / norm, torch.zeros_like(g))
        points = x.detach() + delta * direction
        passes = points.unbind() if alone else (points.flatten(0, 1),)
        if x.ndim == 4:
            passes = tuple(images.contiguous(memory_format=torch.channels_last) for images in passes)
        shifted = torch.cat([v(images) for images in passes]).view(group.shape)
        difference = (group * (shifted.to(x.dtype) - vx.to(x.dtype))).sum(dim=2) / delta
        total = total + difference.square().sum(dim=0)
    return total * classes / kappa if normalise == "unbiased" else total


def products(vx: Tensor, x: Tensor, directions: Tensor) -> Tensor:
    """The gradient of w·v at x for each w of `directions` (J, B, K): (J, *x.shape). The graph of vx stays."""
    if x.is_cuda:  # cuDNN's batch norm has no batched backward pass
        return torch.stack([torch.autograd.grad(vx, x, w, retain_graph=True)[0] for w in directions])
    return torch.autograd.grad(vx, x, directions, retain_graph=True, is_grads_batched=True)[0]


def mixes_images(v: nn.Module) -> bool:
    """Whether an image's logits depend on the rest of its batch: a batch norm takes the batch's statistics."""
    return any(layer.training or layer.running_mean is None for layer in v.modules() if isinstance(layer, _BatchNorm))
