"""Certify: an ℓ2 radius within which the noise-voted classifier keeps its answer.

Cohen, Rosenfeld and Kolter, "Certified adversarial robustness via randomized smoothing" (2019), Algorithm 1 and
Theorem 1. For a base classifier f and η ~ N(0, σ²I) let g(x) = argmax_c P(f(x + η) = c). The class ĉ_A is chosen from
n₀ draws and counted in n fresh draws; p_A is the one-sided Clopper–Pearson lower bound on its probability at level
1 − α. If p_A > ½ then, with probability at least 1 − α over the draws, g(x + δ) = ĉ_A for all ‖δ‖₂ < R = σΦ⁻¹(p_A);
if not, the answer is to abstain.

The deterministic variant ("Adversarial Boot Camp", section 4.1) takes ĉ_A from one clean pass of f in place of the n₀
draws. Its radius is a statement about g as well: about the vote, not about the single pass.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from suite.noise import draws
from suite.protocols import Example, Protocol, Record
from suite.protocols.voting import top_classes
from suite.spec import RunSpec
from suite.statistics import certified_radius


class Tally:
    """The votes of one image while they come in."""

    def __init__(self, index: int, label: int, expected: int, clean: list[int] | None):
        self.index, self.label, self.expected, self.clean = index, label, expected, clean
        self.votes: dict[str, Counter[int]] = {"select": Counter(), "estimate": Counter()}
        self.seconds = 0.0

    def add(self, purpose: str, classes: list[int], seconds: float) -> bool:
        """Count the votes of some draws; true once all are in."""
        self.votes[purpose].update(classes)
        self.seconds += seconds
        return sum(map(Counter.total, self.votes.values())) == self.expected

    def record(self, n0: int, n: int, alpha: float, sigma: float, top: int) -> Record:
        """Cohen's line for this image, and what its radius is computed from."""
        selected = sorted(self.votes["select"].items(), key=lambda vote: (-vote[1], vote[0]))
        chosen = self.clean if self.clean is not None else [label for label, _ in selected[:top]]
        count = sum(self.votes["estimate"][label] for label in chosen)
        radius = float(certified_radius(count, n, alpha, sigma))
        predict = chosen[0] if radius > 0 else -1
        return {
            "idx": self.index,
            "label": self.label,
            "predict": predict,
            "radius": radius,
            "correct": int(radius > 0 and self.label in chosen),
            "time": round(self.seconds, 6),
            "chosen": chosen,
            "count": count,
            "n0": 0 if self.clean is not None else n0,
            "n": n,
            "alpha": alpha,
            "sigma": sigma,
            "votes": {str(label): votes for label, votes in sorted(self.votes["estimate"].items())},
        }


def certificates(
    model: nn.Module,
    images: Iterable[Example],
    *,
    sigma: float,
    n0: int,
    n: int,
    alpha: float,
    seed: int = 0,
    top: int = 1,
    deterministic: bool = False,
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Iterator[Record]:
    """One record per image, in order, each as soon as its draws are counted.

    `images` gives (index, image (C, H, W) of pixels in [0,1], label); the index keys the noise. σ is in pixel units.
    Batches hold draws of several images, so `batch_size` changes the speed and nothing else. With `top` = k > 1 a set
    of k classes is certified: a draw counts when its class is in the set. A record has Cohen's fields (idx, label,
    predict: −1 for abstain, radius, correct, time in s) and chosen (ĉ_A, k classes), count (their votes in the n
    draws), n0 (0: the deterministic variant), n, alpha, sigma and votes (of the n draws, by class).
    """
    model.eval()
    selection = 0 if deterministic else n0
    waiting: list[tuple[Tally, str, Tensor]] = []  # parts of the next batch: whose draws, for what, the noisy images
    clock = time.perf_counter()

    def count_votes() -> Iterator[Record]:
        nonlocal clock
        classes = top_classes(model, torch.cat([noisy for _, _, noisy in waiting]), top)[:, 0].tolist()
        each = (time.perf_counter() - clock) / len(classes)
        for tally, purpose, noisy in waiting:
            own, classes = classes[: len(noisy)], classes[len(noisy) :]
            if tally.add(purpose, own, each * len(own)):
                yield tally.record(n0, n, alpha, sigma, top)
        waiting.clear()
        clock = time.perf_counter()

    for index, pixels, label in images:
        image = pixels.to(device)
        clean = top_classes(model, image[None], top)[0].tolist() if deterministic else None
        tally = Tally(index, label, selection + n, clean)
        for purpose, total in (("select", selection), ("estimate", n)):
            for block in draws(seed, purpose, index, total, like=image):
                noisy = block.mul_(sigma).add_(image)
                while len(noisy):
                    room = batch_size - sum(len(part) for _, _, part in waiting)
                    waiting.append((tally, purpose, noisy[:room]))
                    noisy = noisy[room:]
                    if room <= len(waiting[-1][2]):
                        yield from count_votes()
    if waiting:
        yield from count_votes()


def indices(spec: RunSpec, total: int) -> range:
    return range(0, total, spec.certify.every)[: spec.certify.images]


def records(
    model: nn.Module, images: Iterable[Example], spec: RunSpec, batch_size: int, device: torch.device
) -> Iterator[Record]:
    """The certificates that a run asks for."""
    assert spec.sigma is not None
    return certificates(
        model,
        images,
        sigma=spec.sigma,
        n0=spec.certify.n0,
        n=spec.certify.n,
        alpha=spec.certify.alpha,
        seed=spec.seed,
        top=spec.certify.top,
        deterministic=spec.build_method().deterministic,
        batch_size=batch_size,
        device=device,
    )


PROTOCOL = Protocol(indices, records)
