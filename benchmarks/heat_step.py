"""One HeatSmoothing step against the plain loop of Algorithm 1: the same numbers, side by side, in one run.

The loop below is the paper's pseudo-code: a pass of x, for each projection a backward pass to x and a pass of x + δĝ,
and one backward pass in the end. Both draw the same projections and keep the same precision and memory layout. The
floor is the time of the passes that either needs, each timed by itself with nothing around it.

    python benchmarks/heat_step.py [--batch 32] [--kappa 10] [--repeats 5] [--arch resnet20]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.heat import Heat
from methods.penalty import draw_projections
from suite.models import build

CLASSES, SIGMA, DELTA = 10, 0.25, 0.1
TOLERANCE = {"fp32": 1e-3, "bf16": 0.1}  # relative, on loss and gradient: rounding is all that may differ


def loop_loss(method: Heat, model: nn.Module, x: Tensor, generator: torch.Generator) -> Tensor:
    """Algorithm 1 with D on the softmax outputs, one projection after another."""
    p = method.parameters
    model.train(not p.frozen_norm)
    with torch.no_grad():
        fx = method.f(x)
    x = x.detach().requires_grad_()
    vx = model(x)
    loss = 0.5 * (vx.softmax(1) - fx.softmax(1)).square().sum(1)
    for w in draw_projections("gaussian", p.kappa, len(x), CLASSES, generator=generator, dtype=x.dtype):
        projected = (w * vx).sum(1)
        (g,) = torch.autograd.grad(projected.sum(), x, retain_graph=True)
        direction = g / g.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        moved = (w * model(x.detach() + p.delta * direction)).sum(1)
        loss = loss + SIGMA**2 / 2 * ((moved - projected) / p.delta) ** 2
    return loss.mean()


def step(loss: Callable[[], Tensor], model: nn.Module, precision: str) -> tuple[float, float, Tensor]:
    """Seconds, loss and gradient of one step."""
    model.zero_grad()
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        value = loss()
    value.backward()
    took = time.perf_counter() - begun
    return took, value.item(), torch.cat([p.grad.flatten().float() for p in model.parameters() if p.grad is not None])


def floor(method: Heat, model: nn.Module, x: Tensor, precision: str) -> float:
    """Seconds for the bare passes: f(x); κ + 1 of v forward, and back to the weights; κ from v(x) back to x."""
    kappa = method.parameters.kappa
    model.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        begun = time.perf_counter()
        with torch.no_grad():
            method.f(x)
        target = time.perf_counter() - begun
        begun = time.perf_counter()
        model(x).sum().backward()
        training = time.perf_counter() - begun
        vx = model(x.detach().requires_grad_())
        leaf = x.detach().requires_grad_()
        vx = model(leaf)
        begun = time.perf_counter()
        torch.autograd.grad(vx.sum(), leaf)
        to_x = time.perf_counter() - begun
    return target + (kappa + 1) * training + kappa * to_x


def compare(arch: str, batch: int, kappa: int, repeats: int, precision: str, frozen: bool) -> None:
    """Print one row; the two must agree where batch norm does not mix the images of a batch."""
    torch.manual_seed(0)
    model = build(arch, CLASSES, (3, 32, 32), (0.5,) * 3, (0.25,) * 3)
    x = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        model.train()(x)  # statistics to freeze
    method = Heat(Heat.Parameters(kappa=kappa, delta=DELTA, noisy=0, frozen_norm=frozen), SIGMA)
    method.begin(model)
    with torch.no_grad():
        for p in model.parameters():
            p += 0.02 * torch.randn_like(p) * p.std(correction=0)  # v has left f, so that D has a gradient
    seconds: dict[str, list[float]] = {"ours": [], "loop": [], "floor": []}
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for number in range(repeats + 1):
        found = {}
        for name, loss in (
            ("ours", lambda g: method.loss(model, x, None, g)),
            ("loop", lambda g: loop_loss(method, model, x, g)),
        ):
            model.load_state_dict(state)
            generator = torch.Generator().manual_seed(number)
            took, value, gradient = step(lambda loss=loss, g=generator: loss(g), model, precision)
            seconds[name].append(took)
            found[name] = value, gradient
        seconds["floor"].append(floor(method, model, x, precision))
        if frozen:
            (value, gradient), (expected, exact) = found["ours"], found["loop"]
            assert abs(value - expected) <= TOLERANCE[precision] * abs(expected), (value, expected)
            assert (gradient - exact).norm() <= TOLERANCE[precision] * exact.norm(), (gradient - exact).norm()
    ours, loop, bare = (times[1:] for times in seconds.values())  # the first is a warm-up
    ratios = [a / b for a, b in zip(loop, ours, strict=True)]
    print(
        f"{precision:9} {'frozen' if frozen else 'training':10} {1e3 * statistics.median(ours):8.0f} "
        f"{1e3 * statistics.median(loop):8.0f} {1e3 * statistics.median(bare):8.0f}   "
        f"{statistics.median(ratios):5.2f}  ({min(ratios):.2f} – {max(ratios):.2f})",
        flush=True,
    )


def variance_table(arch: str, kappas: tuple[int, ...], images: int = 4, draws: int = 4_000) -> None:
    """Relative standard deviation of the unbiased penalty, in the limit δ → 0, from the exact Jacobian."""
    torch.manual_seed(0)
    model = build(arch, CLASSES, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).train()
    x = torch.rand(images, 3, 32, 32)
    with torch.no_grad():
        model(x)
    jacobian = torch.func.vmap(torch.func.jacrev(lambda image: model.eval()(image[None])[0]))(x).flatten(2).detach()
    print("\nrelative standard deviation of the unbiased penalty of one image")
    print(f"{'kappa':>6} {'gaussian':>10} {'orthogonal':>11}")
    for kappa in kappas:
        row = []
        for kind in ("gaussian", "orthogonal"):
            generator = torch.Generator().manual_seed(0)
            w = draw_projections(kind, kappa, draws, CLASSES, generator=generator, dtype=jacobian.dtype)
            penalty = torch.einsum("jdk,bkp->jdbp", w, jacobian).square().sum(dim=(0, 3)) * CLASSES / kappa
            row.append(float((penalty.std(dim=0) / jacobian.square().sum(dim=(1, 2))).mean()))
        print(f"{kappa:6} {row[0]:10.3f} {row[1]:11.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--arch", default="resnet20")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--kappa", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(f"{given.arch}, batch {given.batch}, kappa {given.kappa}, {torch.get_num_threads()} threads; milliseconds")
    print(f"{'precision':9} {'batch norm':10} {'ours':>8} {'loop':>8} {'floor':>8}   loop/ours")
    for precision in ("fp32", "bf16"):
        for frozen in (True, False):
            compare(given.arch, given.batch, given.kappa, given.repeats, precision, frozen)
    variance_table(given.arch, (2, 3, 5, 10))


if __name__ == "__main__":
    main()
