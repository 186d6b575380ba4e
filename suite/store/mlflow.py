"""Finished runs sent to MLflow: after the fact, from their folders, as often as needed without doubling one."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from suite.errors import UserError, first_line, require
from suite.progress import console
from suite.store.result import upgrade

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

ARTIFACTS = ("spec.json", "environment.json", "result.json", "training.json", "model.safetensors")
METRICS, PARAMS = 1_000, 100  # as many as MLflow takes in one call


def tracking_uri(runs: Path) -> str:
    """MLFLOW_TRACKING_URI, else an SQLite file under `runs`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(runs / 'mlflow.db').absolute()}"


def track(folder: Path, runs: Path) -> bool:
    """Log one finished run; true if it is in MLflow now. A store that fails costs a warning, never the run."""
    try:
        require("--track", "track", "mlflow")
        log(folder, connect(runs), runs)
    except UserError as error:
        reason = f"the run was not logged: {error}"
    except Exception as error:  # whatever the store's client raises
        reason = f"MLflow at {tracking_uri(runs)} did not take the run ({first_line(error)})"
    else:
        return True
    console.print(
        f"{reason}; 'suite sync' does it later", style="yellow", highlight=False, markup=False, soft_wrap=True
    )
    return False


def sync(runs: Path) -> tuple[int, int]:
    """Send every finished run under `runs` to MLflow: (how many are there now, how many finished runs there are)."""
    folders = [file.parent for file in sorted(runs.glob("*/result.json"))]
    return sum(track(folder, runs) for folder in folders), len(folders)


def connect(runs: Path) -> MlflowClient:
    """A client of the store, with its own chatter turned down."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri(runs))


def log(folder: Path, client: MlflowClient, runs: Path) -> str:
    """Log a finished run's parameters, metrics, artifacts and tags; returns MLflow's run id.

    The tag `suite.run_id`, the folder's name, finds a run again: one that is there, finished and with the
    same result is left as it is, any other is replaced.
    """
    content = (folder / "result.json").read_bytes()
    result, stamp = upgrade(json.loads(content)), hashlib.sha256(content).hexdigest()
    where = open_experiment(client, f"suite/{result['dataset']}", runs)
    environment = json.loads((folder / "environment.json").read_text())
    names = filter(None, (folder.name, environment.get("formerly")))  # the name that an earlier version gave it
    known = [found for name in names for found in client.search_runs([where], f"tags.`suite.run_id` = '{name}'")]
    for there in known:
        if there.info.status == "FINISHED" and there.data.tags.get("suite.result") == stamp:
            return str(there.info.run_id)
        client.delete_run(there.info.run_id)
    tags = {"suite.run_id": folder.name, "suite.result": stamp, "suite.claim": result.get("claim", "")}
    about = ("method", "dataset", "data", "arch", "profile", "kind", "deployed")
    tags |= {f"suite.{name}": str(result[name]) for name in about if name in result}
    run_id = str(client.create_run(where, run_name=folder.name, tags=tags).info.run_id)
    log_params(client, run_id, flatten(json.loads((folder / "spec.json").read_text())))
    history = json.loads((folder / "training.json").read_text())
    losses = [make_metric("training.loss", entry["loss"], round(1000 * entry["epoch"])) for entry in history]
    log_metrics(client, run_id, [*make_metrics(flatten(result)), *losses])
    for file in (*(folder / name for name in ARTIFACTS), *sorted(folder.glob("*.jsonl"))):
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id)
    return run_id


def open_experiment(client: MlflowClient, name: str, runs: Path) -> str:
    """The id of MLflow's experiment of that name, which is made where it is not there."""
    found = client.get_experiment_by_name(name)
    if found:
        return str(found.experiment_id)
    local = tracking_uri(runs).startswith("sqlite:")
    return client.create_experiment(name, (runs / "mlartifacts").absolute().as_uri() if local else None)


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, object]) -> None:
    """Log settings, as many in one call as MLflow takes."""
    from mlflow.entities import Param

    entries = [Param(name, str(value)) for name, value in params.items()]
    for first in range(0, len(entries), PARAMS):
        client.log_batch(run_id, params=entries[first : first + PARAMS])


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Log numbers, as many in one call as MLflow takes."""
    for first in range(0, len(metrics), METRICS):
        client.log_batch(run_id, metrics=metrics[first : first + METRICS])


def make_metrics(values: Mapping[str, object]) -> list[Metric]:
    """The values that are numbers, as metrics."""
    return [make_metric(name, value) for name, value in values.items() if isinstance(value, float | int)]


def make_metric(name: str, value: float, step: int = 0) -> Metric:
    """A metric of now."""
    from mlflow.entities import Metric

    return Metric(name, float(value), int(1000 * time.time()), step)


def flatten(tree: Mapping[str, object]) -> dict[str, object]:
    """A tree of settings with dotted names."""
    [row] = pd.json_normalize(dict(tree)).to_dict("records")
    return {str(name): value for name, value in row.items()}
