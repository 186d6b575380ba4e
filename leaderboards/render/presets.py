"""Which columns of a board a reader looks at together."""

from __future__ import annotations

from suite.protocols.protocol import Column
from suite.spec.sections import PROTOCOLS

PRESETS = ("certified", "empirical", "cost", "all")
ALWAYS = ("clean_accuracy", "acr")  # what a reader wants beside any of them


def in_preset(column: Column, preset: str) -> bool:
    """Whether a column is among a preset's: certificates, what attacks and passes showed, what it costs, or all.

    What holds under a premise that nobody has checked, the L-bound, is among all alone.
    """
    if preset == "all" or column.key in ALWAYS:
        return True
    if column.unit in ("seconds", "draws"):
        return preset == "cost"
    return preset == ("certified" if is_guarantee(column) else "empirical") and "lbound" not in owners(column)


def is_guarantee(column: Column) -> bool:
    """Whether a column is of certificates: a share that they certify or abstain on, or a radius."""
    return owners(column)[:1] == ["certify"] and column.unit in ("share", "pixels")


def owners(column: Column) -> list[str]:
    """The protocols that a column is of."""
    return [name for name, protocol in PROTOCOLS.loadable().items() if column in protocol.columns]
