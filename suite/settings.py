"""The settings of training and of each protocol: one section of a run's spec each."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from suite.sequential import smallest_adaptive_n
from suite.statistics import smallest_n


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Training(Frozen):
    """How the weights are found: SGD on augmented batches."""

    epochs: float = Field(gt=0, description="passes over the training images; a fraction stops inside one")
    batch_size: int = Field(ge=2)
    lr: float = Field(gt=0, description="the highest learning rate of the schedule")
    schedule: Literal["constant", "cosine", "one-cycle", "steps"] = "cosine"
    milestones: tuple[float, ...] = Field((), description="epochs at which `steps` multiplies the lr by `factor`")
    factor: float = Field(0.1, gt=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(5e-4, ge=0)
    clip: float | None = Field(None, gt=0, description="largest ℓ2 norm of a step's gradient")
    augmentation: str = Field("default", description="crop-flip, shift, flip, none; default: the data set's")
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic of the passes (bf16: autocast); auto: bf16 where the machine multiplies in it"
    )


class Certify(Frozen):
    """Cohen et al.'s Certify: n₀ draws select the class, n fresh ones estimate its probability."""

    n0: int = Field(100, ge=1, description="selection draws; deterministic methods make none")
    n: int = Field(10_000, ge=1, description="estimation draws")
    alpha: float = Field(0.001, gt=0, lt=1, description="failure probability of each certificate")
    images: int = Field(1_000, ge=1, description="how many test images, at most")
    every: int = Field(1, ge=1, description="take every k-th test image")
    top: int = Field(1, ge=1, description="a draw counts if its class is among the top this many")
    sampling: Literal["fixed", "adaptive"] = Field("fixed", description="n draws, or only as many as decide the radii")
    radii: tuple[PositiveFloat, ...] = Field((), description="adaptive: what to decide; default: the board's")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the certified classifier")

    @model_validator(mode="after")
    def _enough_draws(self) -> Self:
        least = smallest_n(self.alpha) if self.sampling == "fixed" else smallest_adaptive_n(self.alpha)
        if self.n < least:
            said = f"n = {self.n} draws can certify nothing at alpha = {self.alpha:g}"
            raise ValueError(f"{said}: the smallest n that works is {least}")
        return self


class LBound(Frozen):
    """Theorem 3's bound on one pass, and how far that pass is from the Gaussian average it stands for."""

    images: int = Field(1_000, ge=1, description="how many test images, at most")
    draws: int = Field(1_000, ge=2, description="of the noise, for the average E[f(x + η)]")


class Attack(Frozen):
    """Adversarial distance: the paper's PGD and DDN, and the smallest distance found."""

    images: int = Field(1_000, ge=1, description="how many test images, at most")
    steps: int = Field(20, ge=1, description="of the paper's PGD and DDN")
    best_steps: int = Field(25, ge=2, description="of DDN and of FMN each, for the best distance")
    max_norm: float = Field(4.0, gt=0, description="largest ℓ2 norm of a perturbation, pixels in [0,1]")
    draws: int = Field(100, ge=1, description="of the noise, for the gradient and answer of a stochastic row")


class Timing(Frozen):
    """Seconds to classify an image, and to certify one."""

    repeats: int = Field(20, ge=3, description="timed calls; their median counts")
    batch: int = Field(128, ge=1, description="images in the full batch")


class Agreement(Frozen):
    """How often the single pass answers as a vote does."""

    images: int = Field(1_000, ge=1, description="how many test images, at most")
    n: int = Field(100, ge=1, description="votes of Predict")
    alpha: float = Field(0.001, gt=0, lt=1, description="failure probability of Predict")
    against: dict[str, Any] | None = Field(None, description="the stochastic model that the single pass stands for")

    @model_validator(mode="after")
    def _enough_votes(self) -> Self:
        smallest = math.ceil(1 - math.log2(self.alpha))  # n equal votes have the two-sided p-value 2·½ⁿ
        if self.n < smallest:
            raise ValueError(
                f"n = {self.n} votes always abstain at alpha = {self.alpha:g}: the smallest n that works is {smallest}"
            )
        return self


class Audit(Frozen):
    """The search for an adversarial example of what the row deploys inside of each certificate."""

    images: int = Field(200, ge=1, description="how many of the certified test images, at most")
    restarts: int = Field(5, ge=1, description="of PGD, the first at the image itself")
    steps: int = Field(50, ge=1, description="of each search")
    draws: int = Field(32, ge=1, description="of the noise, for the gradient of a stochastic row")
    n: int = Field(1_000, ge=1, description="fresh votes that confirm a hit on a stochastic row")
    queries: int = Field(5_000, ge=100, description="of hopskipjump: answers asked for, at most")
    searches: tuple[Literal["pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"], ...] = Field(
        ("pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"), min_length=1
    )
