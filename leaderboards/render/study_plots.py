"""The plots of a study of settings: Optuna's own."""

from __future__ import annotations

from collections.abc import Callable

import optuna
from optuna.trial import FrozenTrial
from plotly.graph_objects import Figure

from suite.tuning.definition import definition_of
from suite.tuning.results import best_trials, cost_of, rank_settings


def plot_study(study: optuna.Study) -> dict[str, Figure]:
    """Plots by title: the front of several objectives (at most three), or of a single one its intermediate
    certificates; of each objective the history, the importances and a slice per searched setting. Those that the
    trials are too few for are left out."""
    draw, objectives = optuna.visualization, definition_of(study).objectives
    if not best_trials(study):
        return {}
    found, importances = {}, rank_settings(study)
    if 1 < len(objectives) <= 3:
        found["Pareto front"] = draw.plot_pareto_front(study, target_names=list(objectives))
    for index, name in enumerate(objectives):
        target = value_of(index)
        found[f"History of {name}"] = draw.plot_optimization_history(study, target=target, target_name=name)
        found[f"Slices of {name}"] = draw.plot_slice(study, target=target, target_name=name)
        if name in importances:
            cost = cost_of(study, index)
            found[f"Importances for {name}"] = draw.plot_param_importances(study, target=cost, target_name=name)
    if len(objectives) == 1:
        found["Certificates during training"] = draw.plot_intermediate_values(study)
    return found


def value_of(index: int) -> Callable[[FrozenTrial], float]:
    """An objective's value of a trial."""
    return lambda trial: float(trial.values[index])
