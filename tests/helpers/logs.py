"""Published logs, and logs like them."""

from __future__ import annotations

from pathlib import Path

from suite.statistics.bounds import certified_radius

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


def log(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def counted(path: Path, counts: list[int], n: int = 1_000, alpha: float = 0.001, sigma: float = 0.25) -> Path:
    """A log as Cohen et al.'s code prints it, of these counts of votes."""
    radii = certified_radius(counts, n, alpha, sigma)
    return log(path, *(f"{i}\t3\t3\t{r:.3}\t1\t0:00:01.5" for i, r in enumerate(radii)))
