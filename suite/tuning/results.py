"""What studies found: pure functions of Optuna's studies, for the command line and the app. Nothing here writes."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import optuna
import pandas as pd
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState
from pydantic import JsonValue

from suite.errors import UserError, unknown
from suite.spec.run_spec import RunSpec
from suite.spec.shell_line import command
from suite.tuning.definition import ATTRIBUTE, StudyDefinition, definition_of
from suite.tuning.space import Params
from suite.tuning.storage import ERRORS, Storage

# the first is said whatever the target; ours is one to minimise
warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes|The number of trials is too small")
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # what `--trials` counts


@dataclass(frozen=True)
class StudySummary:
    """One line of a list. `best` is the best value of a single objective, or the size of the front in words."""

    study: str
    method: str
    dataset: str
    objectives: str
    finished: int
    pruned: int
    failed: int
    running: int
    best: float | str | None


@dataclass(frozen=True)
class BestTrial:
    """A trial that no other one beats: its value for each objective, and the command that makes its row."""

    trial: int
    values: dict[str, float]
    settings: Params
    command: str


@dataclass(frozen=True)
class StudyReport:
    """All of a study; `importances` by objective, `trials` as `tabulate_trials` gives them."""

    summary: StudySummary
    definition: StudyDefinition
    best_trials: list[BestTrial]
    importances: dict[str, dict[str, float]]
    trials: pd.DataFrame

    def to_json(self) -> dict[str, JsonValue]:
        """Its JSON document."""
        winners = [
            {"trial": each.trial, **each.values, "settings": each.settings, "command": each.command}
            for each in self.best_trials
        ]
        trials = json.loads(self.trials.to_json(orient="records", double_precision=15))
        document: dict[str, Any] = {**asdict(self.summary), "definition": self.definition.to_json()}
        return document | {"best_trials": winners, "importances": self.importances, "trials": trials}


def open_studies(url: str) -> list[optuna.Study]:
    """The studies of a storage that `suite tune` began, by name. Raises UserError where it cannot be read."""
    storage = Storage(url, look=True)
    try:
        names = sorted(study.study_name for study in storage.optuna.get_all_studies() if ATTRIBUTE in study.user_attrs)
        return [optuna.load_study(study_name=name, storage=storage.optuna) for name in names]
    except ERRORS as error:
        raise storage.explain(error) from error


def open_study(name: str, url: str) -> optuna.Study:
    """The study called `name`. Raises UserError for one that is not there, naming the nearest."""
    found = {study.study_name: study for study in open_studies(url)}
    if name not in found:
        raise unknown("study", name, found) if found else UserError(f"there is no study in {url} yet")
    return found[name]


def summarise(study: optuna.Study) -> StudySummary:
    """A study in one line."""
    definition, states = definition_of(study), Counter(trial.state for trial in study.get_trials(deepcopy=False))
    best: float | str | None = None
    if front := best_trials(study):
        best = front[0].values[0] if len(definition.objectives) == 1 else f"{len(front)} on the front"
    return StudySummary(
        study=study.study_name,
        method=definition.method,
        dataset=definition.dataset,
        objectives=", ".join(definition.objectives),
        finished=sum(states[state] for state in FINISHED),
        pruned=states[TrialState.PRUNED],
        failed=states[TrialState.FAIL],
        running=states[TrialState.RUNNING],
        best=best,
    )


def best_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or with several objectives the Pareto front: no other trial is as good in all and better in one.

    Only trials that were completed count; none yet: an empty list. The front is in the order of the first objective.
    """
    if not any(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return []
    if len(study.directions) == 1:
        return [study.best_trial]
    return sorted(study.best_trials, key=lambda trial: trial.values[0])


def row_settings(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """The settings of a run with a trial's values, on all training images and with the protocols of a run."""
    return {**definition_of(study).run_settings, **trial.params}


def run_line(study: optuna.Study, trial: FrozenTrial) -> str:
    """The `suite run` command that makes the board's row of a trial, on the test set."""
    spec = RunSpec(**row_settings(study, trial))
    return command(spec, spec.protocols)


def tabulate_trials(study: optuna.Study) -> pd.DataFrame:
    """A row per trial, by number: state, a column per objective and per searched setting (NaN where there is none),
    seconds, `run` (the folder of its run), `mlflow` (its run there), `retry_of` (the trial it repeats) and `error`."""
    objectives, rows = definition_of(study).objectives, []
    for trial in study.get_trials(deepcopy=False):
        values = trial.values if trial.state == TrialState.COMPLETE else [None] * len(objectives)
        row = {"trial": trial.number, "state": trial.state.name.lower()}
        row |= dict(zip(objectives, values, strict=True)) | trial.params
        row["seconds"] = trial.duration.total_seconds() if trial.duration else None
        rows.append(row | {name: trial.user_attrs.get(name) for name in ("run", "mlflow", "retry_of", "error")})
    return pd.DataFrame(rows)


def rank_settings(study: optuna.Study) -> dict[str, dict[str, float]]:
    """By objective: how much each searched setting decides whether a trial is among the best, shares of 1 (PED-ANOVA,
    Watanabe et al. 2023). Empty with fewer than two completed trials, or where their values do not differ."""
    found = {}
    for index, name in enumerate(definition_of(study).objectives):
        try:
            found[name] = get_param_importances(study, target=cost_of(study, index))
        except (RuntimeError, ValueError):  # too few trials, or no variance
            continue
    return found


def cost_of(study: optuna.Study, index: int) -> Callable[[FrozenTrial], float]:
    """An objective as one to minimise, which is what importances are computed of."""
    sign = -1.0 if study.directions[index] == optuna.study.StudyDirection.MAXIMIZE else 1.0

    def cost(trial: FrozenTrial) -> float:
        return sign * float(trial.values[index])

    return cost


def report(study: optuna.Study) -> StudyReport:
    """All of a study: its best trials with the commands for their rows, what mattered, and every trial."""
    definition = definition_of(study)
    winners = [
        BestTrial(
            trial.number,
            dict(zip(definition.objectives, trial.values, strict=True)),
            trial.params,
            run_line(study, trial),
        )
        for trial in best_trials(study)
    ]
    return StudyReport(summarise(study), definition, winners, rank_settings(study), tabulate_trials(study))
