"""The methods: one file each, registered here by name, or by another package in the group `suite.methods`."""

from __future__ import annotations

from methods.method import Method, Settings
from suite.registry import Registry

METHODS: Registry[type[Method]] = Registry(
    "method",
    "suite.methods",
    {
        "baseline": "methods.baseline:Baseline",
        "randomized-smoothing": "methods.randomized_smoothing:RandomizedSmoothing",
        "smoothadv": "methods.smoothadv:SmoothAdv",
        "madry": "methods.madry:Madry",
        "heat": "methods.heat:Heat",
        "madry-heat": "methods.madry_heat:MadryHeat",
        "checkpoint": "methods.checkpoint:Checkpoint",
    },
    of="methods.method:Method",
)

__all__ = ["METHODS", "Method", "Settings"]
