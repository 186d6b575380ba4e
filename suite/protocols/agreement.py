"""Agreement: how often a single pass answers as a vote does ("Adversarial Boot Camp", section 4.3 and Figure 3).

The vote is Predict (Cohen, Rosenfeld and Kolter 2019) on n noisy passes: of the row's own model (Figure 3a), and of the
stochastic model that the single pass is to replace (3b). Answers are top-1 classes; a vote that abstains agrees with
none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
from pydantic import Field, model_validator

from methods import METHODS
from suite.errors import UserError
from suite.protocols.protocol import Column, Protocol, Record, Subject, stack
from suite.ranges import Draws, Images
from suite.spec.fill_in import start_settings
from suite.spec.model_spec import ModelSpec
from suite.spec.sections import Frozen
from suite.statistics.bounds import fewest_votes, predict
from suite.statistics.intervals import share

if TYPE_CHECKING:
    from torch import Tensor, nn

    from suite.protocols.protocol import Example
    from suite.smoothing.voting import Voter
    from suite.spec.run_spec import RunSpec


class Agreement(Frozen):
    """How often the single pass answers as a vote does."""

    images: Images = Field(1_000, description="how many test images, at most")
    n: Draws = Field(100, description="votes of Predict")
    alpha: float = Field(0.001, gt=0, lt=1, description="failure probability of Predict")
    against: ModelSpec | None = Field(None, description="the stochastic model that the single pass stands for")

    @model_validator(mode="after")
    def _enough_votes(self) -> Self:
        smallest = fewest_votes(self.alpha)
        if self.n < smallest:
            raise ValueError(
                f"n = {self.n} votes always abstain at alpha = {self.alpha:g}: the smallest n that works is {smallest}"
            )
        return self


def resolve(section: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """The settings, with the stochastic model that the row's single pass stands for made whole by its own recipe."""
    against, stands_for = section.get("against") or {}, METHODS.get(run["method"]).stands_for
    if not isinstance(against, dict):
        raise UserError(
            f"agreement.against is a model's settings, not {against!r}: --set agreement.against.SETTING=VALUE"
        )
    if against and not stands_for and "method" not in against:
        raise UserError(f"{run['method']} stands for no other method: agreement.against needs a method")
    if (stands_for or against) and "training" not in against:  # a finished run's is whole
        section = section | {"against": start_settings(stands_for, run | {"start": against})}
    return section


def indices(spec: RunSpec, total: int) -> range:
    return range(0, total, spec.certify.every)[: spec.agreement.images]


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """predict and correct of the single pass, vote (−1: abstained), and stochastic: the other model's vote, or None."""
    from suite.networks.folding import folded
    from suite.smoothing.voting import top_classes

    spec, against = subject.spec, subject.spec.agreement.against
    groups = stack(images, subject.batch_size, subject.device)
    first = next(groups, None)
    if first is None:
        return
    own = folded(subject.model, first[1][0])
    other = folded(subject.other(against), first[1][0]) if against else None
    for numbers, x, labels in chain([first], groups):
        single = top_classes(subject.model, x)[:, 0].tolist()
        votes = votes_of(own, numbers, x, subject)
        stochastic = votes_of(other, numbers, x, subject) if other else {}
        for index, label, answer in zip(numbers, labels.tolist(), single, strict=True):
            yield {
                "idx": index,
                "label": label,
                "predict": answer,
                "correct": int(answer == label),
                "vote": votes[index],
                "stochastic": stochastic.get(index),
                "claim": claim(spec),
            }


def votes_of(model: nn.Module, indices: list[int], x: Tensor, subject: Subject) -> dict[int, int]:
    """Predict's answers to images x (B, C, H, W) by their indices, which key the noise; −1 where it abstains."""
    from suite.smoothing.batching import together

    spec = subject.spec
    voters = (voter(spec, index, image) for index, image in zip(indices, x, strict=True))
    shared = together(voters, model, batch_size=subject.batch_size, precision=spec.certify.precision)
    return dict(answer for answer, _ in shared)


def voter(spec: RunSpec, index: int, image: Tensor) -> Voter[tuple[int, int]]:
    """Predict for one image (C, H, W): its index, and the answer."""
    from suite.smoothing.noise import NoisyImage

    sigma, n = spec.sigma or 0.0, spec.agreement.n
    votes = yield NoisyImage(image, n, sigma=sigma, seed=spec.seed, purpose="agreement", index=index).take(n)
    return index, predict([votes[c] for c in range(max(votes) + 1)], spec.agreement.alpha)


def claim(spec: RunSpec) -> str:
    """What is compared; it is a measurement."""
    n, alpha = spec.agreement.n, spec.agreement.alpha
    return (
        f"one clean pass beside Predict on {n} passes under N(0, {spec.sigma:g}²) noise, which names the most probable "
        f"class or abstains with probability {1 - alpha:g} per image; nothing is guaranteed of the single pass"
    )


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """Shares of all images and, with Wilson's interval, of those that the single pass classifies correctly."""
    correct = records["correct"] == 1
    own = records["vote"] == records["predict"]
    stochastic = records["stochastic"] == records["predict"]
    compared = spec.agreement.against is not None
    return {
        "agreement": {
            "images": len(records),
            "n": spec.agreement.n,
            "alpha": spec.agreement.alpha,
            "own": float(own.mean()),
            "own_given_correct": share(own[correct]),
            "stochastic": float(stochastic.mean()) if compared else None,
            "stochastic_given_correct": share(stochastic[correct]) if compared else None,
            "abstained": float((records["vote"] == -1).mean()),
        }
    }


def passes(spec: RunSpec, total: int) -> float:
    models = 2 if spec.agreement.against else 1
    return float(len(indices(spec, total)) * (1 + models * spec.agreement.n))


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes,
    Agreement,
    resolve,
    columns=(
        Column(
            "agreement_own", "agreement.own_given_correct.share", "own vote", "pass = its own vote", "share", ".1f",
            "of the images that the single pass classifies correctly, the share to which a vote of the same model "
            "gives the same answer",
            interval=("agreement.own_given_correct.low", "agreement.own_given_correct.high"), compact=False,
        ),
        Column(
            "agreement_stochastic", "agreement.stochastic_given_correct.share", "st. vote", "pass = stochastic vote",
            "share", ".1f",
            "of the images that the single pass classifies correctly, the share to which the vote of the stochastic "
            "model that it stands for gives the same answer",
            interval=("agreement.stochastic_given_correct.low", "agreement.stochastic_given_correct.high"),
            compact=False,
        ),
    ),
    reads=("certify.every", "certify.precision"),
    needs_noise=True,
)  # fmt: skip
