"""Audit: a search, inside each certificate, for an image to which what the row deploys gives another answer.

An image that is found shows that the certificate does not hold of what the row deploys; where none is found, there may
still be one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from pydantic import Field, field_validator

from suite.errors import UserError, require
from suite.protocols import certify
from suite.protocols.protocol import Column, Protocol, Record, Subject, draws_per_image, images_per_batch, stack
from suite.ranges import Draws, Images, Steps
from suite.spec.sections import Frozen
from suite.statistics.bounds import fewest_votes, upper_confidence_bound

if TYPE_CHECKING:
    from suite.protocols.audit_confirm import Finding
    from suite.protocols.protocol import Example
    from suite.spec.run_spec import RunSpec

Search = Literal["pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "fab-t", "square", "hopskipjump"]
OF_AUTOATTACK = ("apgd-ce", "apgd-t", "fab-t", "square")
OF_A_PASS = (*OF_AUTOATTACK, "hopskipjump")  # which search what one pass answers, and no vote
LEVEL = 0.95  # with which the rate of violations is bounded


class Audit(Frozen):
    """The search for an adversarial example of what the row deploys inside of each certificate."""

    images: Images = Field(200, description="how many of the certified test images, at most")
    restarts: int = Field(5, ge=1, le=1_000, description="of PGD, the first at the image itself")
    steps: Steps = Field(50, description="of each search")
    draws: Draws = Field(32, description="of the noise, for the gradient of a stochastic row")
    n: Draws = Field(1_000, description="fresh votes that confirm a hit on a stochastic row")
    queries: int = Field(
        5_000, ge=100, le=10**7, description="of hopskipjump, and of square: answers asked for, at most"
    )
    searches: tuple[Search, ...] = Field(
        ("pgd", "ddn", "fmn", "apgd-ce", "apgd-t", "hopskipjump"), min_length=1, description="also: fab-t, square"
    )

    @field_validator("searches", mode="before")
    @classmethod
    def _written_with_commas(cls, searches: object) -> object:
        return searches.split(",") if isinstance(searches, str) else searches


def indices(spec: RunSpec, total: int) -> range:
    return certify.indices(spec, total)[: spec.audit.images]


def records(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """What was found nearest to each image; distances and radii in pixel units.

    - radius: certify's, and attacked: whether there is one;
    - distance: of the nearest image with another answer (None: none was found), search: what found it;
    - ratio: distance / radius, and violated: whether it is below 1;
    - lbound_radius, lbound_distance, lbound_ratio, lbound_violated: the same of the L-bound, for a single pass;
    - probit_radius and so on: the same of the L-bound's probit form.
    """
    import torch

    from suite.protocols.audit_confirm import examine

    spec, m, k = subject.spec, draws_per_image("audit", subject.spec), subject.spec.certify.top
    if m and spec.audit.n < (least := fewest_votes(spec.certify.alpha)):
        raise UserError(
            f"audit.n = {spec.audit.n} votes can confirm nothing at alpha = {spec.certify.alpha:g}: the smallest that "
            f"works is {least}"
        )
    searches = searches_of(spec)
    certificates = subject.records("certify").set_index("idx")
    bounds = pd.DataFrame() if m or not spec.noise_sigma else subject.records("lbound")
    bound, probit = (
        dict(zip(bounds["idx"], bounds[column], strict=True)) if column in bounds else {}
        for column in ("radius", "probit_radius")
    )
    for numbers, x, labels in stack(images, images_per_batch("audit", spec, subject.batch_size), subject.device):
        sets = [(classes * k)[:k] for classes in certificates.loc[numbers, "chosen"]]  # n₀ votes may name fewer than k
        chosen = torch.tensor(sets, device=subject.device)
        radius = certificates.loc[numbers, "radius"].tolist()
        other = [bound.get(index, 0.0) for index in numbers]
        farther = [max(reach, probit.get(index) or 0.0) for index, reach in zip(numbers, other, strict=True)]
        set_stays = spec.certify.kind == "margin"  # of the top k, as the L-bound has it; a vote's certificate is of one
        if k == 1 or set_stays:
            farthest = [max(pair) for pair in zip(radius, farther, strict=True)]
            found = lbound_found = examine(subject, numbers, x, chosen, farthest, whole=set_stays, searches=searches)
        else:
            found = examine(subject, numbers, x, chosen, radius, whole=False, searches=searches)
            lbound_found = examine(subject, numbers, x, chosen, farther, whole=True, searches=searches)
        for row, (index, label) in enumerate(zip(numbers, labels.tolist(), strict=True)):
            yield {
                "idx": index,
                "label": label,
                "radius": radius[row],
                "attacked": int(radius[row] > 0),
                **finding_fields(radius[row], found[row]),
                "lbound_radius": bound.get(index),
                **{f"lbound_{name}": value for name, value in finding_fields(other[row], lbound_found[row]).items()},
                "probit_radius": probit.get(index),
                **{
                    f"probit_{name}": value
                    for name, value in finding_fields(probit.get(index) or 0.0, lbound_found[row]).items()
                },
                "claim": claim(spec),
            }


def finding_fields(radius: float, finding: Finding) -> dict[str, Any]:
    """A finding beside the radius that it is to be compared with, if there is one."""
    distance, search = finding if finding and radius > 0 else (None, None)
    return {
        "distance": distance,
        "ratio": None if distance is None else distance / radius,
        "violated": int(distance is not None and distance < radius),
        "search": search,
    }


def searches_of(spec: RunSpec) -> Sequence[str]:
    """The searches of a row: some are of a single pass alone.

    Raises UserError where none is left for a vote, or where APGD is among them and its library is not installed.
    """
    found = [search for search in spec.audit.searches if spec.deployed == "pass" or search not in OF_A_PASS]
    if not found:
        raise UserError(
            f"{', '.join(OF_A_PASS)} search a single pass, and this row deploys a vote: add one of pgd, ddn, fmn"
        )
    if asked := [search for search in found if search in OF_AUTOATTACK]:
        require(f"audit.searches with {' or '.join(asked)}", "audit", "pyautoattack")
    if spec.certify.top > 1 and {"fab-t", "square"} & set(found):
        raise UserError("fab-t and square search answers of one class: leave them out of audit.searches")
    return found


def claim(spec: RunSpec) -> str:
    """What is looked for, and what it means to find nothing."""
    searched = f"an image nearer than the radius, searched with {', '.join(searches_of(spec))}, that changes"
    if spec.deployed == "pass":
        return f"{searched} the single clean pass that this row deploys; finding none does not prove that there is none"
    return (
        f"{searched} the vote that this row deploys, confirmed by Predict on {spec.audit.n} fresh noisy passes at "
        f"alpha = {spec.certify.alpha:g}; finding none does not prove that there is none"
    )


def metrics(spec: RunSpec, records: pd.DataFrame) -> dict[str, Any]:
    """For certify's radii, the L-bounds and their probit form: how many were attacked and violated, the smallest ratio,
    and the upper bound on the rate of violations (one-sided Clopper–Pearson, 95 %)."""
    return {
        "audit": {
            name: violation_metrics(records, prefix)
            for name, prefix in (("certify", ""), ("lbound", "lbound_"), ("probit", "probit_"))
            if f"{prefix}radius" in records  # records of earlier versions have no probit_radius
        }
    }


def violation_metrics(records: pd.DataFrame, prefix: str) -> dict[str, Any]:
    attacked = records[pd.to_numeric(records[f"{prefix}radius"]) > 0]
    total, violations = len(attacked), int(attacked[f"{prefix}violated"].sum())
    ratios = pd.to_numeric(attacked[f"{prefix}ratio"]).dropna()
    return {
        "attacked": total,
        "violations": violations,
        "smallest_ratio": float(ratios.min()) if len(ratios) else None,
        "rate_upper": float(upper_confidence_bound(violations, total, 1 - LEVEL)) if total else None,
    }


def passes(spec: RunSpec, total: int) -> float:
    """A gradient costs two passes and a half; a vote is asked at the edge or outside, and in each halving."""
    from suite.attacks.library import TARGETS
    from suite.attacks.target import HALVINGS as SEGMENT
    from suite.protocols.audit_confirm import HALVINGS

    settings, m, searches = spec.audit, draws_per_image("audit", spec), searches_of(spec)
    times = {"pgd": settings.restarts, "apgd-t": TARGETS, "fab-t": TARGETS, "hopskipjump": 0, "square": 0}
    searching = 2.5 * (m or 1) * settings.steps * sum(times.get(search, 1) for search in searches)
    asked = sum(search in searches for search in ("hopskipjump", "square"))
    asking = settings.n * (1 + HALVINGS) if m else len(searches) * (1 + SEGMENT)
    return float(len(indices(spec, total)) * (searching + asking + asked * settings.queries))


PROTOCOL = Protocol(
    indices,
    records,
    metrics,
    passes,
    Audit,
    columns=(
        Column(
            "audit", "audit.certify.violations", "audit", "audit", "count", "d",
            "certificates violated by an attack inside of their radius, on what the row deploys, of those attacked",
            larger_is_better=False, of="audit.certify.attacked",
        ),
        Column(
            "lbound_audit", "audit.lbound.violations", "audit L", "audit of the L-bound", "count", "d",
            "likewise for the radii of Theorem 3", larger_is_better=False, of="audit.lbound.attacked", compact=False,
        ),
        Column(
            "probit_audit", "audit.probit.violations", "audit P", "audit of the probit form", "count", "d",
            "likewise for their form in normal quantiles", larger_is_better=False, of="audit.probit.attacked",
            compact=False,
        ),
    ),
    needs=("certify", "lbound"),
    group_size=partial(images_per_batch, "audit"),
    version=2,  # 1 searched up to the radius and the L-bound alone
)  # fmt: skip
