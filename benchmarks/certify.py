"""Certify's throughput, images × draws per second, side by side in one run.

(a) a loop as Cohen et al.'s published procedure has it: one image at a time, NCHW, float32, noise by torch.randn, in
batches of 1,000 (their program's default; --published-batch);
(b) ours in float32; (c) ours in bf16, only where the machine multiplies in it; (d) the floor: the bare forward passes
of the same folded network, in the same precision, on batches that lie ready.

    python benchmarks/certify.py [--arch resnet20] [--batch 256] [--n 1024] [--images 4] [--repeats 5] [--device cpu]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from statistics import median

import suite  # noqa: F401  before torch: it says how torch's threads wait

# isort: split
import torch
from torch import Tensor, nn

from suite.models import build, folded
from suite.profiles import fast_precision
from suite.protocols.certify import certificates
from suite.protocols.voting import Precision

SIGMA = 0.25


def published(model: nn.Module, images: Tensor, n: int, batch: int) -> Tensor:
    """SampleUnderNoise for one image after another: the counts of each."""
    counts = torch.zeros(len(images), 10, dtype=torch.int64)
    with torch.no_grad():
        for image, own in zip(images, counts, strict=True):
            left = n
            while left:
                size = min(batch, left)
                noise = torch.randn(size, *image.shape, device=image.device) * SIGMA
                own += torch.bincount(model(image.repeat(size, 1, 1, 1) + noise).argmax(1).cpu(), minlength=10)
                left -= size
    return counts


def ours(model: nn.Module, images: Tensor, n: int, batch: int, precision: Precision) -> None:
    stream = ((i, image, 0) for i, image in enumerate(images))
    settings = {"sigma": SIGMA, "n0": 1, "n": n, "alpha": 0.001, "deterministic": True}
    for _ in certificates(model, stream, **settings, precision=precision, batch_size=batch, device=images.device):  # type: ignore[arg-type]
        pass


@torch.inference_mode()
def bare(model: nn.Module, ready: Tensor, passes: int, precision: Precision) -> None:
    with torch.autocast(ready.device.type, torch.bfloat16, enabled=precision == "bf16"):
        for _ in range(passes):
            last = model(ready)
    last.sum().item()


def main() -> None:
    parser = argparse.ArgumentParser(description="Certify's throughput.")
    parser.add_argument("--arch", default="resnet20")
    parser.add_argument("--device", default="cpu")
    for name, default in (("batch", 256), ("published-batch", 1_000), ("n", 1_024), ("images", 4), ("repeats", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.manual_seed(0)
    device, draws = torch.device(given.device), given.images * given.n
    model = build(given.arch, 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).to(device)
    images = torch.rand(given.images, 3, 32, 32, device=device)
    many = images.repeat(16, 1, 1, 1)
    with torch.no_grad():
        model.train()(many)  # batch norm's statistics
        *_, bias = model.eval().parameters()
        bias -= model(many + SIGMA * torch.randn_like(many)).mean(dim=0)  # else one class leads everywhere by a little
    usual = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    fast = folded(model.eval(), images[0])
    ready = torch.rand(given.batch, 3, 32, 32, device=device).contiguous(memory_format=torch.channels_last)
    ways: dict[str, Callable[[], object]] = {
        "a: published loop, fp32": lambda: published(usual, images, given.n, given.published_batch)
    }
    for mark, precision in (("b", "fp32"), ("c", "bf16")):
        if precision in ("fp32", fast_precision()):
            ways[f"{mark}: ours, {precision}"] = lambda p=precision: ours(model, images, given.n, given.batch, p)  # type: ignore[misc]
            ways[f"d: floor, {precision}"] = lambda p=precision: bare(fast, ready, draws // given.batch, p)  # type: ignore[misc]
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.repeats + 1):
        for name, way in ways.items():
            begun = time.perf_counter()
            way()
            speeds[name].append(draws / (time.perf_counter() - begun))
    slow = speeds["a: published loop, fp32"][1:]  # the first of each is a warm-up
    where = f"{device.type}, {torch.get_num_threads()} threads"
    print(f"{given.arch}, batches of {given.batch}, {where}; medians of {given.repeats}")
    print(f"{'':26} {'draws/s':>9} {'/ (a)':>7} {'/ (d)':>7}")
    for name, found in speeds.items():
        floor = speeds[f"d: floor, {name.rpartition(' ')[2]}"][1:]
        beside = [median(x / y for x, y in zip(found[1:], other, strict=True)) for other in (slow, floor)]
        print(f"{name:26} {median(found[1:]):9.0f} {beside[0]:7.2f} {beside[1]:7.2f}")


if __name__ == "__main__":
    main()
