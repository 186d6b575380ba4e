"""Whose a row is: the reader's own, the suite's, or of a paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

YOURS, SUITES = "yours", "the suite"


def whose(row: Any, runs: Path) -> str:
    """`yours` for a row with a run in the store, `the suite` for one that comes with it, else `Cohen et al. 2019`."""
    if row.source == "run":
        return YOURS if any((runs / run).is_dir() for run in row.runs) else SUITES
    return authors(row.citation, row.date)


def authors(citation: str, date: str) -> str:
    """Those of a paper: `Cohen et al. 2019`."""
    first, *others = citation.partition(". ")[0].replace(" and ", ", ").split(", ")
    surname = first.split()[-1] if first.split() else "a paper"
    return f"{surname}{' et al.' if others else ''} {date[:4]}"


def tell_whose(frame: pd.DataFrame, runs: Path) -> pd.DataFrame:
    """A board's table with a column `whose`."""
    return frame.assign(whose=[whose(row, runs) for row in frame.itertuples()]) if len(frame) else frame
