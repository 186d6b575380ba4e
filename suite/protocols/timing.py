"""Timing: seconds to classify an image by one pass, and by the vote of n₀ ("Adversarial Boot Camp", Table 2).

Both are timed for one image and for a full batch, on whatever row, as a plain deployment does it in fp32: batch norms
are folded into the convolutions, the images are on the device, the noise is drawn there, and the clock stops when the
classes are back in Python, which waits for the device. The time of a certificate is Certify's own, in its precision.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from suite.protocols.protocol import Column, Protocol, Record, Subject
from suite.spec.sections import Frozen

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from suite.protocols.protocol import Example
    from suite.spec.run_spec import RunSpec

MEASUREMENTS = (("pass", "1"), ("pass", "full"), ("vote", "1"), ("vote", "full"))  # by idx: what, for which batch


class Timing(Frozen):
    """Seconds to classify an image, and to certify one."""

    repeats: int = Field(20, ge=3, le=100_000, description="timed calls; their median counts")
    batch: int = Field(128, ge=1, le=100_000, description="images in the full batch")


def indices(spec: RunSpec, total: int) -> range:
    """Without noise there is no vote."""
    return range(len(MEASUREMENTS) if spec.noise_sigma else 2)


def plan(spec: RunSpec, index: int) -> tuple[int, int, int, int]:
    """Of a measurement: how many images, passes of each, passes of each in one call of the network, and repeats.

    A call has at most `batch` images, so a single image's vote takes its draws together. Timed are at least as many
    calls as the setting `repeats` says, and at least three repeats.
    """
    kind, batch = MEASUREMENTS[index]
    images = 1 if batch == "1" else spec.timing.batch
    n = 1 if kind == "pass" else spec.certify.n0
    together = min(n, spec.timing.batch // images)
    return images, n, together, max(3, math.ceil(spec.timing.repeats / math.ceil(n / together)))


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """A record per measurement, on its image repeated to fill the batch.

    seconds, low, high: per image, the median and the quartiles; `passes` of each of `images`, timed `repeats` times
    after one call that is not timed. certificate: the mean seconds of one of this run's certificates.
    """
    import torch

    from suite.networks.folding import folded
    from suite.smoothing.noise import generator
    from suite.store.environment import environment

    spec, machine = subject.spec, environment(subject.device)
    certificate = float(subject.records("certify")["time"].mean())
    for index, pixels, _ in images:
        kind, batch = MEASUREMENTS[index]
        total, n, together, repeats = plan(spec, index)
        image = pixels.to(subject.device)
        network = folded(subject.model, image)
        x = image.repeat(total, 1, 1, 1).contiguous(memory_format=torch.channels_last)
        stream = generator(spec.seed, "timing", device=subject.device)
        sigma = 0.0 if kind == "pass" else spec.sigma or 0.0
        with torch.inference_mode():
            classify(network, x, sigma, together, together, stream)
        times = []
        for _ in range(repeats):
            begun = time.perf_counter()
            with torch.inference_mode():
                classify(network, x, sigma, n, together, stream)
            times.append((time.perf_counter() - begun) / total)
        low, median, high = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
        yield {
            "idx": index,
            "kind": kind,
            "batch": batch,
            "images": total,
            "passes": n,
            "repeats": repeats,
            "seconds": median,
            "low": low,
            "high": high,
            "certificate": certificate,
            "device": machine["device_name"],
            "threads": machine["threads"],
            "claim": "the median time on this machine; nothing is guaranteed",
        }


def classify(model: nn.Module, x: Tensor, sigma: float, n: int, together: int, stream: torch.Generator) -> list[int]:
    """The classes of x (B, C, H, W): for σ = 0 of one pass, else the mode of n noisy ones, `together` in each call."""
    import torch

    if not sigma:
        single: list[int] = model(x).argmax(dim=1).tolist()
        return single
    b, c, h, w = x.shape
    classes = []
    for done in range(0, n, together):
        copies = min(together, n - done)
        noise = torch.randn(copies * b, h, w, c, generator=stream, device=x.device).permute(0, 3, 1, 2)
        classes.append(model(noise.mul_(sigma).add_(x.repeat(copies, 1, 1, 1))).argmax(dim=1).view(copies, b))
    return torch.cat(classes).mode(dim=0).values.tolist()


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """Seconds per image by kind and batch, and how many times as long a vote takes."""
    seconds = {
        kind: {batch: float(value) for batch, value in zip(rows["batch"], rows["seconds"], strict=True)}
        for kind, rows in records.groupby("kind")
    }
    one, vote = seconds["pass"], seconds.get("vote")
    return {
        "timing": {
            "pass": one,
            "vote": vote,
            "ratio": vote and {batch: vote[batch] / one[batch] for batch in one},
            "deployed": (vote if vote and spec.deployed == "vote" else one)["full"],
            "certificate": float(records["certificate"].iloc[0]),
            "n0": vote and spec.certify.n0,
            "batch": spec.timing.batch,
            "device": records["device"].iloc[0],
            "threads": int(records["threads"].iloc[0]),
        }
    }


def passes(spec: RunSpec, total: int) -> float:
    plans = (plan(spec, index) for index in indices(spec, total))
    return sum(images * (together + n * repeats) for images, n, together, repeats in plans)


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes,
    Timing,
    columns=(
        Column(
            "seconds_per_image", "timing.deployed", "s/image", "s/image", "seconds", ".1e",
            "seconds to classify an image as the row is deployed, in full batches", larger_is_better=False,
        ),
    ),
    needs=("certify",),
    in_parts=False,  # other processes would slow it
)  # fmt: skip
