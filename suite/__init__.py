"""A suite and leaderboard for ℓ2-robust image classifiers.

>>> from suite import RunSpec, run
>>> folder = run(RunSpec(method="heat", dataset="digits"))
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.api import certify
    from suite.errors import UserError
    from suite.run import Machine, run
    from suite.spec import RunSpec

# torch's threads sleep while they wait: spinning ones stall every process as soon as two share the cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOMES = {"RunSpec": "spec", "Machine": "run", "certify": "api", "UserError": "errors"}
__all__ = ["Machine", "RunSpec", "UserError", "certify", "run"]


class _Suite(ModuleType):
    """Imports a public name's module on first use, so that `import suite` alone costs nothing."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'suite' has no attribute '{name}'")
        return getattr(import_module(f"suite.{_HOMES[name]}"), name)

    @property
    def run(self) -> Any:
        """The function, though a submodule has its name."""
        return import_module("suite.run").run

    @run.setter
    def run(self, module: ModuleType) -> None:
        """Importing the submodule would put it here; it stays in sys.modules."""


sys.modules[__name__].__class__ = _Suite
