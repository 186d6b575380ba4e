"""Certify: an ℓ2 radius within which a classifier keeps its answer; of a vote under noise, or of a Lipschitz network.

A certificate of the kind `vote` is Cohen, Rosenfeld and Kolter's, "Certified adversarial robustness via randomized
smoothing" (2019), Algorithm 1 and Theorem 1. For a base classifier f and η ~ N(0, σ²I) let
g(x) = argmax_c P(f(x + η) = c). The class ĉ_A is chosen from n₀ draws and counted in n fresh draws; p_A is the
one-sided Clopper–Pearson lower bound on its probability at level 1 − α. If p_A > ½ then, with probability at least
1 − α over the draws, g(x + δ) = ĉ_A for all ‖δ‖₂ < R = σΦ⁻¹(p_A); if not, the answer is to abstain.

The deterministic variant ("Adversarial Boot Camp", section 4.1) takes ĉ_A from one clean pass of f in place of the n₀
draws. Its radius is a statement about g as well: about the vote, not about the single pass.

A certificate of the kind `margin` is about the single pass, and certain: `suite.networks.margins`. It has no noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, field_validator, model_validator

from methods import METHODS
from suite.boards.board import load_board
from suite.errors import UserError
from suite.protocols.accuracy import CLEAN
from suite.protocols.certify_check import faults
from suite.protocols.certify_margins import margin_claim, margins
from suite.protocols.protocol import Column, Protocol, Record, Subject
from suite.ranges import Draws, Images
from suite.spec.sections import Frozen
from suite.statistics.bounds import (
    average_certified_radius,
    certified_accuracy,
    largest_radius,
    mean_p_a,
    smallest_n,
)

if TYPE_CHECKING:
    from suite.protocols.protocol import Example
    from suite.spec.run_spec import RunSpec

Kind = Literal["vote", "margin"]
Deployed = Literal["pass", "vote"]
OF_A_VOTE = ("n0", "n", "alpha", "sampling", "radii", "noise", "precision")  # settings without meaning for a margin


class Certify(Frozen):
    """Which certificate, of what; for a vote n₀ draws select the class, and n fresh ones estimate its probability."""

    kind: Kind = Field("vote", description="vote or margin; default: margin for a pass of a Lipschitz network")
    deployed: Deployed | None = Field(None, description="pass or vote: what the row deploys; default: the method's own")
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


def resolve(section: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    """The settings, with the kind that architecture and deployment allow.

    A vote gets the board's radii where sampling is adaptive: they decide when it stops. A margin has no settings of the
    noise. Raises UserError for a margin of a vote, or of an architecture without a bound.
    """
    from suite.networks.architectures import is_lipschitz

    method = METHODS.get(run["method"])
    usual = method(method.Parameters(**run["parameters"]), 0.0).deployed
    deployed = section.get("deployed") or usual
    lipschitz = is_lipschitz(run["arch"])
    kind = section.get("kind") or ("margin" if lipschitz and deployed == "pass" else "vote")
    section = section | {"kind": kind, "deployed": None if deployed == usual else deployed}
    if kind == "margin":
        if not lipschitz:
            raise UserError(
                f"a margin certificate needs a network with a Lipschitz bound, and {run['arch']} has none: "
                "--arch lipschitz-small, or --kind vote"
            )
        if deployed == "vote":
            raise UserError("a margin certificate is of a single pass: --deployed pass, or --kind vote")
        return {name: value for name, value in section.items() if name not in OF_A_VOTE}
    radii = section.get("radii") or load_board(Path(run["dataset"]).name).radii
    return section | {"radii": radii if section.get("sampling") == "adaptive" else ()}


def indices(spec: RunSpec, total: int) -> range:
    return range(0, total, spec.certify.every)[: spec.certify.images]


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """The certificates that a run asks for, of its kind."""
    return margins(subject, images) if subject.spec.certify.kind == "margin" else votes(subject, images)


def votes(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """Cohen et al.'s certificates."""
    from suite.smoothing.certificates import certificates

    spec, settings = subject.spec, subject.spec.certify
    found = certificates(
        subject.model,
        images,
        sigma=spec.sigma or 0.0,
        n0=settings.n0,
        n=settings.n,
        alpha=settings.alpha,
        seed=spec.seed,
        top=settings.top,
        deterministic=spec.deployed == "pass",
        radii=settings.radii if settings.sampling == "adaptive" else None,
        noise=settings.noise,
        precision=settings.precision,
        batch_size=subject.batch_size,
        device=subject.device,
    )
    for record in found:
        yield record | {
            "kind": "vote",
            "claim": vote_claim(spec.sigma or 0.0, settings.alpha, record["n0"], settings.noise),
        }


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """The metrics of certificates, as a row of the board has them, and what the certificates cost."""
    c, sigma = spec.certify, spec.sigma or 0.0
    radii = c.radii or load_board(Path(spec.dataset).name).radii
    row = certified_metrics(records, radii)
    if c.kind == "margin":
        claim = str(records["claim"].iloc[0]) if "claim" in records else margin_claim(True, 1.0)
        none = dict.fromkeys(("n0", "n", "sampling", "noise", "precision"))
        return row | none | {"kind": "margin", "alpha": 0.0, "claim": claim}
    row |= vote_terms(sigma=sigma, n0=int(records["n0"].iloc[0]), n=c.n, alpha=c.alpha, noise=c.noise)
    if c.sampling == "adaptive":
        row["decided"] = [0.0, *(r for r in c.radii if r < largest_radius(c.n, c.alpha, sigma))]
    answered = (records["correct"] == 1) & (records["predict"] != -1)
    return row | {
        "p_a": mean_p_a(records["radius"], answered, sigma),
        "sampling": c.sampling,
        "precision": c.precision,
        "draws": float(records["draws"].mean()),
    }


def certified_metrics(records: pd.DataFrame, radii: Iterable[float]) -> dict[str, Any]:
    """What certificates (idx, label, predict, radius, correct; a row each) put into a row of the board.

    JSON values; shares in [0,1], radii (ℓ2, pixels in [0,1]) as keys of the certified accuracies. Clean accuracy is
    that of the class that was certified or would have been: None where the records have no column `chosen`, because
    then an abstention does not say what the image was taken for. So is the paper's certified accuracy where all images
    are abstained on. Seconds are None without a column `time`. `every` is the step of the images' indices, and
    `image_radii` has for each image, by idx, R where it is classified correctly, −1 where wrongly, None where
    abstained: what an interval over several seeds is computed from.
    """
    radius, correct = records["radius"].to_numpy(), records["correct"].to_numpy(bool)
    abstained = records["predict"].to_numpy() == -1
    clean = None
    if "chosen" in records:
        clean = float(
            np.mean([label in chosen for label, chosen in zip(records["label"], records["chosen"], strict=True)])
        )
    radii = list(radii)
    of_answered = [certified_accuracy(radius, correct, abstained, r, "paper") for r in radii]
    return {
        "every": int(np.median(np.diff(records["idx"]))) if len(records) > 1 else 1,
        "clean_accuracy": clean,
        "images": len(records),
        "certified_accuracy": {str(r): certified_accuracy(radius, correct, abstained, r) for r in radii},
        "certified_accuracy_paper": {
            str(r): None if np.isnan(share) else share for r, share in zip(radii, of_answered, strict=True)
        },
        "acr": average_certified_radius(radius, correct),
        "abstained": float(abstained.mean()),
        "median_radius": float(np.median(radius[~abstained])) if (~abstained).any() else 0.0,
        "seconds_per_certificate": float(records["time"].mean()) if "time" in records else None,
        "image_radii": [None if np.isnan(r) else r for r in image_radii(records).tolist()],
    }


def vote_terms(*, sigma: float, n0: int, n: int, alpha: float, noise: str = "gaussian") -> dict[str, Any]:
    """On what terms a certificate of a vote holds, as a row has them."""
    return {"kind": "vote", "n0": n0, "n": n, "alpha": alpha, "noise": noise} | {
        "claim": vote_claim(sigma, alpha, n0, noise)
    }


def image_radii(records: pd.DataFrame) -> NDArray[np.float64]:
    """Per image R where it is classified correctly, −1 where wrongly, NaN where abstained."""
    radii = np.where(records["correct"] == 1, records["radius"], -1.0)
    return np.where(records["predict"] == -1, np.nan, radii)


def vote_claim(sigma: float, alpha: float, n0: int, noise: str = "gaussian") -> str:
    """What a vote's certificate guarantees, and of which classifier; n0 = 0: the class is a single pass's."""
    rounded = " rounded to 1/255" if noise == "discrete" else ""
    voted = (
        f"with probability {1 - alpha:g} per image, the vote of this model under N(0, {sigma:g}²) "
        f"noise{rounded} keeps its answer within the radius"
    )
    if n0:
        return f"{voted}; the vote is what this row deploys"
    return f"{voted}; not guaranteed of the single pass that this row deploys"


def passes(spec: RunSpec, total: int) -> float:
    """At most, by fixed sampling; by adaptive sampling what CIFAR-10 took: 3,150 draws of 10,000, 7,200 of 100,000."""
    settings = spec.certify
    draws = settings.n if settings.sampling == "fixed" else min(settings.n, 120 * settings.n**0.355)
    return len(indices(spec, total)) * (1.0 if settings.kind == "margin" else settings.n0 + draws)


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes,
    Certify,
    resolve,
    faults=faults,
    columns=(
        CLEAN,
        Column(
            "certified_accuracy", "certified_accuracy", "", "certified", "share", ".1f",
            "share of images that are correct with R >= r, abstentions wrong (Cohen et al. 2019)",
            larger_is_better=True, by_radius=True,
        ),
        Column(
            "certified_accuracy_paper", "certified_accuracy_paper", "", "certified", "share", ".1f",
            "share of the images not abstained on that are correct with R > r (Adversarial Boot Camp)",
            larger_is_better=True, by_radius=True,
        ),
        Column(
            "acr", "acr", "ACR", "ACR", "pixels", ".4f",
            "average certified radius: mean of R where correct, 0 elsewhere", larger_is_better=True,
        ),
        Column(
            "p_a", "p_a", "p_A", "mean p_A", "share", ".1f",
            "mean lower bound p_A of the vote's probability where correct, 0 elsewhere; no few images of large "
            "radii can lead it, as they can ACR (Sun et al. 2025)", larger_is_better=True, compact=False,
        ),
        Column(
            "abstained", "abstained", "abst.", "abstained", "share", ".1f", "share of images abstained on",
            larger_is_better=False,
        ),
        Column(
            "draws", "draws", "draws", "draws", "draws", ".0f", "draws of the noise made per certificate, mean",
            larger_is_better=False,
        ),
        Column(
            "seconds_per_certificate", "seconds_per_certificate", "s/cert.", "s/certificate", "seconds", ".3f",
            "mean time of a certificate", larger_is_better=False, compact=False,
        ),
    ),
)  # fmt: skip
