"""A study: a grid of runs, methods × σ × seeds, from one short file; interrupted, it goes on where it stopped."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, field_validator

from suite import data as datasets
from suite.data import Dataset
from suite.errors import UserError, unknown
from suite.pipeline import Machine, run, work
from suite.progress import console, duration
from suite.spec.run_spec import RunSpec, make_spec
from suite.spec.sections import Frozen


class Grid(Frozen):
    """What a study's file says: `settings` are every run's, those of `methods` one method's, over them; flat or dotted
    as RunSpec takes them. Methods without settings of their own may be a list of names.
    """

    title: str
    dataset: str | None = Field(None, description="what the study is about, where it is about one data set alone")
    methods: dict[str, dict[str, Any]] = Field(min_length=1)
    sigmas: tuple[float, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)

    @field_validator("methods", mode="before")
    @classmethod
    def _without_settings(cls, methods: Any) -> Any:
        return {name: {} for name in methods} if isinstance(methods, list) else methods

    def narrowed(self, given: dict[str, Sequence[Any]]) -> Grid:
        """The study with other σ or seeds, or with some of its methods; UserError for a method that it has not."""
        for method in given.get("methods", ()):
            if method not in self.methods:
                raise unknown("method of this study", method, self.methods)
        chosen = {method: self.methods[method] for method in given.get("methods") or self.methods}
        return Grid(**self.model_dump() | given | {"methods": chosen})


def load_grid(name: str) -> Grid:
    """The study called `name`, of those that come with the suite, or in the TOML file at that path.

    Raises UserError where there is none, or where it does not say what a study has to say.
    """
    own = files("suite.experiments")
    known = sorted(file.name.removesuffix(".toml") for file in own.iterdir() if file.name.endswith(".toml"))
    file = Path(name) if name.endswith(".toml") else own / f"{name}.toml"
    if not file.is_file():
        raise unknown("study", name, known)
    try:
        return Grid(**tomllib.loads(file.read_text(encoding="utf-8")))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{file}: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(f"{file}: {first['loc'][0]}: {first['msg']}") from error


def runs_of(grid: Grid, dataset: str | None = None, **given: Any) -> list[RunSpec]:
    """The grid as runs: the first seed's before the second's, so that a whole comparison stands as early as it can.

    `dataset` is the study's own where None is given. `given` are settings laid over the study's, such as the profile.
    Raises UserError where there is no data set, and as make_spec does.
    """
    dataset = dataset or grid.dataset
    if not dataset:
        raise UserError(f"the study '{grid.title}' is about no data set of its own: give --dataset")
    return [
        make_spec(**{"method": method, "dataset": dataset, "sigma": sigma, "seed": seed} | grid.settings | own | given)
        for seed in grid.seeds
        for sigma in grid.sigmas
        for method, own in grid.methods.items()
    ]


def carry_out(specs: Sequence[RunSpec], machine: Machine) -> Iterator[Path]:
    """Do all runs of one data set in turn, saying how many are left and for how long; their folders as they finish.

    Models are trained once and shared. A run that fails does not keep the others from being made; once they are, a
    UserError names it. The time left is the time taken so far in proportion to the arithmetic that is left.
    """
    data = datasets.load(specs[0].dataset, machine.data_root)
    specs = [spec.on(data.fingerprint) for spec in specs]
    failed, begun, total = [], time.monotonic(), left(specs, data, machine)
    for number, spec in enumerate(specs):
        still = left(specs[number:], data, machine)
        rate = (time.monotonic() - begun) / (total - still) if total > still else None
        said = f", about {duration(rate * still)} left" if rate else ""
        console.print(f"run {number + 1} of {len(specs)}{said}: {spec.name}", highlight=False, soft_wrap=True)
        try:
            yield run(spec, machine, data=data).path
        except UserError as error:
            console.print(f"{spec.name} failed: {error}", highlight=False, markup=False, soft_wrap=True)
            failed.append(spec.name)
    if failed:
        raise UserError(f"{len(failed)} of {len(specs)} runs failed: {', '.join(failed)}; the others are finished")


def left(specs: Sequence[RunSpec], data: Dataset, machine: Machine) -> float:
    """Forward passes of one image that the runs still take, a model that several share counted once."""
    items: dict[str, float] = {}
    for spec in specs:
        items |= work(spec, data, machine)
    return sum(items.values())
