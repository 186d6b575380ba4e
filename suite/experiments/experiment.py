"""An experiment: a grid of runs, methods × σ × seeds, from one short file; interrupted, it goes on where it stopped."""

from __future__ import annotations

import time
import tomllib
from collections import deque
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from suite import data as datasets
from suite.effort import count_passes
from suite.errors import UserError, unknown
from suite.pipeline import Machine, run
from suite.progress import duration, logger
from suite.spec.run_spec import RunSpec
from suite.spec.sections import Frozen
from suite.store.locks import Busy


class Experiment(Frozen):
    """What the file of an experiment says.

    `settings` hold for every run, those of `methods` for one method and go before them; flat or dotted as RunSpec takes
    them. Methods without settings of their own may be a list of names.
    """

    title: str
    dataset: str | None = Field(None, description="the data set, where the experiment is about one alone")
    methods: dict[str, dict[str, Any]] = Field(min_length=1)
    sigmas: tuple[float, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("methods", mode="before")
    @classmethod
    def _accept_names(cls, methods: object) -> object:
        return {name: {} for name in methods} if isinstance(methods, list) else methods

    def select(
        self, methods: Sequence[str] = (), sigmas: Sequence[float] = (), seeds: Sequence[int] = ()
    ) -> Experiment:
        """The experiment with some of its methods, or with other σ or seeds; an empty list leaves its own.

        Raises UserError for a method that it does not have.
        """
        for method in methods:
            if method not in self.methods:
                raise unknown("method of this experiment", method, self.methods)
        chosen = {method: self.methods[method] for method in methods or self.methods}
        changed = {"methods": chosen, "sigmas": sigmas or self.sigmas, "seeds": seeds or self.seeds}
        return Experiment(**self.model_dump() | changed)


def load_experiment(name: str) -> Experiment:
    """The experiment called `name`, of those that come with the suite, or in the TOML file at that path.

    Raises UserError where there is none, or where the file does not say what an experiment has to say.
    """
    own = files("suite.experiments")
    known = sorted(file.name.removesuffix(".toml") for file in own.iterdir() if file.name.endswith(".toml"))
    file = Path(name) if name.endswith(".toml") else own / f"{name}.toml"
    if not file.is_file():
        raise unknown("experiment", name, known)
    try:
        return Experiment(**tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {first['loc'][0]}: {first['msg']}") from error
    except (ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{file} is not the TOML file of an experiment: {error}") from error


def runs_of(experiment: Experiment, dataset: str | None = None, **given: object) -> list[RunSpec]:
    """Its runs: the first seed's before the second's, so that a whole comparison is finished as early as it can be.

    `dataset` is the experiment's own where None is given. `given` are settings that go before the experiment's, such as
    the profile. A method without noise makes the same run at every σ, which is there once. Raises UserError where there
    is no data set, and as RunSpec does.
    """
    dataset = dataset or experiment.dataset
    if not dataset:
        raise UserError(f"the experiment '{experiment.title}' is about no data set of its own: give --dataset")
    specs = [
        RunSpec(
            **{"method": method, "dataset": dataset, "sigma": sigma, "seed": seed} | experiment.settings | own | given
        )
        for seed in experiment.seeds
        for sigma in experiment.sigmas
        for method, own in experiment.methods.items()
    ]
    return list({spec.name: spec for spec in specs}.values())


def carry_out(specs: Sequence[RunSpec], machine: Machine) -> Iterator[Path]:
    """Do all runs of one data set in turn, saying how many are left and for how long; their folders as they finish.

    Models are trained once and shared. Several processes at work on the same runs share them: what another one is at
    is left to it, and waited for when nothing else is left. A run that fails does not keep the others from being made;
    once they are, a UserError names it. The time left is the time taken so far in proportion to the arithmetic left.
    """
    data = datasets.load(specs[0].dataset, machine.data_root)
    left = deque(spec.on(data.fingerprint) for spec in specs)
    failed, begun, total, busy = [], time.monotonic(), count_passes(left, data, machine), 0
    while left:
        passes = count_passes(left, data, machine)
        rate = (time.monotonic() - begun) / (total - passes) if total > passes else None
        time_left = f", about {duration(rate * passes)} left" if rate else ""
        spec = left.popleft()
        logger.info(f"run {len(specs) - len(left)} of {len(specs)}{time_left}: {spec.name}")
        try:
            yield run(spec, machine, data=data, wait=busy >= len(left)).path
            busy = 0
        except Busy as error:
            logger.info(f"{error}; another run meanwhile")
            left.append(spec)
            busy += 1
        except UserError as error:
            logger.error(f"{spec.name} failed: {error}")
            failed.append(spec.name)
    if failed:
        others = "; the others are finished" if len(failed) < len(specs) else ""
        raise UserError(f"{len(failed)} of {len(specs)} runs failed: {', '.join(failed)}{others}")
