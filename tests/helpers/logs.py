"""Published logs, and logs like them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from suite.statistics.bounds import certified_radius

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"

GIVEN: dict[str, Any] = {
    "method": "mine", "citation": "A. Author. A Title. A Venue, 2021.", "arch": "cnn", "sigma": 0.25,
    "trained_sigma": None, "n0": 100, "n": 1_000, "alpha": 0.001, "top": 1, "note": None, "few": True,
}  # fmt: skip


def log(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def counted(path: Path, counts: list[int], n: int = 1_000, alpha: float = 0.001, sigma: float = 0.25) -> Path:
    """A log as Cohen et al.'s code prints it, of these counts of votes."""
    radii = certified_radius(counts, n, alpha, sigma)
    return log(path, *(f"{i}\t3\t3\t{r:.3}\t1\t0:00:01.5" for i, r in enumerate(radii)))
