"""Which columns of a board a reader looks at together."""

from __future__ import annotations

from suite.protocols.protocol import Column
from suite.spec.sections import PROTOCOLS

PRESETS = ("certified", "empirical", "cost", "all")
CERTIFYING = ("certify", "lbound")  # protocols whose metrics are guarantees
ALWAYS = ("clean_accuracy", "acr")  # what a reader wants beside any of them


def in_preset(column: Column, preset: str) -> bool:
    """Whether a column is among a preset's: guarantees, what tests and attacks found, what it costs, or all."""
    if preset == "all" or column.key in ALWAYS:
        return True
    is_cost = column.unit in ("seconds", "draws")
    if preset == "cost" or is_cost:
        return preset == "cost" and is_cost
    return is_guarantee(column) == (preset == "certified")


def is_guarantee(column: Column) -> bool:
    """Whether a column is of certificates; a count of those that were broken is what an attack found."""
    owners = [name for name, protocol in PROTOCOLS.loadable().items() if column in protocol.columns]
    return bool(owners) and owners[0] in CERTIFYING
