"""What a study is: begun from what is given, or taken up again by its name; its samplers and pruners."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler

from methods import METHODS
from suite.boards.board import load_board
from suite.errors import UserError, unknown
from suite.spec.profiles import default_profile
from suite.spec.run_spec import RunSpec, make_spec
from suite.tuning.objectives import Objective, objective
from suite.tuning.results import ATTRIBUTE
from suite.tuning.space import defaults, grid, parse_search, search_space
from suite.tuning.storage import Storage

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(seed=seed, multivariate=True, constant_liar=True),
    "gp": lambda seed: GPSampler(seed=seed),
    "cma-es": lambda seed: CmaEsSampler(seed=seed, warn_independent_sampling=False),
    "nsga-ii": lambda seed: NSGAIISampler(seed=seed, population_size=20),
    "random": lambda seed: RandomSampler(seed=seed),
    "grid": lambda seed: RandomSampler(seed=seed),  # its combinations wait in the study's queue from the beginning
}
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "quartile": lambda: optuna.pruners.PercentilePruner(75.0, n_startup_trials=5),  # the worst quarter at each look
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5),
    "halving": lambda: optuna.pruners.SuccessiveHalvingPruner(min_resource=25, reduction_factor=2),
    "none": optuna.pruners.NopPruner,
}
DEFAULTS: dict[str, Any] = {
    "settings": {}, "objectives": ["certified_accuracy"], "sampler": "tpe", "pruner": "quartile", "seed": 0,
    "validation": 0.2, "n": 1_000, "images": 300,
}  # fmt: skip


def begin(given: dict[str, Any], name: str | None, storage: Storage) -> optuna.Study:
    """The study called `name`, begun now unless it is there; without a name, the one of just this definition.

    `given` may have method, dataset, settings (fixed ones, as RunSpec takes them), search (texts for `parse_search`)
    and the names in DEFAULTS. What is not given is as the study was begun with, and what is given has to be the same.
    Raises UserError for what cannot be searched so, and for a study that was begun otherwise.
    """
    known = {study.study_name: study.user_attrs for study in storage.optuna.get_all_studies()}
    stored = known.get(name or "", {}).get(ATTRIBUTE)
    if name in known and not stored:
        raise UserError(f"the study '{name}' in {storage.url} was not begun by 'suite tune'; choose another --study")
    about = complete(given, stored)
    name = name or f"{about['method']}-{Path(about['dataset']).name}-{digest(about)}"
    stored = stored or known.get(name, {}).get(ATTRIBUTE)
    if stored:
        check_same(name, stored, about)
    space = search_space(fixed(about), about["search"])
    directions = [each.direction for each in objectives(about)]
    trial_spec(about, {})
    queue = combinations(about, space)
    study = optuna.create_study(storage=storage.optuna, study_name=name, directions=directions, load_if_exists=True)
    if not stored:
        for values in queue:
            study.enqueue_trial(values, skip_if_exists=True)
        study.set_metric_names(about["objectives"])
        study.set_user_attr(ATTRIBUTE, about)
    study.pruner = PRUNERS[about["pruner"]]()
    return study


def complete(given: dict[str, Any], stored: dict[str, Any] | None) -> dict[str, Any]:
    """The whole definition of a study. Raises UserError for what is missing or unknown."""
    for needed in ("method", "dataset"):
        if needed not in {**(stored or {}), **given}:
            raise UserError(f"a new study needs a {needed}: --{needed}")
    about = {**DEFAULTS, **(stored or {}), **{k: v for k, v in given.items() if k not in ("search", "settings")}}
    if given.get("settings"):
        about["settings"] = given["settings"]
    about["settings"] = {"profile": default_profile(about["dataset"])} | about["settings"]
    tunable = METHODS.get(about["method"]).tunable
    if given.get("search") or not stored:
        open_ones = {name: text for name, text in tunable.items() if name not in about["settings"]}
        about["search"] = parse_search(given.get("search") or [], open_ones)
    for kind, names in (("sampler", SAMPLERS), ("pruner", PRUNERS)):
        if about[kind] not in names:
            raise unknown(kind, about[kind], names)
    if about["sampler"] == "cma-es" and len(about["objectives"]) > 1:
        raise UserError("cma-es is for one objective; take tpe, gp, nsga-ii, random or grid")
    if len(set(about["objectives"])) < len(about["objectives"]):
        raise UserError("an objective is named twice")
    if not 0 < about["validation"] < 1:
        raise UserError(f"--validation is a share between 0 and 1, not {about['validation']:g}")
    return json.loads(json.dumps(about))


def check_same(name: str, stored: dict[str, Any], about: dict[str, Any]) -> None:
    """Raises UserError where a study was begun with something else."""
    differing = [
        f"{each}: {json.dumps(stored.get(each))} there, {json.dumps(about[each])} here"
        for each in about
        if stored.get(each) != about[each]
    ]
    if differing:
        raise UserError(
            f"the study '{name}' was begun with another definition ({'; '.join(differing)}); "
            "leave that out to go on with it, or choose another --study"
        )


def digest(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:8]


def fixed(about: dict[str, Any]) -> dict[str, Any]:
    """The settings that all trials and the row of the winner share."""
    return {"method": about["method"], "dataset": about["dataset"], **about["settings"]}


def objectives(about: dict[str, Any]) -> list[Objective]:
    return [objective(name, board_radii(about)) for name in about["objectives"]]


def board_radii(about: dict[str, Any]) -> tuple[float, ...]:
    return load_board(Path(about["dataset"]).name).radii


def combinations(about: dict[str, Any], space: dict[str, BaseDistribution]) -> list[dict[str, Any]]:
    """The trials that are known from the beginning: of a grid all, in an order of the seed; else the method's recipe,
    where it lies within the ranges, so that a study tells what it gained over it."""
    if about["sampler"] == "grid":
        everything = grid(space)
        Random(about["seed"]).shuffle(everything)
        return everything
    recipe = defaults(fixed(about), space)
    return [recipe] if len(recipe) == len(space) else []


def trial_spec(about: dict[str, Any], params: dict[str, Any]) -> RunSpec:
    """The run of a trial: the study's settings, these values, and certificates as cheap as its objectives allow."""
    wanted = objectives(about)
    certify: dict[str, Any] = {"certify.n": about["n"], "certify.images": about["images"], "certify.every": 1}
    if all(each.radii is not None for each in wanted):
        radii = {radius for each in wanted for radius in each.radii or ()} or board_radii(about)[:1]
        certify |= {"certify.sampling": "adaptive", "certify.radii": sorted(radii)}
    protocols = sorted({"certify", *(each.protocol for each in wanted)})
    return make_spec(**{**fixed(about), **params, **certify, "protocols": protocols})
