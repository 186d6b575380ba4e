"""Attack: the ℓ2 norm of the smallest perturbation found to change a row's answer.

PGD and DDN are run as "Adversarial Boot Camp" runs them: section 3.4, Tables 3 and 5, Figures 2 and 6. PGD stops at its
first success, so its distances are those of its steps, and 20 steps of DDN from norm 1 go no lower than about 0.43. The
best distance, of searches that go on from theirs, has no such floor. An image that is misclassified already has
distance 0; it is left out of the mean, the median and the curve.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from suite.protocols.protocol import Column, Protocol, Record, Subject, draws_per_image, images_per_batch, stack
from suite.ranges import Distance, Draws, Images, Steps
from suite.spec.sections import Frozen

if TYPE_CHECKING:
    from suite.protocols.protocol import Example
    from suite.spec.run_spec import RunSpec

LEVELS = 256  # values of a pixel in a stored image: DDN finds images that can be stored


class Attack(Frozen):
    """Adversarial distance: the paper's PGD and DDN, and the smallest distance found."""

    images: Images = Field(1_000, description="how many test images, at most")
    steps: Steps = Field(20, description="of the paper's PGD and DDN")
    best_steps: int = Field(25, ge=2, le=100_000, description="of DDN and of FMN each, for the best distance")
    max_norm: Distance = Field(4.0, description="largest ℓ2 norm of a perturbation, pixels in [0,1]")
    draws: Draws = Field(100, description="of the noise, for the gradient and answer of a stochastic row")


def indices(spec: RunSpec, total: int) -> range:
    return range(0, total, spec.certify.every)[: spec.attack.images]


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """Of each image, distances in pixel units (None: not found):

    - predict, and correct (top-k): the answer to the clean image;
    - pgd, ddn: the paper's, and best: the smallest that was found, search: what found it.
    """
    import torch

    from suite.attacks.ddn import ddn
    from suite.attacks.nearest import lengths_of, smallest
    from suite.attacks.pgd import first_success_pgd
    from suite.attacks.target import Target, keyed_noise

    spec, settings, m = subject.spec, subject.spec.attack, draws_per_image("attack", subject.spec)
    for numbers, x, labels in stack(images, images_per_batch("attack", spec, subject.batch_size), subject.device):
        noise = keyed_noise(x, numbers, m, sigma=spec.sigma or 0.0, seed=spec.seed, purpose="attack")
        target = Target(
            subject.model, labels, noise, numbers,
            seed=spec.seed, purpose="attack", top=spec.certify.top, batch_size=subject.batch_size,
        )  # fmt: skip
        clean = target.see(x, torch.arange(len(x), device=x.device), "clean")
        one, steps, most = torch.ones(len(x), dtype=torch.float64, device=x.device), settings.steps, settings.max_norm
        found = {
            "pgd": first_success_pgd(target, x, clean, epsilon=most * one, steps=steps),
            "ddn": ddn(target, x, clean, epsilon=one, steps=steps, max_norm=most, levels=LEVELS),
        }
        lengths = {name: lengths_of(x, *hits) for name, hits in found.items()}
        best, searches = smallest(target, x, clean, found, steps=settings.best_steps, max_norm=most)
        for row, (index, label) in enumerate(zip(numbers, labels.tolist(), strict=True)):
            yield {
                "idx": index,
                "label": label,
                "predict": int(clean.classes[row, 0]),
                "correct": int(not clean.hit[row]),
                **{name: found_here[row] for name, found_here in lengths.items()},
                "best": best[row],
                "search": searches[row],
                "claim": claim(spec),
            }


def claim(spec: RunSpec) -> str:
    """What a distance says, of which classifier."""
    bound = "a perturbation of this norm changes the answer of"
    if spec.deployed == "pass":
        return f"{bound} the single clean pass that this row deploys; a smaller one may too"
    return (
        f"{bound} the average of {spec.attack.draws} softmax outputs under N(0, {spec.sigma:g}²) noise, which stands "
        "for the vote that this row deploys; a smaller one may too"
    )


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """How many images were attacked, and how many misclassified before; for each attack, over those attacked:

    - found: how many distances were found, and mean: theirs;
    - median: of all, one that was not found being farther than the others (None: the median was not found).
    """
    attacked = records[records["correct"] == 1]
    row: dict[str, Any] = {name: distance_metrics(attacked[name]) for name in ("pgd", "ddn", "best")}
    return {"attack": row | {"attacked": len(attacked), "misclassified": len(records) - len(attacked)}}


def distance_metrics(distances: pd.Series[Any]) -> dict[str, Any]:
    found = pd.to_numeric(distances).dropna()
    median = float(np.median(pd.to_numeric(distances).fillna(math.inf))) if len(distances) else math.inf
    return {
        "mean": float(found.mean()) if len(found) else None,
        "median": median if math.isfinite(median) else None,
        "found": len(found),
    }


def passes(spec: RunSpec, total: int) -> float:
    """At most: PGD ends with its first success. A gradient costs two passes and a half; four hits are bisected."""
    from suite.attacks.target import HALVINGS

    looks = 2.5 * 2 * (spec.attack.steps + spec.attack.best_steps) + 4 * HALVINGS
    return float(len(indices(spec, total)) * (draws_per_image("attack", spec) or 1) * looks)


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes,
    Attack,
    columns=(
        Column(
            "adversarial_distance", "attack.best.median", "dist.", "distance", "pixels", ".3f",
            "median ℓ2 distance of the nearest adversarial examples found, by PGD, DDN and FMN", larger_is_better=True,
        ),
        Column(
            "pgd", "attack.pgd.median", "PGD", "PGD", "pixels", ".2f",
            "median ℓ2 distance of the adversarial examples of the paper's PGD: multiples of its step, 0.4 by default",
            larger_is_better=True,
        ),
        Column(
            "ddn", "attack.ddn.median", "DDN", "DDN", "pixels", ".2f",
            "median ℓ2 distance of the adversarial examples of the paper's DDN: no lower than about 0.43 by default",
            larger_is_better=True,
        ),
    ),
    reads=("certify.every", "certify.top", "certify.deployed"),
    group_size=partial(images_per_batch, "attack"),
)  # fmt: skip
