"""What a certificate costs on a CUDA device: noisy passes a second, beside Cohen et al.'s loop and beside bare passes.

A network for CIFAR-10 is trained for an epoch first, so that near ties are as frequent as they are; one for images of
224 pixels has random weights, and a head that gives one class about nine tenths of the answers. Side by side:

- Cohen et al.'s procedure as they published it (one image at a time, NCHW, fp32 with the device's TF32), at its best
  of several batch sizes;
- ours, by `certificates`, in bf16 and fp32: fixed and adaptive sampling;
- floors: bare passes of the same folded network over a batch that lies ready, at its best batch size: step by step,
  and replayed as a graph.

    python benchmarks/gpu.py [--arch resnet110] [--data-root DIR] [--training] [--n 100000] [--images 4] [--out FILE]
    python benchmarks/gpu.py --arch resnet50 --large
"""

from __future__ import annotations

import argparse
import copy
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from suite import data
from suite.networks.architectures import build
from suite.networks.folding import folded
from suite.pipeline import Machine, obtain
from suite.smoothing.certificates import certificates
from suite.smoothing.voting import TIE, Precision, near_ties
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.training import train

CUDA = torch.device("cuda")
RADII = tuple(0.25 * step for step in range(1, 5))
TYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16}


say = partial(print, flush=True)


def seconds(work: Callable[[], Any], times: int = 1) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


@torch.no_grad()
def bare(network: nn.Module, image: Tensor, batch: int, dtype: torch.dtype) -> tuple[float, float]:
    """Passes a second over a batch that lies ready: step by step, and as a graph."""
    fast = copy.deepcopy(network).to(dtype).to(memory_format=torch.channels_last)
    x = image[None].repeat(batch, 1, 1, 1).to(dtype).contiguous(memory_format=torch.channels_last)
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                fast(x)
        torch.cuda.current_stream().wait_stream(side)
        with torch.cuda.graph(graph):
            fast(x)
        found = []
        for step in (lambda: fast(x), graph.replay):
            step()
            passes = max(1, round(0.15 / seconds(step)))
            found.append(passes * batch / median(seconds(step, passes) for _ in range(3)))
    return found[0], found[1]


def plain_training(model: nn.Module, batch: int, steps: int) -> float:
    """Images a second of a bare loop: forward, backward and SGD in bf16's autocast, on a batch that lies ready."""
    model = copy.deepcopy(model).train()
    x = torch.rand(batch, 3, 32, 32, device=CUDA).contiguous(memory_format=torch.channels_last)
    y, optimizer = torch.randint(10, (batch,), device=CUDA), torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    step()
    return batch / (seconds(step, steps) / steps)


def own_training(model: nn.Module, dataset: data.Dataset, spec: ModelSpec, steps: int) -> float:
    """Images a second of `suite.training`, data and augmentation and all, by the difference of two trainings."""

    def fit(epochs: float, place: str) -> Callable[[], object]:
        settings = spec.training.model_copy(update={"epochs": epochs})
        chosen, method = spec.model_copy(update={"training": settings}), spec.build_method()
        network = copy.deepcopy(model)
        method.begin(network)
        return lambda: train(network, method, dataset, chosen, checkpoint=Path(place) / str(epochs), device=CUDA)

    epoch = len(dataset.train) // spec.training.batch_size
    with tempfile.TemporaryDirectory() as place:
        few, many = (seconds(fit(count / epoch, place)) for count in (steps // 4, steps + steps // 4))
    return steps * spec.training.batch_size / (many - few)


@torch.no_grad()
def published(model: nn.Module, image: Tensor, sigma: float, n: int, batch: int) -> float:
    """Draws a second of SampleUnderNoise."""

    def sample() -> None:
        counts, left = torch.zeros(1000, dtype=torch.int64), n
        while left:
            size = min(batch, left)
            left -= size
            repeated = image.repeat(size, 1, 1, 1)
            answers = model(repeated + torch.randn_like(repeated) * sigma).argmax(1)
            counts += torch.bincount(answers.cpu(), minlength=1000)

    sample()
    return n / seconds(sample)


def ours(model: nn.Module, images: Tensor, *, n: int, batch: int, **settings: Any) -> tuple[float, float, float]:
    """Of certificates, without the time to set them up: draws a second, certificates a second; and the set-up in s."""

    def certify(some: Tensor, draws: int) -> list[dict[str, Any]]:
        examples = [(index, image, 0) for index, image in enumerate(some)]
        return list(
            certificates(model, examples, n0=100, n=draws, alpha=0.001, batch_size=batch, device=CUDA, **settings)
        )

    certify(images[:1], 1_000)
    once = seconds(lambda: certify(images[:1], 1_000))
    made: list[dict[str, Any]] = []
    took = seconds(lambda: made.extend(certify(images, n))) - once
    return sum(record["draws"] + 100 for record in made) / took, len(made) / took, once


def subject(given: argparse.Namespace, place: Path) -> tuple[nn.Module, Tensor]:
    """The network on the device, and images (N, C, H, W) on the CPU."""
    count = 3 * given.images
    if not given.large:
        settings: dict[str, Any] = {
            "sigma": given.sigma,
            "arch": given.arch,
            "profile": "quick",
            "epochs": given.epochs,
        }
        spec = RunSpec(method="randomized-smoothing", dataset="cifar10", **settings)
        dataset = data.load("cifar10", given.data_root, download=False)
        spec = spec.on(dataset.fingerprint)
        model = obtain(spec.model, dataset, Machine(runs=place, device="cuda")).to(CUDA).eval()
        if given.training:
            plain = plain_training(model, spec.training.batch_size, 60)
            own = own_training(model, dataset, spec.model, 60)
            say(f"training: {own:.0f} images/s, {own / plain:.2f} of a bare loop's on one batch that lies ready")
        return model, dataset.test[torch.arange(count)].float() / 255
    torch.manual_seed(0)
    model = build(given.arch, 1000, (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).to(CUDA).eval()
    images = torch.rand(count, 3, 28, 28).repeat_interleave(8, 2).repeat_interleave(8, 3)
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        views = images.repeat(-(-64 // count), 1, 1, 1)
        logits = model((views + given.sigma * torch.randn_like(views)).to(CUDA))
        head.bias.sub_(logits.mean(dim=0))
        logits -= logits.mean(dim=0)
        gaps = logits[:, 1:].amax(dim=1) - logits[:, 0]
        head.bias[0] += gaps.quantile(0.9)
    return model, images


def main() -> None:
    parser = argparse.ArgumentParser(description="Certify on a CUDA device.")
    parser.add_argument("--arch", default="resnet110")
    parser.add_argument("--large", action="store_true", help="images of 224 pixels, random weights")
    parser.add_argument("--training", action="store_true", help="measure training too")
    parser.add_argument("--batches", help="sizes to try, as 1024,4096")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    for name, default in (("sigma", 0.25), ("epochs", 1.0)):
        parser.add_argument(f"--{name}", type=float, default=default)
    for name, default in (("n", 100_000), ("images", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    if not torch.cuda.is_available():
        say("no CUDA device here: nothing to measure")
        return
    torch.backends.cudnn.deterministic = True
    with tempfile.TemporaryDirectory() as place:
        model, images = subject(given, Path(place))
    device, usual = images[0].to(CUDA), copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    usual_sizes = "64,128,256,512" if given.large else "512,1024,2048,4096"
    sizes = tuple(map(int, (given.batches or usual_sizes).split(",")))
    fast = folded(model, device)
    figures: dict[str, Any] = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "arch": given.arch}

    few = given.n // (20 if given.large else 5)
    cohen = {size: published(usual, device, given.sigma, few, size) for size in sizes}
    figures["cohen"] = cohen
    best = max(cohen.values())
    torch.backends.cudnn.allow_tf32 = False
    with torch.no_grad():
        noisy = device + given.sigma * torch.randn(256, *device.shape, device=CUDA)
        share = len(near_ties(fast(noisy), 1, TIE["bf16"])) / 256
    say(
        f"{given.arch} on {figures['device']}, torch {torch.__version__}; "
        f"near ties in bf16: {share:.1%} of one image's draws"
    )
    say(f"Cohen et al.'s loop: {best:9.0f} draws/s at its best, by batch: {rounded(cohen)}")
    for precision in ("bf16", "fp32"):
        floors = {size: bare(fast, device, size, TYPES[precision]) for size in sizes}
        size = max(floors, key=lambda size: floors[size][1])
        step, graph = max(step for step, _ in floors.values()), floors[size][1]
        fixed = ours(model, images[: given.images], n=given.n, batch=size, sigma=given.sigma, precision=precision)
        adaptive = ours(model, images, n=given.n, batch=size, sigma=given.sigma, precision=precision, radii=RADII)
        say(f"{precision}: bare passes {step:9.0f}/s step by step, {graph:9.0f}/s as a graph, batches of {size}")
        for name, (draws, rate, once) in (("fixed", fixed), ("adaptive", adaptive)):
            say(
                f"{precision}: ours, {name:8} {draws:9.0f} draws/s: {draws / graph:.2f} of the graph's, "
                f"{draws / step:.2f} of step by step, {draws / best:.1f} × Cohen's; {rate:.2f} certificates/s "
                f"(Cohen's loop {best / (given.n + 100):.3f}), set up in {once:.1f} s"
            )
        figures[precision] = {"bare": floors, "batch": size, "fixed": fixed, "adaptive": adaptive, "close": share}
    if given.out:
        given.out.write_text(json.dumps(figures))


def rounded(by_size: dict[int, float]) -> str:
    return ", ".join(f"{size}: {rate:.0f}" for size, rate in by_size.items())


if __name__ == "__main__":
    main()
