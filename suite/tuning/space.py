"""The search space of a study: which settings, over which ranges, in one notation for methods and for `--search`.

`0.1:0.5` is a range with both ends in it, `1e-3:1e-1:log` one whose logarithm is uniform, `relu,gelu` are choices, and
`0.1:0.5:5` or `1e-3:1e-1:log:5` are five evenly spaced points of a range (its ends among them), taken as choices.
"""

from __future__ import annotations

import json
import math
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from methods import METHODS
from suite.errors import UserError
from suite.spec.model_spec import ModelSpec
from suite.spec.names import nest
from suite.spec.run_spec import RunSpec, refuse_noise

Choice: TypeAlias = bool | int | float | str | None
Params: TypeAlias = dict[str, Choice]  # a value for each searched setting
SEARCHABLE = {"sigma", "arch", "training", "parameters", "start"}


def parse_search(texts: list[str], tunable: dict[str, str]) -> dict[str, str]:
    """Setting → range, from `name=range …` texts; a bare name takes its range from `tunable`, no text all of it.

    Raises UserError where a text is neither, a name stands twice, or there is nothing to search.
    """
    found: dict[str, str] = {}
    for text in " ".join(texts).split():
        name, _, given = text.partition("=")
        given = given or tunable.get(name, "")
        if not name or not given:
            known = ", ".join(tunable) or "none"
            raise UserError(
                f"--search takes NAME=LOW:HIGH[:log] or NAME=A,B,…, not '{text}'; "
                f"a name alone does for what the method has a range for: {known}"
            )
        if name in found:
            raise UserError(f"--search has '{name}' twice")
        found[name] = given
    if not (found or tunable):
        raise UserError("the method says nothing about what to tune; say it with --search NAME=LOW:HIGH")
    return found or dict(tunable)


def build_space(settings: dict[str, Any], search: dict[str, str]) -> dict[str, BaseDistribution]:
    """The distribution of each searched setting, over a run with these `settings`.

    A range of a setting that is a whole number has whole numbers only. Raises UserError for a setting nobody has or
    that is not the model's, a range that is empty, reversed or not within what the setting takes.
    """
    spec = RunSpec(**settings)
    space = {}
    for name, text in search.items():
        if name in settings:
            raise UserError(f"'{name}' is both set and searched")
        path = locate(spec, name)
        if path[0] not in SEARCHABLE:
            raise UserError(f"'{name}' cannot be searched: it says how a model is measured, not what it is")
        space[name] = build_distribution(name, text, whole=isinstance(follow(spec, path), int))
        for value in list_extremes(space[name]):
            refuse_noise(RunSpec(**settings, **{name: value}), {name: value})
    return space


def find_recipe(settings: dict[str, Any], space: dict[str, BaseDistribution]) -> Params:
    """What the method's recipe has for each searched setting that lies within its range there."""
    spec = RunSpec(**settings)
    found = {name: follow(spec, locate(spec, name)) for name in space}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, bool | int | float | str) and _contains(space[name], value)
    }


def list_combinations(space: dict[str, BaseDistribution]) -> list[Params]:
    """Every combination of a space of choices. Raises UserError for a range without points."""
    for name, found in space.items():
        if not isinstance(found, CategoricalDistribution):
            raise UserError(f"a grid needs points: --search {name}=LOW:HIGH:5 takes five, or say {name}=A,B,C")
    choices = [found.choices for found in space.values() if isinstance(found, CategoricalDistribution)]
    return [dict(zip(space, values, strict=True)) for values in product(*choices)]


def build_distribution(name: str, text: str, whole: bool) -> BaseDistribution:
    """What a range's text stands for. Raises UserError, also for `whole` numbers where an end is none."""
    if ":" not in text:
        return CategoricalDistribution([_parse_choice(part) for part in text.split(",")])
    low, high, log, points = _parse_range(name, text)
    if points:
        spaced = (np.geomspace if log else np.linspace)(low, high, points)
        values = [float(f"{value:.12g}") for value in spaced]
        return CategoricalDistribution(sorted({round(value) for value in values}) if whole else values)
    if not whole:
        return FloatDistribution(low, high, log=log)
    if low != int(low) or high != int(high):
        raise UserError(f"--search {name}={text}: {name} is a whole number")
    return IntDistribution(int(low), int(high), log=log)


def _parse_range(name: str, text: str) -> tuple[float, float, bool, int]:
    """low, high, whether it is logarithmic, and how many points (0: all in between)."""
    parts = text.split(":")
    log = "log" in parts[2:3]
    points = parts[2 + log :]
    try:
        low, high = float(parts[0]), float(parts[1])
        count = int(points[0]) if points else 0
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high)) or len(points) > 1:
        raise UserError(f"--search {name}={text} is no range: write LOW:HIGH, LOW:HIGH:log, or either with :POINTS")
    if low >= high:
        raise UserError(f"--search {name}={text} is {'empty' if low == high else 'reversed'}: LOW has to be below HIGH")
    if log and low <= 0:
        raise UserError(f"--search {name}={text}: a logarithmic range has to begin above 0")
    if points and count < 2:
        raise UserError(f"--search {name}={text}: a range has at least 2 points")
    return low, high, log, count


def list_extremes(found: BaseDistribution) -> list[Choice]:
    """The values that decide whether all are allowed: both ends, or every choice."""
    if isinstance(found, CategoricalDistribution):
        return list(found.choices)
    assert isinstance(found, FloatDistribution | IntDistribution)
    return [found.low, found.high]


def locate(spec: ModelSpec, name: str) -> list[str]:
    """Where a flat or dotted setting lies in a spec: "kappa" → parameters, kappa. Raises UserError for an unknown."""
    head, _, rest = name.partition(".")
    if head == "start" and spec.start:
        return ["start", *locate(spec.start, rest)]
    nested = nest({name: None}, METHODS.get(spec.method))
    path = []
    while isinstance(nested, dict):
        [(key, nested)] = nested.items()
        path.append(key)
    return path


def follow(spec: ModelSpec, path: list[str]) -> object:
    """The value there."""
    value: Any = spec.model_dump()
    for key in path:
        value = value[key]
    return value


def _contains(found: BaseDistribution, value: Choice) -> bool:
    if isinstance(found, CategoricalDistribution):
        return value in found.choices
    assert isinstance(found, FloatDistribution | IntDistribution)
    return isinstance(value, int | float) and found.low <= value <= found.high


def _parse_choice(text: str) -> Choice:
    try:
        value: Choice = json.loads(text)
        return value
    except ValueError:
        return text
