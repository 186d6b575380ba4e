"""What studies found: pure functions of Optuna's studies, for the command line and the app. Nothing here writes."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import optuna
import pandas as pd
from optuna.importance import get_param_importances
from optuna.trial import FrozenTrial, TrialState
from plotly.graph_objects import Figure

from suite.errors import UserError, unknown
from suite.tuning.storage import ERRORS, Storage

# the first is said whatever the target; ours is one to minimise
warnings.filterwarnings("ignore", message="PedAnovaImportanceEvaluator computes|The number of trials is too small")
ATTRIBUTE = "suite"  # of a study: what it was begun with
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # what `--trials` counts


def open_studies(url: str) -> list[optuna.Study]:
    """The studies of a storage that `suite tune` began, by name. Raises UserError where it cannot be read."""
    storage = Storage(url, create=False)
    try:
        names = sorted(study.study_name for study in storage.optuna.get_all_studies() if ATTRIBUTE in study.user_attrs)
        return [optuna.load_study(study_name=name, storage=storage.optuna) for name in names]
    except ERRORS as error:
        raise storage.unreachable(error) from error


def open_study(name: str, url: str) -> optuna.Study:
    """The study called `name`. Raises UserError for one that is not there, naming the nearest."""
    found = {study.study_name: study for study in open_studies(url)}
    if name not in found:
        raise unknown("study", name, found) if found else UserError(f"there is no study in {url} yet")
    return found[name]


def definition(study: optuna.Study) -> dict[str, Any]:
    """What a study was begun with: method, dataset, settings, search, objectives, sampler, pruner, seed, validation, n
    and images."""
    return study.user_attrs[ATTRIBUTE]


def summary(study: optuna.Study) -> dict[str, Any]:
    """One line of a list: JSON values. `best` is the best value of a single objective, or the size of the front."""
    about, states = definition(study), Counter(trial.state for trial in study.get_trials(deepcopy=False))
    found = best(study)
    objectives = about["objectives"]
    value = found[0].values[0] if found and len(objectives) == 1 else None
    return {
        "study": study.study_name,
        "method": about["method"],
        "dataset": about["dataset"],
        "objectives": ", ".join(objectives),
        "finished": sum(states[state] for state in FINISHED),
        "pruned": states[TrialState.PRUNED],
        "failed": states[TrialState.FAIL],
        "running": states[TrialState.RUNNING],
        "best": value if value is not None else (f"{len(found)} on the front" if found else None),
    }


def best(study: optuna.Study) -> list[FrozenTrial]:
    """The best trial, or with several objectives the Pareto front: no other trial is as good in all and better in one.

    Only trials that were completed count; none yet: an empty list. The front is in the order of the first objective.
    """
    if not any(trial.state == TrialState.COMPLETE for trial in study.get_trials(deepcopy=False)):
        return []
    if len(study.directions) == 1:
        return [study.best_trial]
    return sorted(study.best_trials, key=lambda trial: trial.values[0])


def settings(study: optuna.Study, trial: FrozenTrial) -> dict[str, Any]:
    """The settings of a run with a trial's values, on all training images and with the protocols of a run."""
    about = definition(study)
    return {"method": about["method"], "dataset": about["dataset"], **about["settings"], **trial.params}


def run_line(study: optuna.Study, trial: FrozenTrial) -> str:
    """The `suite run` command that makes the board's row of a trial, on the test set."""
    from suite.spec.run_spec import make_spec
    from suite.spec.shell_line import command

    spec = make_spec(**settings(study, trial))
    return command(spec, spec.protocols)


def trials_frame(study: optuna.Study) -> pd.DataFrame:
    """A row per trial, by number: state, a column per objective and per searched setting (NaN where there is none),
    seconds, `run` (the folder of its run), `mlflow` (its run there), `retry_of` (the trial it repeats) and `error`."""
    objectives, rows = definition(study)["objectives"], []
    for trial in study.get_trials(deepcopy=False):
        values = trial.values if trial.state == TrialState.COMPLETE else [None] * len(objectives)
        row = {"trial": trial.number, "state": trial.state.name.lower()}
        row |= dict(zip(objectives, values, strict=True)) | trial.params
        row["seconds"] = trial.duration.total_seconds() if trial.duration else None
        rows.append(row | {name: trial.user_attrs.get(name) for name in ("run", "mlflow", "retry_of", "error")})
    return pd.DataFrame(rows)


def importances(study: optuna.Study) -> dict[str, dict[str, float]]:
    """By objective: how much each searched setting decides whether a trial is among the best, shares of 1 (PED-ANOVA,
    Watanabe et al. 2023). Empty with fewer than two completed trials, or where their values do not differ."""
    found = {}
    for index, name in enumerate(definition(study)["objectives"]):
        try:
            found[name] = get_param_importances(study, target=_cost(study, index))
        except (RuntimeError, ValueError):  # too few trials, or no variance
            continue
    return found


def described(study: optuna.Study) -> dict[str, Any]:
    """All of a study as JSON values: its summary and definition, its best trials with the commands for their rows, the
    importances, and every trial."""
    found = [
        {
            "trial": trial.number,
            **dict(zip(definition(study)["objectives"], trial.values, strict=True)),
            "settings": trial.params,
            "command": run_line(study, trial),
        }
        for trial in best(study)
    ]
    trials = json.loads(trials_frame(study).to_json(orient="records", double_precision=15))
    about = summary(study) | {"definition": definition(study)}
    return about | {"best_trials": found, "importances": importances(study), "trials": trials}


def figures(study: optuna.Study) -> dict[str, Figure]:
    """Optuna's plotly figures by title: the front of several objectives (at most three), or the history of a single
    one, its intermediate certificates, the importances and a slice per searched setting; without those that the trials
    are too few for."""
    draw = optuna.visualization
    objectives = definition(study)["objectives"]
    if not best(study):
        return {}
    found = {}
    if 1 < len(objectives) <= 3:
        found["Pareto front"] = draw.plot_pareto_front(study, target_names=objectives)
    for index, name in enumerate(objectives):
        target = _target(index)
        found[f"History of {name}"] = draw.plot_optimization_history(study, target=target, target_name=name)
        found[f"Slices of {name}"] = draw.plot_slice(study, target=target, target_name=name)
        if name in importances(study):
            cost = _cost(study, index)
            found[f"Importances for {name}"] = draw.plot_param_importances(study, target=cost, target_name=name)
    if len(objectives) == 1:
        found["Certificates during training"] = draw.plot_intermediate_values(study)
    return found


def _target(index: int) -> Callable[[FrozenTrial], float]:
    return lambda trial: trial.values[index]


def _cost(study: optuna.Study, index: int) -> Callable[[FrozenTrial], float]:
    """An objective as one to minimise, which is what importances are computed of."""
    sign = -1.0 if study.directions[index] == optuna.study.StudyDirection.MAXIMIZE else 1.0
    return lambda trial: sign * trial.values[index]
