"""A study in MLflow: a run for the study, and nested in it a run for each trial, open for as long as the trial runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from suite.progress import console
from suite.store.mlflow import connect, experiment, flat, tracking_uri

FILES = ("spec.json", "environment.json", "result.json", "training.json", "certify.jsonl")


def spared(log: Callable[..., str | None]) -> Callable[..., str | None]:
    """A store that fails costs a warning and the log, never the study."""

    @wraps(log)
    def attempt(self: StudyLog, *given: Any, **named: Any) -> str | None:
        if not self.on:
            return None
        try:
            return log(self, *given, **named)
        except ImportError:
            reason = "is not installed"
        except Exception as error:  # whatever the store's client raises
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            reason = f"at {tracking_uri(self.runs)} failed ({said})"
        self.on = False
        console.print(f"MLflow {reason}: the study goes on and is not logged from here", style="yellow")
        return None

    return attempt


class StudyLog:
    """The log of one study, in MLflow's experiment "suite/<dataset>/studies"; with `on` = False it does nothing."""

    def __init__(self, runs: Path, study: str, storage: str, on: bool):
        self.runs, self.study, self.storage, self.on = runs, study, storage, on

    @spared
    def begin(self, about: dict[str, Any]) -> str:
        """Open the study's run; returns its id."""
        client = connect(self.runs)
        where = experiment(client, f"suite/{about['dataset']}/studies", self.runs)
        tags = {"suite.study": self.study, "suite.storage": self.storage}
        run_id = client.create_run(where, run_name=self.study, tags=tags).info.run_id
        for name, value in flat(about).items():
            client.log_param(run_id, name, value)
        return run_id

    @spared
    def begin_trial(self, parent: str, number: int, params: dict[str, Any]) -> str:
        """Open a trial's run inside its study's; returns its id."""
        client = connect(self.runs)
        tags = {
            "mlflow.parentRunId": parent,
            "suite.study": self.study,
            "suite.storage": self.storage,
        }
        where = client.get_run(parent).info.experiment_id
        name = f"{self.study}/{number}"
        run_id = client.create_run(where, run_name=name, tags=tags | {"suite.trial": str(number)}).info.run_id
        for setting, value in params.items():
            client.log_param(run_id, setting, value)
        return run_id

    @spared
    def end(self, run_id: str | None, status: str, values: dict[str, float], folder: Path | None = None) -> None:
        """Close a run with its objectives' values and, from a trial's folder, its figures, records and environment."""
        if run_id is None:
            return
        client = connect(self.runs)
        if folder and (folder / "result.json").exists():
            result = flat(json.loads((folder / "result.json").read_text()))
            values = {name: float(value) for name, value in result.items() if isinstance(value, float | int)} | values
            client.set_tag(run_id, "suite.run_id", folder.name)
            for name in FILES:
                client.log_artifact(run_id, str(folder / name))
        for name, value in values.items():
            client.log_metric(run_id, name.replace("@", "."), value)
        client.set_terminated(run_id, status)
