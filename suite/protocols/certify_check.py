"""What can be checked of certificates without the network: that each record follows from its own counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pandas as pd

from suite.statistics.bounds import certified_radius
from suite.statistics.sequential import Schedule, make_schedule

if TYPE_CHECKING:
    from suite.spec.run_spec import RunSpec

TOLERANCE = 1e-9  # relative, of radii computed by another version of a library


def faults(spec: RunSpec, records: pd.DataFrame) -> Iterator[str]:
    """What is wrong with certificates, a line for each image and fault.

    The radius of a vote is computed anew from its counts. That of a margin needs the network; here it is only held
    against 0.
    """
    c, schedule = spec.certify, None
    if c.kind == "vote" and c.sampling == "adaptive":
        schedule = make_schedule(c.radii, sigma=spec.sigma or 0.0, n=c.n, alpha=c.alpha)
    lines: list[dict[str, Any]] = records.to_dict("records")  # type: ignore[assignment]
    for record in lines:
        found = list(_of_an_answer(record, abstains=c.kind == "vote"))
        if c.kind == "vote":
            found = [*found, *_of_counts(record, spec), *_of_a_radius(record, spec, schedule)]
        yield from (f"image {record['idx']}: {fault}" for fault in found)


def _of_an_answer(record: dict[str, Any], *, abstains: bool) -> Iterator[str]:
    """A vote that certifies nothing abstains; a pass always answers."""
    radius, chosen = record["radius"], record["chosen"]
    answered = radius > 0 or not abstains
    if not radius >= 0:
        yield f"radius {radius} is below 0"
    if record["predict"] != (chosen[0] if answered else -1):
        yield f"answer {record['predict']}, but class {chosen[0]} and radius {radius:g}"
    if record["correct"] != int(answered and record["label"] in chosen):
        yield f"correct = {record['correct']}, but label {record['label']} and answer {record['predict']}"


def _of_counts(record: dict[str, Any], spec: RunSpec) -> Iterator[str]:
    c, votes = spec.certify, record["votes"]
    for name, wanted in (("n", c.n), ("alpha", c.alpha), ("sigma", spec.sigma)):
        if record[name] != wanted:
            yield f"{name} = {record[name]}, but the run has {wanted}"
    if sum(votes.values()) != record["draws"]:
        yield f"{record['draws']} draws, but {sum(votes.values())} votes"
    if sum(votes.get(str(label), 0) for label in record["chosen"]) != record["count"]:
        yield f"count = {record['count']}, but the votes for {record['chosen']} are others"


def _of_a_radius(record: dict[str, Any], spec: RunSpec, schedule: Schedule | None) -> Iterator[str]:
    c, radius, draws = spec.certify, record["radius"], record["draws"]
    if schedule is None:
        right = float(certified_radius(record["count"], c.n, c.alpha, spec.sigma or 0.0))
        if draws != c.n:
            yield f"{draws} draws of {c.n}"
        elif abs(radius - right) > TOLERANCE * max(right, 1e-3):
            yield f"radius {radius:.6g}, but {record['count']} of {c.n} votes give {right:.6g}"
    elif draws not in schedule.looks:
        yield f"{draws} draws, at which adaptive sampling of at most {c.n} does not look"
    elif radius not in schedule.radii:
        yield f"radius {radius:.9g} is none that adaptive sampling decides"
    else:
        yield from _of_a_decision(record["count"], schedule.looks.index(draws), schedule.radii.index(radius), schedule)


def _of_a_decision(count: int, look: int, reached: int, schedule: Schedule) -> Iterator[str]:
    """Whether so many of the thresholds can have been reached, and whether drawing ends with that.

    The counts at the looks before are not in the record: a threshold can have been reached at one of them, with at most
    the votes of the end.
    """
    now, stops = schedule.decide(look, count, reached)
    if int(now) != reached:
        right, said = schedule.radii[int(now)], schedule.radii[reached]
        yield f"{count} votes at the last look certify {right:.6g}, not {said:.6g}"
    elif reached and not (schedule.certifying[: look + 1, reached - 1] <= count).any():
        yield f"{count} votes certify {schedule.radii[reached]:.6g} at no look up to the last"
    elif not bool(stops) and look + 1 < len(schedule.looks):
        yield f"drawing ended at {schedule.looks[look]} draws, where nothing was decided"
