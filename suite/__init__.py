"""A suite and leaderboard for ℓ2-robust image classifiers.

>>> from suite import RunSpec, run
>>> folder = run(RunSpec(method="heat", dataset="digits"))
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from suite.api.certify import certify
    from suite.api.evaluate import evaluate
    from suite.api.measure import attack, audit, load_model, predict
    from suite.errors import UserError
    from suite.pipeline import Machine, run
    from suite.spec.run_spec import RunSpec

# torch's threads sleep while they wait: spinning ones stall every process as soon as two share the cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = version("l2-robustness-suite")
__all__ = [
    "Machine", "RunSpec", "UserError", "__version__", "attack", "audit", "certify", "evaluate", "load_model", "predict",
    "run",
]  # fmt: skip
_HOMES = {
    "Machine": "suite.pipeline",
    "RunSpec": "suite.spec.run_spec",
    "UserError": "suite.errors",
    "attack": "suite.api.measure",
    "audit": "suite.api.measure",
    "certify": "suite.api.certify",
    "evaluate": "suite.api.evaluate",
    "load_model": "suite.api.measure",
    "predict": "suite.api.measure",
    "run": "suite.pipeline",
}


def __getattr__(name: str) -> Any:
    """A public name, imported from its module on first use, so that `import suite` alone costs nothing (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'suite' has no attribute '{name}'")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
