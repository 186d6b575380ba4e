"""Margin certificates: how far an image can move before one pass of a Lipschitz network can change its answer.

Let F be the features that the linear head gets, ‖F(x) − F(y)‖₂ ≤ L‖x − y‖₂ for images x and y, and u = WF(x) + c the
logits. Then u_A − u_j changes by at most L‖w_A − w_j‖₂‖δ‖₂ under a perturbation δ, so that the answer A stays for

    ‖δ‖₂ < R = min over j ≠ A of (u_A − u_j − e) / (L‖w_A − w_j‖₂)

(Tsuzuku, Sato and Sugiyama 2018, with the rows of the head as in Hu et al. 2023). Here u and R are computed in float64
from the weights as they are, and e is an allowance for the rounding of the float32 pass, which is what is deployed.
"""

from __future__ import annotations

import copy
import math
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from suite.errors import UserError

FACTOR = 32  # e is at least this many times the largest rounding error that is measured
POINTS = 64  # images at which it is measured
STEPS, TOLERANCE = 20, 1e-3  # of the search for a larger slope than the bound, and what is left to rounding


@runtime_checkable
class Bounded(Protocol):
    """A network that declares a bound: `lipschitz_bound()` is L above, for images as the network itself gets them.

    `head` is its last layer, an nn.Linear, and F what that layer gets.
    """

    head: nn.Linear

    def lipschitz_bound(self) -> float: ...


def bounded_network(model: nn.Module) -> Bounded:
    """The network in a model. Raises UserError unless it declares a bound and has a linear head."""
    network = model.get_submodule("network")
    if not callable(getattr(network, "lipschitz_bound", None)):
        raise UserError(
            f"a margin certificate needs a network that declares a Lipschitz bound, and {type(network).__name__} has "
            "no lipschitz_bound(): take one of the lipschitz architectures, or certify a vote"
        )
    head = getattr(network, "head", None)
    if not isinstance(head, nn.Linear):
        said = f"is a {type(head).__name__}" if head is not None else "is not there"
        raise UserError(f"a margin certificate needs a linear head: `head`, the last layer of the network, {said}")
    return cast(Bounded, network)


def head_of(model: nn.Module) -> nn.Linear:
    """The last layer of a model that declares a bound."""
    return bounded_network(model).head


def lipschitz_bound(model: nn.Module) -> float:
    """L of a model's features for pixels in [0,1]: that of its network, over the least divisor of its first layer.

    Raises UserError where there is none, where it is no positive number, or where weights are not finite.
    """
    for name, tensor in model.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise UserError(f"the weights of the model are not finite ({name}), so nothing can be certified")
    declared = float(bounded_network(model).lipschitz_bound())
    if not (math.isfinite(declared) and declared > 0):
        raise UserError(f"the network declares a Lipschitz bound of {declared}; it has to be a positive number")
    return declared / float(model.get_submodule("normalize").get_buffer("std").double().min())


def features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the head gets, (B, features), and the logits, (B, K), of images x (B, C, H, W).

    Raises UserError where the logits are not what the head gives.
    """
    seen: list[tuple[Tensor, Tensor]] = []
    hook = head_of(model).register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    try:
        logits = model(x)
    finally:
        hook.remove()
    if len(seen) != 1 or seen[0][1].shape != logits.shape or not torch.equal(seen[0][1], logits):
        raise UserError("a margin certificate needs logits that are what the network's `head` gives, and nothing else")
    return seen[0][0], logits


def check_bound(model: nn.Module, x: Tensor) -> float:
    """The largest ‖F(y) − F(z)‖/‖y − z‖ found, from images x (B, C, H, W): at most the bound, else a UserError.

    Gradient ascent at fixed distances: near 0 that is the power iteration for the Jacobian's largest singular value.
    """
    bound, largest = lipschitz_bound(model), 0.0
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(x.shape, generator=generator).to(x)
    with torch.no_grad():
        at_x = features(model, x)[0]
    for length in (0.05, 1.0):
        delta = start
        for _ in range(STEPS):
            norms = torch.linalg.vector_norm(delta, dim=(1, 2, 3), keepdim=True)
            delta = (delta * (length / norms.clamp(min=1e-30))).detach().requires_grad_()
            moved = torch.linalg.vector_norm((features(model, x + delta)[0] - at_x).flatten(1), dim=1)
            largest = max(largest, float(moved.detach().max()) / length)
            (delta,) = torch.autograd.grad(moved.square().sum(), delta)
    if largest > bound * (1 + TOLERANCE):
        raise UserError(
            f"the network declares a Lipschitz bound of {bound:.4g} for pixels in [0,1], but an attack moves its "
            f"features {largest:.4g} times as far as the image: its certificates would not hold"
        )
    return largest


def exact(model: nn.Module) -> nn.Module:
    """A copy that computes in float64, from the same weights."""
    return copy.deepcopy(model).double()


@torch.inference_mode()
def rounding_allowance(model: nn.Module, twin: nn.Module, shape: tuple[int, ...]) -> float:
    """e: FACTOR times the largest error of u_A − u_j in float32, rounded up to a power of two.

    Measured against the `twin` in float64 at images of `shape` (C, H, W) that make larger numbers than photographs do:
    of pixels 0 and 1 at random, of one colour, and of random pixels.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(POINTS, *shape, generator=generator)
    pixels[1::2] = pixels[1::2].round()
    pixels[2::4] = pixels[2::4, :, :1, :1].round()
    x = pixels.to(next(model.parameters()).device).contiguous(memory_format=torch.channels_last)
    error = model(x).double() - twin(x.double())
    largest = float((error.amax(dim=1) - error.amin(dim=1)).max())
    return 2.0 ** math.ceil(math.log2(max(FACTOR * largest, 2.0**-100)))


@torch.inference_mode()
def margin_radii(u: Tensor, classes: Tensor, head: nn.Linear, bound: float, allowance: float) -> Tensor:
    """R of each image, float64 (B,), 0 where nothing is certified: within it the k `classes` (B, k) lead in float32.

    `u` (B, K) are the logits in float64, `bound` is L for pixels in [0,1], and `allowance` is e.
    """
    distance = bound * torch.cdist(
        head.weight.double(), head.weight.double(), compute_mode="donot_use_mm_for_euclid_dist"
    )
    inside = torch.zeros_like(u, dtype=torch.bool).scatter(1, classes, True)
    ours = u.gather(1, classes)
    gap = ours[:, :, None] - u[:, None, :] - allowance  # (B, k, K)
    allowed = distance[classes]
    radius = torch.where(gap > 0, gap / allowed.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    found: Tensor = radius.masked_fill(inside[:, None, :], torch.inf).amin(dim=(1, 2))
    return found
