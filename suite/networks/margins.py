"""Margin certificates: how far an image can move before one pass of a Lipschitz network can change its answer.

Let F be the features that the linear head gets, ‖F(x) − F(y)‖₂ ≤ L‖x − y‖₂ for images x and y, and u = WF(x) + c the
logits. Then u_A − u_j changes by at most L‖w_A − w_j‖₂‖δ‖₂ under a perturbation δ, so that the answer A stays for

    ‖δ‖₂ < R = min over j ≠ A of (u_A − u_j − e) / (L‖w_A − w_j‖₂)

(Tsuzuku, Sato and Sugiyama 2018, with the rows of the head as in Hu et al. 2023). Here u and R are computed in float64
from the weights as they are, and e is an allowance for the rounding of the float32 pass, which is what is deployed. L
is proven for the suite's own layers; of other networks it is what they declare, which an attack tries to refute.
"""

from __future__ import annotations

import copy
import math
from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from suite.errors import UserError, first_line
from suite.networks.lipschitz import SLL, LipschitzNetwork, Pool, Unshuffle, Widen

FACTOR = 32  # e is at least this many times the largest rounding error that is measured
POINTS = 64  # images at which it is measured
PROVEN = (SLL, Unshuffle, Widen, Pool)
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
    network = bounded_network(model)
    try:
        declared = float(network.lipschitz_bound())
    except Exception as error:  # of other people's code
        raise UserError(f"the network's lipschitz_bound() gives no number: {first_line(error)}") from error
    if not (math.isfinite(declared) and declared > 0):
        raise UserError(f"the network declares a Lipschitz bound of {declared}; it has to be a positive number")
    least = float(model.get_submodule("normalize").get_buffer("std").double().abs().min())
    if not least:
        raise UserError("the first layer divides by a standard deviation of 0, so nothing can be certified")
    return declared / least


def is_proven(model: nn.Module) -> bool:
    """Whether the bound of a model's network is proven: that of the suite's own layers is, in their docstrings."""
    network = model.get_submodule("network")
    return type(network) is LipschitzNetwork and all(type(layer) in PROVEN for layer in network.layers)


def features(model: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the head gets, (B, features), and WF(x) + c, (B, K), of images x (B, C, H, W).

    Raises UserError where the model fails, or where its logits are not what a linear head of those features gives.
    """
    seen: list[Tensor] = []
    head = head_of(model)
    hook = head.register_forward_hook(lambda _, inputs, output: seen.append(inputs[0].clone()))
    try:
        logits = model(x)
    except RuntimeError as error:
        raise UserError(f"the model does not compute in {x.dtype}: {first_line(error)}") from error
    finally:
        hook.remove()
    if len(seen) == 1 and seen[0].dim() == 2:
        u = seen[0] @ head.weight.T + (0 if head.bias is None else head.bias)
        if u.shape == logits.shape and torch.allclose(u, logits, rtol=1e-4, atol=1e-4):
            return seen[0], u
    raise UserError(
        "a margin certificate needs logits that are what the network's `head` gives, linear, and nothing else"
    )


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

    `u` (B, K) are the logits in float64, `bound` is L for pixels in [0,1], and `allowance` is e. Two classes
    with the same row of the head are as far apart as they are everywhere: such a pair is decided by its logits alone.
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
