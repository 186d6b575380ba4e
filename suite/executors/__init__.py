"""Executors: what carries out tasks in other processes, on this machine or on many. They know nothing of runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from suite.errors import UserError
from suite.executors.executor import Executor
from suite.registry import Registry

EXECUTORS: Registry[type[Executor]] = Registry(
    "executor",
    "suite.executors",
    {"local": "suite.executors.local:Local", "ray": "suite.executors.ray:Ray"},
    of="suite.executors.executor:Executor",
)


def open_executor(name: str, settings: Mapping[str, Any]) -> Executor:
    """The executor of that name with these settings. Raises UserError for a setting that it does not have."""
    kind = EXECUTORS.get(name)
    signature = inspect.signature(kind)
    try:
        signature.bind(**settings)
    except TypeError as error:
        unknown = [key for key in settings if key not in signature.parameters]
        known = ", ".join(signature.parameters)
        raise UserError(f"the executor {name} has no setting {', '.join(unknown)}; it takes {known}") from error
    return kind(**settings)
