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
        "heat": "methods.heat:Heat",
    },
)

__all__ = ["METHODS", "Method", "Settings"]
