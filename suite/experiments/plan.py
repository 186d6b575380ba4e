"""What runs are to be, and how long they take on this machine, before any of them is begun."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from suite.data.layouts import NotFound
from suite.effort import pass_time, work
from suite.pipeline import Machine, load_for, need_model
from suite.progress import logger
from suite.spec.run_spec import RunSpec


@dataclass(frozen=True)
class Plan:
    """A run that is to be made. `seconds` says how long each part that is left of it takes, about; a part that an
    earlier run of the plan makes is not in it. It is None where the images are not there, and the run could not begin.
    """

    spec: RunSpec
    seconds: dict[str, float] | None


def make_plan(specs: Sequence[RunSpec], machine: Machine, *, train: bool = True) -> list[Plan]:
    """The plan of runs on one data set. Raises UserError for what `suite.pipeline.run` would refuse to begin with."""
    try:
        data = load_for(specs, machine, train=train, download=False)
    except NotFound:
        logger.warning(f"{specs[0].dataset} is not here: a run looks for it in --data-root, and downloads it if it can")
        return [Plan(spec, None) for spec in specs]
    found, counted, times = [], set[str](), dict[str, float]()
    for spec in [spec.on(data.fingerprint) for spec in specs]:
        if not train:
            need_model(spec, machine)
        if spec.arch not in times:
            times[spec.arch] = pass_time(spec, data, machine)
        left = {name: passes * times[spec.arch] for name, passes in work(spec, data, machine).items()}
        found.append(Plan(spec, {name: time for name, time in left.items() if time and name not in counted}))
        counted |= left.keys()
    return found
