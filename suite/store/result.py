"""What comes out of a run: its row on the board, computed from its records alone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pandas as pd

from suite.data import Dataset
from suite.spec.run_spec import PROTOCOLS, RunSpec
from suite.spec.shell_line import command

SCHEMA = 3


def summarise(spec: RunSpec, data: Dataset, records: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """The run's row: JSON values, radii as keys of the certified accuracies. `records` by protocol."""
    method = spec.build_method()
    row: dict[str, Any] = {
        "schema": SCHEMA,
        "run_id": spec.name,
        "recipe": spec.recipe,
        "command": command(spec, list(records)),
        "method": method.label or spec.method,
        "dataset": data.name,
        "data": data.title,
        "arch": spec.arch,
        "sigma": spec.sigma,
        "seed": spec.seed,
        "profile": spec.profile,
        "source": "run",
        "date": datetime.now(UTC).date().isoformat(),
        "inference": "one pass" if method.deterministic else f"{spec.certify.n0} passes",
        "top": spec.certify.top,
        "protocols": list(records),
    }
    for name, found in reversed(records.items()):  # accuracy, measured on the most images, comes last
        row |= PROTOCOLS.get(name).summarise(spec, found)
    return row
