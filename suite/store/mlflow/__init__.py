"""Runs in MLflow: live while they train, whole when they have finished, once each. Nothing here imports MLflow early.

- `place`: where MLflow is, whether it answers, and a client of it; `database`: the SQLite file of a store;
- `content`: what a run's folder holds for MLflow; `model`: its network as a logged model;
- `send`: one run there, found again and updated in place; `live`: from a thread, while the run goes on; `resend`: the
  runs of a store, after the fact.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PLACES = {
    "connect": "place", "open_experiment": "place", "reach": "place", "shown": "place", "tracking_uri": "place",
    "log": "send", "sync": "resend",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
