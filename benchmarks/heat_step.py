"""One HeatSmoothing step against the plain loop of Algorithm 1: the same numbers, side by side, in one run.

"loop" is the straightforward one: for each projection a pass of x, a backward pass to x and a pass of x + δĝ, and one
backward pass through it all in the end. "kept" is the loop that computes v(x) once, keeps its graph and takes a
backward pass to x from it for each projection. Ours keeps v(x) too, and takes the projections together: their backward
passes to x always, their passes of x + δĝ where batch norm is frozen. All draw the same projections, in the same
precision and memory layout, and must agree in loss and gradient. The floor is the time of the passes that ours and
"kept" need, each timed by itself with nothing around it: what no order of those passes can beat.

    python benchmarks/heat_step.py [--batch 16] [--kappa 10] [--repeats 5] [--arch resnet20]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from statistics import median

import suite  # noqa: F401  before torch: it says how torch's threads wait

# isort: split
import torch
from torch import Tensor, nn

from methods.heat import Heat
from methods.method import Step
from methods.penalty import Projections, draw_projections
from suite.networks.architectures import build
from suite.spec.profiles import fast_precision

CLASSES, SIGMA, DELTA = 10, 0.25, 0.1
KINDS: tuple[Projections, ...] = ("gaussian", "orthogonal")


def loop_loss(method: Heat, model: nn.Module, x: Tensor, generator: torch.Generator, *, keep: bool) -> Tensor:
    """Algorithm 1 with D on the softmax outputs, one projection after another; v(x) once, or anew for each."""
    p = method.parameters
    model.train(not p.frozen_norm)
    with torch.no_grad():
        fx = method.f(x)
    x = x.detach().requires_grad_()
    vx = model(x)
    loss: Tensor = 0.5 * (vx.softmax(1) - fx.softmax(1)).square().sum(1)
    for w in draw_projections("gaussian", p.kappa, len(x), CLASSES, generator=generator, dtype=x.dtype):
        projected = (w * (vx if keep else model(x))).sum(1)
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
    return took, value.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def floor(method: Heat, model: nn.Module, x: Tensor, precision: str) -> float:
    """Seconds for the bare passes: f(x); κ + 1 of v forward and back to the weights; κ from v(x) back to x."""
    model.zero_grad()
    leaf = x.detach().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        times = [time.perf_counter()]
        with torch.no_grad():
            method.f(x)
        times.append(time.perf_counter())
        model(x).sum().backward()
        times.append(time.perf_counter())
        vx = model(leaf).sum()
        times.append(time.perf_counter())
        torch.autograd.grad(vx, leaf)
        times.append(time.perf_counter())
    target, training, _, to_x = (after - before for before, after in pairwise(times))
    kappa = method.parameters.kappa
    return target + (kappa + 1) * training + kappa * to_x


def compare(
    arch: str, shape: tuple[int, int, int], batch: int, kappa: int, repeats: int, precision: str, frozen: bool
) -> None:
    """Print one row."""
    torch.manual_seed(0)
    model = build(arch, CLASSES, shape, (0.5,) * shape[0], (0.25,) * shape[0])
    x = torch.rand(batch, *shape).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        model.train()(x)  # statistics to freeze
    method = Heat(
        Heat.Parameters.model_validate({"kappa": kappa, "delta": DELTA, "noisy": 0, "frozen_norm": frozen}), SIGMA
    )
    method.begin(model)
    with torch.no_grad():
        for p in model.parameters():  # v has left f, so that D has a gradient
            p.add_(0.02 * torch.randn_like(p) * p.std(correction=0))
    steps = {
        "ours": lambda seed: method.loss(model, x, None, Step(torch.Generator().manual_seed(seed))),
        "loop": lambda seed: loop_loss(method, model, x, torch.Generator().manual_seed(seed), keep=False),
        "kept": lambda seed: loop_loss(method, model, x, torch.Generator().manual_seed(seed), keep=True),
    }
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for name in ("loop", "kept"):
        agree(steps["ours"], steps[name], model, precision)
    seconds: dict[str, list[float]] = {name: [] for name in (*steps, "floor")}
    for seed in range(repeats + 1):
        for name in steps:
            model.load_state_dict(state)
            seconds[name].append(step(lambda name=name, seed=seed: steps[name](seed), model, precision)[0])  # type: ignore[misc]
        seconds["floor"].append(floor(method, model, x, precision))
    ours, loop, kept, bare = (times[1:] for times in seconds.values())  # the first is a warm-up
    figures = " ".join(f"{1e3 * median(times):8.1f}" for times in (ours, loop, kept, bare))
    norm = "frozen" if frozen else "training"
    ratios = "   ".join(ratio(their, ours) for their in (loop, kept, bare))
    print(f"{arch:9} {batch:5} {precision:9} {norm:10} {figures}   {ratios}", flush=True)


def ratio(theirs: list[float], ours: list[float]) -> str:
    """The median of the ratios side by side, and their range."""
    ratios = [their / own for their, own in zip(theirs, ours, strict=True)]
    return f"{median(ratios):4.2f} ({min(ratios):.2f} – {max(ratios):.2f})"


def agree(ours: Callable[[int], Tensor], loop: Callable[[int], Tensor], model: nn.Module, precision: str) -> None:
    """Same loss and gradient as a loop; in bf16, as near to the loop's in fp32 as the loop in bf16 is.

    Both are finite differences of rounded numbers, so that their gradients agree to about 10⁻³ in fp32; the tests
    compare them in float64.
    """
    (_, value, own), (_, expected, theirs) = (step(partial(loss, 0), model, precision) for loss in (ours, loop))
    assert abs(value - expected) <= 1e-4 * abs(expected), (value, expected)
    if precision == "fp32":
        assert (own - theirs).norm() <= 5e-3 * theirs.norm(), float((own - theirs).norm() / theirs.norm())
    else:
        exact = step(lambda: loop(0), model, "fp32")[2]
        assert (own - exact).norm() <= 1.1 * (theirs - exact).norm(), float((own - exact).norm() / exact.norm())


def variance_table(arch: str, kappas: tuple[int, ...], images: int = 4, draws: int = 4_000) -> None:
    """Relative standard deviation of the unbiased penalty, in the limit δ → 0, from the exact Jacobian."""
    torch.manual_seed(0)
    model = build(arch, CLASSES, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).train()
    x = torch.rand(images, 3, 32, 32)
    with torch.no_grad():
        model(x)
    model.eval()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda image: model(image[None])[0]))(x).flatten(2).detach()
    gram = jacobian @ jacobian.mT
    print("\nrelative standard deviation of one image's penalty (unbiased, δ → 0)")
    print(f"{'kappa':>6} {'gaussian':>10} {'orthogonal':>11}")
    for kappa in kappas:
        spread = []
        for kind in KINDS:
            generator = torch.Generator().manual_seed(0)
            w = draw_projections(kind, kappa, draws, CLASSES, generator=generator, dtype=gram.dtype)
            penalty = torch.einsum("jdk,bkl,jdl->db", w, gram, w) * CLASSES / kappa
            spread.append(float((penalty.std(dim=0) / gram.diagonal(dim1=1, dim2=2).sum(dim=1)).mean()))
        print(f"{kappa:6} {spread[0]:10.3f} {spread[1]:11.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="One HeatSmoothing step against the plain loop of Algorithm 1.")
    parser.add_argument("--arch", default="resnet20")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--kappa", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print(f"kappa {given.kappa}, {torch.get_num_threads()} threads; milliseconds a step, medians of {given.repeats}")
    heads = " ".join(f"{name:>8}" for name in ("ours", "loop", "kept", "floor"))
    print(f"{'arch':9} {'batch':>5} {'precision':9} {'batch norm':10} {heads}   loop/ours  kept/ours  floor/ours")
    for precision in dict.fromkeys(("fp32", fast_precision())):
        for frozen in (True, False):
            compare(given.arch, (3, 32, 32), given.batch, given.kappa, given.repeats, precision, frozen)
    compare("cnn", (1, 8, 8), 8, given.kappa, 10 * given.repeats, "fp32", False)  # the demo's recipe
    variance_table(given.arch, (2, 3, 5, 10))


if __name__ == "__main__":
    main()
