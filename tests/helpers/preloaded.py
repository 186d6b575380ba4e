"""Imports everything that a run, a study and a board import on their way, and computes nothing."""

from __future__ import annotations

import contextlib
import importlib

USED = (
    "torch._dynamo", "torch._inductor", "torch.fx.experimental.optimization", "torch.onnx", "sklearn.datasets",
    "scipy.io", "pandas", "pyarrow.pandas_compat", "safetensors.torch", "mpmath", "optuna", "plotly.graph_objects",
    "leaderboards", "methods.baseline", "methods.heat", "methods.penalty", "methods.randomized_smoothing",
    "suite.cli.main", "suite.pipeline", "suite.training", "suite.protocols.accuracy", "suite.protocols.attack",
    "suite.protocols.certify", "suite.tuning.trials",
)  # fmt: skip

for name in USED:
    with contextlib.suppress(ImportError):  # a process imports what is missing here when it needs it
        importlib.import_module(name)
