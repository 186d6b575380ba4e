"""The settings of training and of each protocol: one section of a run's spec each."""

from __future__ import annotations

import math
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, field_validator, model_validator

from suite.ranges import Distance, Draws, Images, Steps
from suite.statistics.bounds import smallest_n


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Training(Frozen):
    """How the weights are found: SGD on augmented batches."""

    epochs: float = Field(gt=0, le=100_000, description="passes over the training images; a fraction stops inside one")
    batch_size: int = Field(ge=2, le=100_000)
    lr: float = Field(gt=0, description="the highest learning rate of the schedule")
    schedule: Literal["constant", "cosine", "linear", "one-cycle", "steps"] = "cosine"
    milestones: tuple[PositiveFloat, ...] = Field(
        (), description="epochs at which `steps` multiplies the lr by `factor`; the last ends the fall of `linear`"
    )
    factor: float = Field(0.1, gt=0, le=1)
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(5e-4, ge=0)
    decay_biases: bool = Field(True, description="weight decay is on biases, too, those of batch norm among them")
    clip: float | None = Field(None, gt=0, description="largest ℓ2 norm of a step's gradient")
    augmentation: str = Field(
        "default", description="crop-flip, crop-flip-zero, shift, flip, none; default: the data set's"
    )
    smallest_crop: float = Field(
        0.08, gt=0, le=1, description="least share of the area in a random crop of a streamed image"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic of the passes (bf16: autocast); auto: bf16 where the machine multiplies in it"
    )


class Certify(Frozen):
    """Cohen et al.'s Certify: n₀ draws select the class, n fresh ones estimate its probability."""

    n0: Draws = Field(100, description="selection draws; deterministic methods make none")
    n: Draws = Field(10_000, description="estimation draws")
    alpha: float = Field(0.001, gt=0, lt=1, description="failure probability of each certificate")
    images: Images = Field(1_000, description="how many test images, at most")
    every: int = Field(1, ge=1, le=10**7, description="take every k-th test image")
    top: int = Field(1, ge=1, le=100_000, description="a draw counts if its class is among the top this many")
    sampling: Literal["fixed", "adaptive"] = Field("fixed", description="n draws, or only as many as decide the radii")
    radii: tuple[PositiveFloat, ...] = Field((), description="adaptive: what to decide; default: the board's of now")
    noise: Literal["gaussian", "discrete"] = Field(
        "gaussian", description="x + η in floating point, or rounded to 1/255 and computed in integers"
    )
    precision: Literal["fp32", "bf16"] = Field("fp32", description="arithmetic of the certified classifier")

    @field_validator("radii")
    @classmethod
    def _rise(cls, radii: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(radii)))

    @model_validator(mode="after")
    def _enough_draws(self) -> Self:
        least = smallest_n(self.alpha)
        if self.n < least:
            said = f"n = {self.n} draws can certify nothing at alpha = {self.alpha:g}"
            raise ValueError(f"{said}: the smallest n that works is {least}")
        return self


class LBound(Frozen):
    """Theorem 3's bound on one pass, and how far that pass is from the Gaussian average it stands for."""

    images: Images = Field(1_000, description="how many test images, at most")
    draws: Draws = Field(1_000, ge=2, description="of the noise, for the average E[f(x + η)]")


class Attack(Frozen):
    """Adversarial distance: the paper's PGD and DDN, and the smallest distance found."""

    images: Images = Field(1_000, description="how many test images, at most")
    steps: Steps = Field(20, description="of the paper's PGD and DDN")
    best_steps: int = Field(25, ge=2, le=100_000, description="of DDN and of FMN each, for the best distance")
    max_norm: Distance = Field(4.0, description="largest ℓ2 norm of a perturbation, pixels in [0,1]")
    draws: Draws = Field(100, description="of the noise, for the gradient and answer of a stochastic row")


class Timing(Frozen):
    """Seconds to classify an image, and to certify one."""

    repeats: int = Field(20, ge=3, le=100_000, description="timed calls; their median counts")
    batch: int = Field(128, ge=1, le=100_000, description="images in the full batch")


class Agreement(Frozen):
    """How often the single pass answers as a vote does."""

    images: Images = Field(1_000, description="how many test images, at most")
    n: Draws = Field(100, description="votes of Predict")
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

    images: Images = Field(200, description="how many of the certified test images, at most")
    restarts: int = Field(5, ge=1, le=1_000, description="of PGD, the first at the image itself")
    steps: Steps = Field(50, description="of each search")
    draws: Draws = Field(32, description="of the noise, for the gradient of a stochastic row")
    n: Draws = Field(1_000, description="fresh votes that confirm a hit on a stochastic row")
    queries: int = Field(5_000, ge=100, le=10**7, description="of hopskipjump: answers asked for, at most")
    searches: tuple[Literal["pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"], ...] = Field(
        ("pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"), min_length=1
    )
