"""L-bound: Theorem 3's radius of a row's probabilities, and how far they are from the average that it presumes.

"Adversarial Boot Camp", Theorem 3 and Appendix C. If v is the average over N(0, σ²I) noise of a function into [0,1]^K,
a perturbation that changes which k classes lead has an ℓ2 norm of σ√(π/2)·(v_(k) − v_(k+1)) at least, and even of
σ/2·(Φ⁻¹(v_(k)) − Φ⁻¹(v_(k+1))), the probit form. For a trained v the premise is an assumption; for the average of a
stochastic row's softmax it is true, and finitely many draws give a certificate of that average.

The averaging error tests the premise: the distance of v(x) from E[f(x + η)], where f is the model that v was trained to
be the average of, both as probabilities (softmax outputs). A model trained to match f's average *logits* keeps a
distance even where it succeeds: the softmax of an average is not the average of the softmax.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from methods import METHODS
from suite.boards.board import load_board
from suite.protocols.protocol import Column, Protocol, Record, Subject, stack
from suite.ranges import Draws, Images
from suite.spec.sections import Frozen
from suite.statistics.intervals import mean_interval, share

if TYPE_CHECKING:
    from torch import Tensor

    from suite.protocols.protocol import Example
    from suite.spec.model_spec import ModelSpec
    from suite.spec.run_spec import RunSpec

OF_WHAT = "of a single pass, presuming that it is a Gaussian average, or of a vote's average, as an estimate"


class LBound(Frozen):
    """Theorem 3's bound on one pass, and how far that pass is from the Gaussian average it stands for."""

    images: Images = Field(1_000, description="how many test images, at most")
    draws: Draws = Field(1_000, ge=2, description="of the noise, for the average E[f(x + η)]")


def indices(spec: RunSpec, total: int) -> range:
    return range(0, total, spec.certify.every)[: spec.lbound.images]


def source(spec: RunSpec) -> ModelSpec | None:
    """The f that the row's single pass is trained to be the Gaussian average of; None for the row's own model."""
    return spec.start if spec.deployed == "pass" and METHODS.get(spec.method).stands_for else None


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """The bound and the averaging error of each image.

    - predict, correct (top-k), radius and probit_radius, pixel units: of v(x), or for a stochastic row of the mean of v
      over `draws`;
    - soft_radius: of a stochastic row's exact average, with probability 1 − certify.alpha (None for other rows);
    - distance: ‖v(x) − mean of f over `draws`‖₂, of one pass in any row;
    - noise: √(trace of the draws' covariance / draws), the root mean square of the part of it that is sampling;
    - agrees: whether the leading class of v(x) is that of the mean, up to rounding.
    """
    from suite.networks.folding import folded
    from suite.smoothing.averages import Averaged, average_record, probabilities
    from suite.smoothing.batching import share_batches

    spec, k, start, sentence = subject.spec, subject.spec.certify.top, source(subject.spec), claim(subject.spec)
    bounds_pass = spec.deployed == "pass"
    groups = stack(images, subject.batch_size, subject.device)
    first = next(groups, None)
    if first is None:
        return
    f = folded(subject.other(start) if start else subject.model, first[1][0])

    def voters() -> Iterator[Averaged]:
        for numbers, x, labels in chain([first], groups):
            passes = probabilities(subject.model, x, k)
            for v, example in zip(passes, zip(numbers, x, labels.tolist(), strict=True), strict=True):
                yield average_record(
                    v, example, bounds_pass, sigma=spec.sigma or 0.0, k=k, n=spec.lbound.draws,
                    alpha=spec.certify.alpha, seed=spec.seed,
                )  # fmt: skip

    def answer(noisy: Tensor) -> Tensor:
        return probabilities(f, noisy, k)

    for record, _ in share_batches(voters(), answer, batch_size=subject.batch_size):
        yield record | {"claim": sentence}


def claim(spec: RunSpec) -> str:
    """What the radii say, of which classifier, and what they presume."""

    def holds(radius: str) -> str:
        return f"no perturbation of a smaller ℓ2 norm than {radius} changes the top-{spec.certify.top} answer of"

    noise = f"N(0, {spec.sigma:g}²) noise"
    if spec.deployed == "pass":
        return (
            f"{holds('radius or probit_radius')} the single pass that this row deploys, provided that its "
            f"probabilities are the average over {noise} of a function into [0,1]; for a trained network that is an "
            "assumption"
        )
    return (
        f"with probability {1 - spec.certify.alpha:g} per image, {holds('soft_radius')} the average of this model's "
        f"probabilities over {noise}; radius and probit_radius are estimates from {spec.lbound.draws} draws, whose "
        "sampling error is not accounted for; of the vote that this row deploys none of them says anything"
    )


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """The radii of the correctly classified images, as in the paper's Table 5, with the share of all images that are
    correct with R >= r at the board's radii, and the averaging error of all."""
    right = records[records["correct"] == 1]
    distance = records["distance"].to_numpy()
    low, high = mean_interval(distance) or (None, None)
    radii = load_board(Path(spec.dataset).name).radii

    def accuracy(radius: pd.Series[float] | None) -> dict[str, float]:
        return {} if radius is None else {str(r): float((radius >= r).sum() / len(records)) for r in radii}

    probit = right.get("probit_radius")
    return {
        "lbound": {
            "images": len(records),
            "misclassified": len(records) - len(right),
            **radius_metrics(right["radius"]),
            "certified_accuracy": accuracy(right["radius"]),
            "probit": radius_metrics(probit) | {"certified_accuracy": accuracy(probit)},
            "soft": radius_metrics(right.get("soft_radius")),
            "claim": claim(spec),
        },
        "averaging": {
            "draws": spec.lbound.draws,
            "distance": float(distance.mean()),
            "low": low,
            "high": high,
            "noise": float(np.sqrt((records["noise"] ** 2).mean())),
            "agreement": share(records["agrees"]),
        },
    }


def radius_metrics(radius: pd.Series[float] | None) -> dict[str, float | None]:
    """Mean, median and largest of the radii that there are; records of earlier versions have fewer."""
    known = pd.to_numeric(radius).dropna() if radius is not None else pd.Series(dtype=float)
    return {name: float(known.agg(name)) if len(known) else None for name in ("mean", "median", "max")}


def passes(spec: RunSpec, total: int) -> float:
    return float(len(indices(spec, total)) * (1 + spec.lbound.draws))


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes,
    LBound,
    columns=(
        Column(
            "averaging_error", "averaging.distance", "avg.err.", "averaging error", "", ".3f",
            "mean ℓ2 distance of the single pass from the Gaussian average that it stands for, as probabilities",
            larger_is_better=False, interval=("averaging.low", "averaging.high"),
        ),
        Column(
            "lbound_radius", "lbound.median", "L-bound", "L-bound", "pixels", ".3f",
            "median radius of Theorem 3, of a pass under its premise, of a vote's average as an estimate",
            larger_is_better=True, compact=False,
        ),
        Column(
            "probit_radius", "lbound.probit.median", "probit", "L-bound, probit form", "pixels", ".3f",
            "median radius of Theorem 3 in normal quantiles, which is never smaller, under the same premise",
            larger_is_better=True, compact=False,
        ),
        Column(
            "lbound_accuracy", "lbound.certified_accuracy", "L", "L-bound, certified", "share", ".1f",
            f"share of images that are correct with R >= r by Theorem 3, {OF_WHAT}",
            larger_is_better=True, compact=False, by_radius=True,
        ),
        Column(
            "probit_accuracy", "lbound.probit.certified_accuracy", "P", "probit form, certified", "share", ".1f",
            f"share of images that are correct with R >= r by Theorem 3 in normal quantiles, {OF_WHAT}",
            larger_is_better=True, compact=False, by_radius=True,
        ),
        Column(
            "soft_radius", "lbound.soft.median", "soft", "certified average", "pixels", ".3f",
            "median radius certified at 1 - alpha for the average of the probabilities under noise, of rows deployed "
            "as a vote",
            larger_is_better=True, compact=False,
        ),
    ),
    reads=("certify.every", "certify.top", "certify.alpha", "certify.deployed"),
    needs_noise=True,
    group_size=lambda spec, batch_size: batch_size,  # the last digits of its averages depend on what shares a batch
)  # fmt: skip
