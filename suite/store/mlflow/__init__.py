"""Runs in MLflow: live while they train, whole when they have finished, once each. Nothing here imports MLflow early.

- `place`: where MLflow is, whether it answers, and a client of it; `database`: the SQLite file of a store;
- `content`: what a run's folder holds for MLflow; `model`: its network as a logged model;
- `send`: one run there, found again and updated in place; `live`: from a thread, while the run goes on.
"""

from suite.store.mlflow.place import connect, open_experiment, shown, tracking_uri
from suite.store.mlflow.send import log, sync, track

__all__ = ["connect", "log", "open_experiment", "shown", "sync", "track", "tracking_uri"]
