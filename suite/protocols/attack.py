"""Attack: the ℓ2 norm of the smallest perturbation that PGD and DDN find to change a row's answer.

"Adversarial Boot Camp", section 3.4, Tables 3 and 5 and Figures 2 and 6. An image that is misclassified already has
distance 0; it is left out of the mean, the median and the curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch

from suite.attacks import Target, ddn, distances, first_success_pgd, keyed_noise
from suite.protocols import Example, Protocol, Record, Subject, draws_per_image, images_per_batch, stacked
from suite.spec import RunSpec

LEVELS = 256  # values of a pixel in a stored image: DDN finds images that can be stored


def indices(spec: RunSpec, total: int) -> range:
    return range(0, total, spec.certify.every)[: spec.attack.images]


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """predict and correct (top-k) of each clean image, and the distances pgd and ddn (pixel units; None: not found)."""
    spec, settings, m = subject.spec, subject.spec.attack, draws_per_image("attack", subject.spec)
    assert spec.sigma is not None
    for numbers, x, labels in stacked(images, images_per_batch("attack", spec, subject.batch_size), subject.device):
        noise = keyed_noise(x, numbers, m, sigma=spec.sigma, seed=spec.seed, purpose="attack")
        target = Target(subject.model, labels, noise, top=spec.certify.top, batch_size=subject.batch_size)
        clean = target.see(x, torch.arange(len(x), device=x.device))
        one, steps, most = torch.ones(len(x), dtype=torch.float64, device=x.device), settings.steps, settings.max_norm
        found = {
            "pgd": first_success_pgd(target, x, clean, epsilon=most * one, steps=steps),
            "ddn": ddn(target, x, clean, epsilon=one, steps=steps, max_norm=most, levels=LEVELS),
        }
        lengths = {
            name: [r if hit else None for r, hit in zip(distances(x_adv, x), hits.tolist(), strict=True)]
            for name, (x_adv, hits) in found.items()
        }
        for row, (index, label) in enumerate(zip(numbers, labels.tolist(), strict=True)):
            yield {
                "idx": index,
                "label": label,
                "predict": int(clean.classes[row, 0]),
                "correct": int(not clean.hit[row]),
                **{name: found_here[row] for name, found_here in lengths.items()},
                "claim": claim(spec),
            }


def claim(spec: RunSpec) -> str:
    """What a distance says, of which classifier."""
    bound = "a perturbation of this norm changes the answer of"
    if spec.build_method().deterministic:
        return f"{bound} the single clean pass that this row deploys; a smaller one may too"
    return (
        f"{bound} the average of {spec.attack.draws} softmax outputs under N(0, {spec.sigma:g}²) noise, which stands "
        "for the vote that this row deploys; a smaller one may too"
    )


def summarise(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """How many images were attacked, and how many misclassified before; for each attack, over those attacked:

    - found: how many distances were found, and mean: theirs;
    - median: of all, one that was not found being farther than the others (None: the median was not found).
    """
    attacked = records[records["correct"] == 1]
    row: dict[str, Any] = {name: figures(attacked[name]) for name in ("pgd", "ddn")}
    return {"attack": row | {"attacked": len(attacked), "misclassified": len(records) - len(attacked)}}


def figures(distances: pd.Series[Any]) -> dict[str, Any]:
    found = pd.to_numeric(distances).dropna()
    median = float(np.median(pd.to_numeric(distances).fillna(math.inf))) if len(distances) else math.inf
    return {
        "mean": float(found.mean()) if len(found) else None,
        "median": median if math.isfinite(median) else None,
        "found": len(found),
    }


def passes(spec: RunSpec, total: int) -> float:
    """At most: PGD ends with its first success. A gradient costs two passes and a half."""
    return len(indices(spec, total)) * (draws_per_image("attack", spec) or 1) * 2.5 * 2 * spec.attack.steps


PROTOCOL = Protocol(indices, records, summarise, passes, company=partial(images_per_batch, "attack"))
