"""What a noisy pass of Certify costs: CPU time of one thread per draw, beside other people's and beside floors.

The network is a trained one, so that near ties are as frequent as they are: somebody's checkpoint (--checkpoint or
$SUITE_CHECKPOINT, with images under --data-root or $SUITE_DATA), or else a small network that is trained on the digits
first, which measures little but overheads. Side by side, round after round:

- Cohen et al.'s procedure as they published it (one image at a time, NCHW, fp32), at its best of several batch sizes,
  with this process's allocator; a process of its own also tries them with the C library's usual one;
- the Adversarial Robustness Toolbox's, at the same batch size, if it is installed (pip install -e .[bench]);
- ours as `suite run` does it, as `suite.certify` does it, and with discrete noise; in bf16 where the machine has it;
- floors: the bare passes of the same folded network on batches that lie ready, and OpenVINO's, if it is installed.

    python benchmarks/certify.py --checkpoint FILE [--arch resnet20] [--dataset cifar10] [--mean R,G,B] [--std R,G,B]
        [--sigma 0.1] [--images 3] [--n 1000] [--batch 256] [--rounds 5] [--adaptive 40]

In the end, certificates of at most 100,000 draws by adaptive sampling, of so many of the test images as --adaptive
says, beside what Cohen et al.'s procedure takes for all the draws, by its time for one.
"""

from __future__ import annotations

import argparse
import copy
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import suite  # before torch: it says how torch's threads wait

# isort: split
import torch
from torch import Tensor, nn

from suite import data
from suite.networks.allocator import keep_memory
from suite.networks.folding import folded
from suite.pipeline import Machine, measure, obtain
from suite.progress import console
from suite.smoothing.voting import Precision
from suite.spec.profiles import fast_precision
from suite.spec.run_spec import RunSpec
from suite.store.environment import environment
from suite.store.folder import RunFolder

BATCHES = (32, 64, 100, 250, 500, 1_000)
N0 = 100
COHEN = "Cohen et al.'s procedure"


def published(model: nn.Module, images: Tensor, sigma: float, n: int, batch: int) -> None:
    """SampleUnderNoise for the n₀ and the n draws of one image after another."""

    def counts(image: Tensor, left: int) -> Tensor:
        found = torch.zeros(10, dtype=torch.int64)
        while left:
            size = min(batch, left)
            noise = torch.randn(size, *image.shape) * sigma
            found += torch.bincount(model(image.repeat(size, 1, 1, 1) + noise).argmax(1), minlength=10)
            left -= size
        return found

    with torch.no_grad():
        for image in images:
            int(counts(image, N0).argmax())
            counts(image, n)


def seconds(way: Callable[[], Any]) -> float:
    begun = time.process_time()
    way()
    return time.process_time() - begun


def in_rounds(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each way in each round; a round before them warms up."""
    found = {name: [seconds(way)] for name, way in ways.items()}
    for _ in range(rounds):
        for name, way in ways.items():
            found[name].append(seconds(way))
    return {name: times[1:] for name, times in found.items()}


def try_batches(model: nn.Module, image: Tensor, sigma: float, keep: bool) -> dict[str, float]:
    """CPU µs per draw of the published procedure by batch size; for a process of its own."""
    torch.set_num_threads(1)
    if keep:
        keep_memory()
    n = max(BATCHES)
    ways = {str(batch): lambda batch=batch: published(model, image[None], sigma, n, batch) for batch in BATCHES}
    return {batch: 1e6 * median(times) / (N0 + n) for batch, times in in_rounds(ways, 3).items()}


def as_run(model: nn.Module, test: data.Dataset, spec: RunSpec, batch: int) -> None:
    """Certify's part of `suite run`, records and all."""
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / spec.name, spec)
        folder.open(environment(torch.device("cpu")))
        measure("certify", model, test, folder, Machine(device="cpu", batch_size=batch), {})


@torch.inference_mode()
def bare(network: Callable[[Tensor], Tensor], ready: Tensor, passes: int, precision: Precision) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        for _ in range(passes):
            network(ready)


def toolbox(model: nn.Module, images: Tensor, sigma: float, n: int, batch: int) -> Callable[[], object] | None:
    """The Adversarial Robustness Toolbox's Certify, or None where it is not installed."""
    try:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
    except ImportError as error:
        print(f"without the Adversarial Robustness Toolbox: {error}")
        return None
    smoothed = PyTorchRandomizedSmoothing(
        model, nn.CrossEntropyLoss(), tuple(images.shape[1:]), 10, device_type="cpu", sample_size=N0, scale=sigma
    )
    x = images.numpy()
    return lambda: smoothed.certify(x, n, batch_size=batch)


def openvino(model: nn.Module, ready: Tensor, passes: int, precision: Precision) -> Callable[[], object] | None:
    """OpenVINO's forward passes, or None where it is not installed."""
    try:
        import openvino
    except ImportError as error:
        print(f"without OpenVINO: {error}")
        return None
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision]}
    exported = torch.export.export(model, (ready,))
    compiled = openvino.compile_model(openvino.convert_model(exported), "CPU", settings)
    x = ready.contiguous().numpy()
    return lambda: [compiled(x) for _ in range(passes)]


def end_to_end(model: nn.Module, test: data.Images, given: argparse.Namespace, cohen: float) -> None:
    """Print CPU seconds a certificate; `cohen` is the seconds of a draw of Cohen et al.'s."""
    idx = torch.linspace(0, len(test) - 1, given.adaptive).long()
    images, labels, n, whole = test[idx], test.labels[idx], 100_000, cohen * (N0 + 100_000)
    print(f"\n{len(idx)} certificates, n = {n}, of all radii in steps of σ; Cohen et al.'s take {whole:.1f} s each")
    for precision in dict.fromkeys(("fp32", fast_precision())):
        p: Precision = "bf16" if precision == "bf16" else "fp32"
        begun = time.process_time()
        found = suite.certify(
            model, images, labels, sigma=given.sigma, n0=N0, n=n, batch_size=given.batch, precision=p,
            radii=[given.sigma * k for k in (1, 2, 3)],
        )  # fmt: skip
        own = (time.process_time() - begun) / len(idx)
        draws, p_a = (found["draws"] + found["n0"]).mean(), (found["count"] / found["draws"]).mean()
        print(
            f"{p}: {own:.2f} s each, {whole / own:.1f} times as fast; {draws:.0f} draws, mean share of votes {p_a:.3f}"
        )


def subject(given: argparse.Namespace, place: Path) -> tuple[nn.Module, data.Dataset, RunSpec]:
    """The trained network, the data set and the run."""
    settings: dict[str, Any] = {"sigma": given.sigma, "n0": N0, "n": given.n, "images": given.images}
    if given.checkpoint:
        settings |= {"method": "checkpoint", "file": given.checkpoint, "deployed": "vote", "profile": "quick"}
        settings |= {"dataset": given.dataset, "arch": given.arch, "mean": given.mean, "std": given.std}
    else:
        print("no --checkpoint and no $SUITE_CHECKPOINT: a small network on the digits, trained now")
        settings |= {"method": "randomized-smoothing", "dataset": "digits"}
    spec = RunSpec(**settings)
    dataset = data.load(spec.dataset, given.data_root, download=False)
    spec = spec.on(dataset.fingerprint)
    return obtain(spec.model, dataset, Machine(runs=place, device="cpu")).eval(), dataset, spec


def main() -> None:
    def numbers(text: str) -> tuple[float, ...]:
        return tuple(map(float, text.split(",")))

    parser = argparse.ArgumentParser(description="CPU time of Certify per draw.")
    parser.add_argument("--checkpoint", default=os.environ.get("SUITE_CHECKPOINT"))
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--arch", default="resnet20")
    parser.add_argument("--mean", type=numbers, default=(0.485, 0.456, 0.406))
    parser.add_argument("--std", type=numbers, default=(0.229, 0.224, 0.225))
    parser.add_argument("--sigma", type=float, default=0.1)
    for name, default in (("batch", 256), ("n", 1_000), ("images", 3), ("rounds", 5), ("adaptive", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    torch.set_num_threads(1)
    console.quiet = True
    with tempfile.TemporaryDirectory() as place:
        model, dataset, spec = subject(given, Path(place))
    pixels = dataset.test[torch.arange(given.images)]
    images, labels = pixels.float() / 255, dataset.test.labels[: given.images]
    usual = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()

    speeds = {}
    for keep in (True, False):
        with get_context("spawn").Pool(1) as pool:
            speeds[keep] = pool.apply(try_batches, (usual, images[0], given.sigma, keep))
        said = ", ".join(f"{batch}: {speed:.0f}" for batch, speed in speeds[keep].items())
        print(f"{COHEN} in batches of … takes µs, {'memory kept' if keep else 'usual allocator'}: {said}")
    best = min(speeds[True], key=speeds[True].__getitem__)

    keep_memory()
    draws = given.images * (N0 + given.n)
    passes = -(-draws // given.batch)
    fast, ready = folded(model, images[0]), images[:1].repeat(given.batch, 1, 1, 1)
    ready = ready.contiguous(memory_format=torch.channels_last)
    settings: dict[str, Any] = {"sigma": given.sigma, "n0": N0, "n": given.n, "batch_size": given.batch}
    certify = partial(suite.certify, model, pixels, labels, **settings)
    ways: dict[str, Callable[[], Any] | None] = {
        f"{COHEN}, batches of {best}": lambda: published(usual, images, given.sigma, given.n, int(best)),
        "Adversarial Robustness Toolbox": toolbox(usual, images, given.sigma, given.n, int(best)),
    }
    for precision in dict.fromkeys(("fp32", fast_precision())):
        p: Precision = "bf16" if precision == "bf16" else "fp32"
        chosen = spec.model_copy(update={"certify": spec.certify.model_copy(update={"precision": p})})
        ways |= {
            f"ours, {p}: suite run": partial(as_run, model, dataset, chosen, given.batch),
            f"ours, {p}: suite.certify": partial(certify, precision=p),
            f"ours, {p}: discrete noise": partial(certify, precision=p, noise="discrete"),
            f"floor, {p}: bare folded passes": partial(bare, fast, ready, passes, p),
            f"floor, {p}: OpenVINO's passes": openvino(model, ready, passes, p),
        }
    found = in_rounds({name: way for name, way in ways.items() if way}, given.rounds)
    made = {name: passes * given.batch if name.startswith("floor") else draws for name in found}
    costs = {name: [1e6 * time / made[name] for time in times] for name, times in found.items()}
    print(
        f"{spec.arch}, σ = {given.sigma:g}, {given.images} images of {N0} + {given.n} draws, batches of {given.batch}"
    )
    print(
        f"CPU µs a draw, one thread, medians of {given.rounds} rounds; speed beside Cohen et al.'s and the bare passes'"
    )
    cohen = next(iter(costs.values()))
    for name, own in costs.items():
        floor = costs.get(f"floor, {name.partition(':')[0].rpartition(' ')[2]}: bare folded passes")
        ratios = [median(a / b for a, b in zip(other, own, strict=True)) for other in (cohen, floor) if other]
        print(f"{name:44} {median(own):6.0f} " + " ".join(f"{ratio:7.2f}" for ratio in ratios), flush=True)
    if given.adaptive:
        end_to_end(model, dataset.test, given, median(cohen) / 1e6)


if __name__ == "__main__":
    main()
