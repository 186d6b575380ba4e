"""TODO"""

from pathlib import Path


def migrate(runs: Path) -> None:
    pass
