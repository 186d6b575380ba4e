"""The methods: one file each, registered here by name, or by another package in the group `suite.methods`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from suite.registry import Registry

if TYPE_CHECKING:
    from methods.method import Method, Settings, Step

METHODS: Registry[type[Method[Any]]] = Registry(
    "method",
    "suite.methods",
    {
        "baseline": "methods.baseline:Baseline",
        "randomized-smoothing": "methods.randomized_smoothing:RandomizedSmoothing",
        "smoothadv": "methods.smoothadv:SmoothAdv",
        "stability": "methods.stability:Stability",
        "consistency": "methods.consistency:Consistency",
        "macer": "methods.macer:Macer",
        "madry": "methods.madry:Madry",
        "heat": "methods.heat:Heat",
        "madry-heat": "methods.madry_heat:MadryHeat",
        "lipschitz": "methods.lipschitz:Lipschitz",
        "lipschitz-heat": "methods.lipschitz_heat:LipschitzHeat",
        "average": "methods.average:Average",
        "checkpoint": "methods.foreign:Checkpoint",
    },
    of="methods.method:Method",
)

__all__ = ["METHODS", "Method", "Settings", "Step"]


def __getattr__(name: str) -> Any:
    """What a method is made of, imported with torch on first use (PEP 562)."""
    if name in ("Method", "Settings", "Step"):
        return getattr(import_module("methods.method"), name)
    raise AttributeError(f"module 'methods' has no attribute '{name}'")
