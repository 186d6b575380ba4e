"""Finished runs sent to MLflow: after the fact, from their folders, as often as needed without doubling one."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.progress import console

if TYPE_CHECKING:
    from mlflow import MlflowClient

ARTIFACTS = ("spec.json", "environment.json", "result.json", "training.json", "model.safetensors")


def tracking_uri(runs: Path) -> str:
    """MLFLOW_TRACKING_URI, else an SQLite file under `runs`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(runs / 'mlflow.db').absolute()}"


def track(folder: Path, runs: Path) -> bool:
    """Log one finished run; true if it is in MLflow now. A store that fails costs a warning, never the run."""
    try:
        log(folder, connect(runs), runs)
    except ImportError:
        console.print("MLflow is not installed: the run was not logged; 'suite sync' does it later", style="yellow")
    except Exception as error:  # whatever the store's client raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        console.print(
            f"MLflow at {tracking_uri(runs)} did not take the run ({reason}); 'suite sync' does it later",
            style="yellow",
            highlight=False,
        )
    else:
        return True
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
    result, stamp = json.loads(content), hashlib.sha256(content).hexdigest()
    where = experiment(client, f"suite/{result['dataset']}", runs)
    for there in client.search_runs([where], f"tags.`suite.run_id` = '{folder.name}'"):
        if there.info.status == "FINISHED" and there.data.tags.get("suite.result") == stamp:
            return there.info.run_id
        client.delete_run(there.info.run_id)
    tags = {"suite.run_id": folder.name, "suite.result": stamp, "suite.claim": result.get("claim", "")}
    tags |= {f"suite.{name}": str(result[name]) for name in ("method", "dataset", "data", "arch", "profile")}
    run_id = client.create_run(where, run_name=folder.name, tags=tags).info.run_id
    for name, value in flat(json.loads((folder / "spec.json").read_text())).items():
        client.log_param(run_id, name, value)
    for name, value in flat(result).items():
        if isinstance(value, float | int):
            client.log_metric(run_id, name, float(value))
    for entry in json.loads((folder / "training.json").read_text()):
        client.log_metric(run_id, "training.loss", entry["loss"], step=round(1000 * entry["epoch"]))
    for file in (*(folder / name for name in ARTIFACTS), *sorted(folder.glob("*.jsonl"))):
        client.log_artifact(run_id, str(file))
    client.set_terminated(run_id)
    return run_id


def experiment(client: MlflowClient, name: str, runs: Path) -> str:
    """The id of MLflow's experiment of that name, which is made where it is not there."""
    found = client.get_experiment_by_name(name)
    if found:
        return found.experiment_id
    local = tracking_uri(runs).startswith("sqlite:")
    return client.create_experiment(name, (runs / "mlartifacts").absolute().as_uri() if local else None)


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of settings with dotted names."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found
