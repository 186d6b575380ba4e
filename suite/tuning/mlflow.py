"""A study in MLflow: a run for the study, and nested in it a run for each trial, open for as long as the trial runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec

from suite.errors import UserError, first_line, require
from suite.progress import console
from suite.store.mlflow import (
    connect,
    flatten,
    log_metrics,
    log_params,
    make_metrics,
    open_experiment,
    tracking_uri,
)
from suite.tuning.definition import StudyDefinition
from suite.tuning.space import Params

FILES = ("spec.json", "environment.json", "result.json", "training.json")
P = ParamSpec("P")


def spare_the_study(
    log: Callable[Concatenate[StudyLog, P], str | None],
) -> Callable[Concatenate[StudyLog, P], str | None]:
    """A store that fails costs a warning and the log, never the study."""

    @wraps(log)
    def attempt(self: StudyLog, /, *given: P.args, **named: P.kwargs) -> str | None:
        if not self.on:
            return None
        try:
            require("--track", "track", "mlflow")
            return log(self, *given, **named)
        except UserError as error:
            reason = str(error)
        except Exception as error:  # whatever the store's client raises
            reason = f"MLflow at {tracking_uri(self.runs)} failed ({first_line(error)})"
        self.on = False
        said = f"{reason}; the study goes on and is not logged from here"
        console.print(said, style="yellow", highlight=False, markup=False, soft_wrap=True)
        return None

    return attempt


class StudyLog:
    """The log of one study, in MLflow's experiment "suite/<dataset>/studies"; with `on` = False it does nothing."""

    def __init__(self, runs: Path, study: str, storage: str, on: bool):
        self.runs, self.study, self.storage, self.on = runs, study, storage, on

    @spare_the_study
    def begin(self, definition: StudyDefinition) -> str:
        """Open the study's run; returns its id."""
        client = connect(self.runs)
        where = open_experiment(client, f"suite/{definition.dataset}/studies", self.runs)
        tags = {"suite.study": self.study, "suite.storage": self.storage}
        run_id = str(client.create_run(where, run_name=self.study, tags=tags).info.run_id)
        log_params(client, run_id, flatten(definition.to_json()))
        return run_id

    @spare_the_study
    def begin_trial(self, parent: str, number: int, params: Params) -> str:
        """Open a trial's run inside its study's; returns its id."""
        client = connect(self.runs)
        tags = {
            "mlflow.parentRunId": parent,
            "suite.study": self.study,
            "suite.storage": self.storage,
            "suite.trial": str(number),
        }
        where = client.get_run(parent).info.experiment_id
        run_id = str(client.create_run(where, run_name=f"{self.study}/{number}", tags=tags).info.run_id)
        log_params(client, run_id, params)
        return run_id

    @spare_the_study
    def end(self, run_id: str | None, status: str, values: Mapping[str, float], folder: Path | None = None) -> None:
        """Close a run with its objectives' values and, from a trial's folder, its metrics, records and environment."""
        if run_id is None:
            return
        client, found = connect(self.runs), dict[str, object](values)
        if folder and (folder / "result.json").exists():
            found = flatten(json.loads((folder / "result.json").read_text())) | found
            client.set_tag(run_id, "suite.run_id", folder.name)
            for file in (*(folder / name for name in FILES), *sorted(folder.glob("certify*.jsonl"))):
                client.log_artifact(run_id, str(file))
        log_metrics(client, run_id, make_metrics({name.replace("@", "."): value for name, value in found.items()}))
        client.set_terminated(run_id, status)
