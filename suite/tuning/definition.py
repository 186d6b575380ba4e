"""What a study is: begun from what is given, or taken up again by its name; its samplers and pruners."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Self, TypedDict

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, NSGAIISampler, RandomSampler, TPESampler
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from methods import METHODS
from suite.boards.board import load_board
from suite.errors import UserError, unknown
from suite.progress import logger
from suite.ranges import one_line
from suite.spec.profiles import default_profile
from suite.spec.run_spec import RunSpec
from suite.statistics.bounds import largest_radius
from suite.tuning.objectives import Objective, find_objective
from suite.tuning.space import Params, build_space, find_recipe, list_combinations, parse_search
from suite.tuning.storage import Storage

ATTRIBUTE = "suite"  # of a study in its storage: its definition
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


class StudyOptions(TypedDict, total=False):
    """What a user may say about a study; the rest is as the study was begun with, or StudyDefinition's default."""

    method: str
    dataset: str
    settings: dict[str, Any]  # of every trial, as RunSpec takes them
    search: list[str]  # texts for `parse_search`
    objectives: list[str]
    sampler: str
    pruner: str
    seed: int
    validation: float
    n: int
    images: int


class StudyDefinition(BaseModel):
    """What a study was begun with. Its storage keeps it under these names, as JSON, in an attribute of the study.

    Raises UserError for an unknown sampler or pruner, and for objectives that the sampler cannot search.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    dataset: str
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="of every trial")
    search: dict[str, str] = Field(description="the range of each searched setting, in the notation of --search")
    objectives: tuple[str, ...] = ("certified_accuracy",)
    sampler: str = "tpe"
    pruner: str = "quartile"
    seed: int = 0
    validation: float = Field(0.2, description="share of the training images to measure on")
    n: int = Field(1_000, description="draws for a trial's certificates, at most")
    images: int = Field(300, description="validation images to certify, at most")

    @model_validator(mode="after")
    def _can_be_searched(self) -> Self:
        if self.sampler not in SAMPLERS:
            raise unknown("sampler", self.sampler, SAMPLERS)
        if self.pruner not in PRUNERS:
            raise unknown("pruner", self.pruner, PRUNERS)
        if self.sampler == "cma-es" and len(self.objectives) > 1:
            raise UserError("cma-es is for one objective; take tpe, gp, nsga-ii, random or grid")
        if len(set(self.objectives)) < len(self.objectives):
            raise UserError("an objective is named twice")
        if not 0 < self.validation < 1:
            raise UserError(f"--validation is a share between 0 and 1, not {self.validation:g}")
        return self

    def to_json(self) -> dict[str, JsonValue]:
        """What the storage keeps."""
        content: dict[str, JsonValue] = self.model_dump(mode="json")
        return content

    @property
    def default_name(self) -> str:
        """The name of a study that is given none: the same for the same definition."""
        digest = hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.method}-{Path(self.dataset).name}-{digest}"

    @property
    def run_settings(self) -> dict[str, Any]:
        """The settings that all trials and the row of the winner share, as RunSpec takes them."""
        return {"method": self.method, "dataset": self.dataset, **self.settings}

    @property
    def board_radii(self) -> tuple[float, ...]:
        return load_board(Path(self.dataset).name).radii

    def build_objectives(self) -> list[Objective]:
        return [find_objective(name, self.board_radii) for name in self.objectives]

    def build_space(self) -> dict[str, BaseDistribution]:
        """The distribution of each searched setting. Raises UserError for what cannot be searched so."""
        return build_space(self.run_settings, self.search)

    def first_trials(self, space: dict[str, BaseDistribution]) -> list[Params]:
        """The trials that are known from the beginning: of a grid all, in an order of the seed; else the method's
        recipe, where it lies within the ranges, so that the study shows the gain over it."""
        if self.sampler == "grid":
            everything = list_combinations(space)
            Random(self.seed).shuffle(everything)
            return everything
        recipe = find_recipe(self.run_settings, space)
        return [recipe] if len(recipe) == len(space) else []

    def explain_reach(self, sigma: FloatDistribution | CategoricalDistribution) -> str:
        """Which radii of the objectives count for the larger of the σ searched alone, because no number of agreeing
        votes certifies them at the smallest; empty where all count."""
        values: Any = sigma.choices if isinstance(sigma, CategoricalDistribution) else [sigma.low]
        factor = largest_radius(self.n, self.trial_spec({}).certify.alpha, 1.0)
        radii = sorted({radius for each in self.build_objectives() for radius in each.radii or ()})
        late = [f"{r:g} from {r / factor:.2f} on" for r in radii if r > factor * min(values)]
        if not late:
            return ""
        limit = f"{self.n:,} draws certify no radius above {factor:.2f}σ"
        return f"{limit}, so radii count from a σ on: {', '.join(late)} (--n)"

    def trial_spec(self, params: Params) -> RunSpec:
        """The run of a trial: the study's settings, these values, and certificates as cheap as the objectives allow."""
        wanted = self.build_objectives()
        certify: dict[str, Any] = {"certify.n": self.n, "certify.images": self.images, "certify.every": 1}
        if all(each.radii is not None for each in wanted):
            radii = {radius for each in wanted for radius in each.radii or ()} or self.board_radii[:1]
            certify |= {"certify.sampling": "adaptive", "certify.radii": sorted(radii)}
        protocols = sorted({"certify", *(each.protocol for each in wanted)})
        return RunSpec(**{**self.run_settings, **params, **certify, "protocols": protocols})


def begin(given: StudyOptions, name: str | None, storage: Storage) -> optuna.Study:
    """The study called `name`, begun now unless it is there; without a name, the one of just this definition.

    What is not given is as the study was begun with, and what is given has to be the same. Raises UserError for what
    cannot be searched so, and for a study that was begun otherwise.
    """
    known = {study.study_name: study.user_attrs.get(ATTRIBUTE) for study in storage.optuna.get_all_studies()}
    if name in known and not known[name] and not is_half_begun(name, storage):
        raise UserError(f"the study '{name}' in {storage.url} was not begun by 'suite tune'; choose another --study")
    stored = parse_definition(name, known[name]) if name and known.get(name) else None
    definition = complete(given, stored)
    name = name or definition.default_name
    if known.get(name):
        check_same(name, stored or parse_definition(name, known[name]), definition)
    space = definition.build_space()
    directions = [each.direction for each in definition.build_objectives()]
    definition.trial_spec({})
    queue = definition.first_trials(space)
    study = optuna.create_study(storage=storage.optuna, study_name=name, directions=directions, load_if_exists=True)
    if [direction.name.lower() for direction in study.directions] != directions:
        raise UserError(f"the study '{name}' in {storage.url} has other directions; choose another --study")
    if not known.get(name):  # new, or killed before it was whole
        sigma = space.get("sigma")
        if isinstance(sigma, FloatDistribution | CategoricalDistribution) and (said := definition.explain_reach(sigma)):
            logger.info(said)
        for values in queue:
            study.enqueue_trial(values, skip_if_exists=True)
        study.set_metric_names(list(definition.objectives))
        study.set_user_attr(ATTRIBUTE, definition.to_json())
    study.pruner = PRUNERS[definition.pruner]()
    return study


def is_half_begun(name: str | None, storage: Storage) -> bool:
    """Whether a study without a definition may be one whose process was killed while it began it: nothing ran in it."""
    study = optuna.load_study(study_name=name, storage=storage.optuna)
    return all(trial.state == optuna.trial.TrialState.WAITING for trial in study.get_trials(deepcopy=False))


def complete(given: StudyOptions, stored: StudyDefinition | None) -> StudyDefinition:
    """The whole definition of a study. Raises UserError for what is missing or unknown."""
    values: dict[str, Any] = stored.model_dump() if stored else {}
    values |= {name: value for name, value in given.items() if name not in ("search", "settings")}
    for needed in ("method", "dataset"):
        if needed not in values:
            raise UserError(f"a new study needs a {needed}: --{needed}")
    settings = given.get("settings") or values.get("settings", {})
    values["settings"] = json.loads(json.dumps({"profile": default_profile(values["dataset"])} | settings))
    tunable = METHODS.get(values["method"]).tunable
    if given.get("search") or not stored:
        free = {name: text for name, text in tunable.items() if name not in values["settings"]}
        values["search"] = parse_search(given.get("search", []), free)
    try:
        return StudyDefinition(**values)
    except ValidationError as error:
        raise UserError(one_line(error)) from error


def parse_definition(name: str, stored: object) -> StudyDefinition:
    """The definition that a storage keeps of a study. Raises UserError where it is none of this version's."""
    try:
        return StudyDefinition.model_validate(stored)
    except ValidationError as error:
        raise UserError(f"the study '{name}' has a definition that cannot be read: {one_line(error)}") from error


def definition_of(study: optuna.Study) -> StudyDefinition:
    """What a study was begun with. Raises UserError where it cannot be read."""
    return parse_definition(study.study_name, study.user_attrs.get(ATTRIBUTE))


def check_same(name: str, stored: StudyDefinition, definition: StudyDefinition) -> None:
    """Raises UserError where a study was begun with something else."""
    there, here = stored.to_json(), definition.to_json()
    differing = [
        f"{each}: {json.dumps(there[each])} there, {json.dumps(here[each])} here"
        for each in here
        if there[each] != here[each]
    ]
    if differing:
        raise UserError(
            f"the study '{name}' was begun with another definition ({'; '.join(differing)}); "
            "leave that out to go on with it, or choose another --study"
        )
