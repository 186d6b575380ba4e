"""Certify: ℓ2 radii within which the noise-voted classifier keeps its answer (Cohen et al. 2019, Algorithm 1)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.networks.device import upload
from suite.networks.folding import folded
from suite.smoothing.batching import together
from suite.smoothing.noise import Noise, NoisyImage
from suite.smoothing.voting import Precision, Voter, top_classes
from suite.statistics.bounds import certified_radius
from suite.statistics.sequential import Schedule, make_schedule


def certificate(
    example: tuple[int, Tensor, int], clean: list[int] | None, *,
    sigma: float, n0: int, n: int, alpha: float, seed: int, top: int, schedule: Schedule | None, noise: Noise,
) -> Voter[dict[str, Any]]:  # fmt: skip
    """Algorithm 1 for one image, as a voter: it asks for the classes of noisy images, and returns the record."""
    index, image, label = example
    chosen = clean
    if chosen is None:
        selecting = NoisyImage(image, n0, sigma=sigma, seed=seed, purpose="select", index=index, noise=noise)
        selected = yield selecting.take(n0)
        chosen = sorted(selected, key=lambda c: (-selected[c], c))[:top]
    drawn = NoisyImage(image, n, sigma=sigma, seed=seed, purpose="estimate", index=index, noise=noise)
    votes: Counter[int] = Counter()
    reached = np.array(0)
    for look, end in enumerate(schedule.looks if schedule else [n]):
        votes += yield drawn.take(end - votes.total())
        if schedule:
            reached, stop = schedule.decide(look, sum(votes[c] for c in chosen), reached)
            if stop:
                break
    count = sum(votes[c] for c in chosen)
    radius = schedule.radii[int(reached)] if schedule else float(certified_radius(count, n, alpha, sigma))
    answered = radius > 0
    return {
        "idx": index,
        "label": label,
        "predict": chosen[0] if answered else -1,
        "radius": radius,
        "correct": int(answered and label in chosen),
        "time": 0.0,
        "chosen": chosen,
        "count": count,
        "n0": n0 if clean is None else 0,
        "draws": votes.total(),
        "n": n,
        "alpha": alpha,
        "sigma": sigma,
        "votes": {str(c): votes[c] for c in sorted(votes)},
    }


def certificates(
    model: nn.Module,
    images: Iterable[tuple[int, Tensor, int]],
    *,
    sigma: float,
    n0: int,
    n: int,
    alpha: float,
    seed: int = 0,
    top: int = 1,
    deterministic: bool = False,
    radii: Sequence[float] | None = None,
    noise: Noise = "gaussian",
    precision: Precision = "fp32",
    batch_size: int = 256,
    device: torch.device | str = "cpu",
) -> Iterator[dict[str, Any]]:
    """One record per image, each as soon as its draws are counted: in no fixed order.

    `images` gives (index, image (C, H, W) of pixels in [0,1], label); the index keys the noise. σ and radii are in
    pixel units. With `radii` sampling is adaptive (`suite.statistics.sequential`): at most n draws, fewer once it is
    decided at which of the radii an image is certified. Batches hold draws of several images, so `batch_size` changes
    the speed and nothing else. With `top` = k > 1 a set of k classes is certified: a draw counts when its class is in
    the set. In `precision` bf16 the classifier that votes is the network in that arithmetic (near ties settled in
    fp32). `noise` is how x + η is computed (`suite.smoothing.noise.noisy`).

    A record has Cohen's fields (idx, label, predict: −1 for abstain, radius, correct, time in s) and chosen (ĉ_A, k
    classes), count (their votes), n0 (0: the deterministic variant), draws (made of the n), n, alpha, sigma and votes
    (of the draws, by class). What a record claims is added by who asks for it.
    """
    model.eval()
    schedule = None if radii is None else make_schedule(radii, sigma=sigma, n=n, alpha=alpha)
    stream = ((index, upload(pixels, device), label) for index, pixels, label in images)
    first = next(stream, None)
    if first is None:
        return
    top_classes(model, first[1][None], top)  # raises where the rule does not fit the model
    fast = folded(model, first[1])

    def voters() -> Iterator[Voter[dict[str, Any]]]:
        for example in chain([first], stream):
            clean = top_classes(model, example[1][None], top)[0].tolist() if deterministic else None
            yield certificate(
                example, clean, sigma=sigma, n0=n0, n=n, alpha=alpha, seed=seed, top=top, schedule=schedule,
                noise=noise,
            )  # fmt: skip

    for record, seconds in together(voters(), fast, batch_size=batch_size, precision=precision, noise=noise):
        yield record | {"time": round(seconds, 6)}
