"""What the place of a log says of it: architecture, noise, seed, and what its row is called."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NUMBER = r"[0-9]+(?:\.[0-9]+)?"
WHOLE = re.compile(
    rf"(?P<arch>[a-z]+[0-9]*)(_(?P<variant>.+))?_noise_(?P<trained_sigma>{NUMBER})_sigma_(?P<sigma>{NUMBER})"
)
OF_A_SIGMA = re.compile(rf"sigma_(?P<sigma>{NUMBER})")
OF_A_NOISE = re.compile(rf"nois[et]_(?P<trained_sigma>{NUMBER})(_(?P<seed>[0-9]+))?")
FOLDERS = 6  # above a log, at most, that tell it from others
SUFFIX = re.compile(r"(\.(tsv|csv|txt|log|dat|out|xz))+$")  # and no other: 0.25 has none


def stem(path: Path) -> str:
    """A log's name without what says of which kind the file is."""
    return SUFFIX.sub("", path.name)


def said_of(path: Path) -> dict[str, Any]:
    """What the names of a log and of the folders above it say; a log that names one σ was trained with it, too."""
    name = stem(path)
    if named := WHOLE.fullmatch(name):
        return known(named)
    found: dict[str, Any] = {}
    for folder in (name, *reversed(path.parent.parts[-3:])):
        for pattern in (OF_A_SIGMA, OF_A_NOISE):
            if named := pattern.fullmatch(folder):
                found = known(named) | found
    return ({"sigma": found["trained_sigma"]} if "trained_sigma" in found else {}) | found


def known(named: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in named.groupdict().items() if value}


def row_names(paths: Sequence[Path], method: str) -> list[str]:
    """What the rows of several logs are called: METHOD-FILE, and where files have one name, folders before that."""
    names: list[str] = []
    for depth in range(FOLDERS):
        parts = ([*path.parent.parts[max(0, len(path.parent.parts) - depth) :], stem(path)] for path in paths)
        names = ["-".join([method, *own]).replace("/", "") for own in parts]
        if len(set(names)) == len(names):
            break
    return names


def catalogued_name(
    method: str, arch: str, sigma: float | None, trained: float | None, seed: int | None, sha: str
) -> str:
    """What the row of a log in a catalogue is called: as its digest is in it, no other log's is."""
    noise = [] if trained in (None, sigma) else [f"noise{trained:g}"]
    parts = [method, arch, *noise, *([f"sigma{sigma:g}"] if sigma else ["margin"])]
    name = "-".join([*parts, *([] if seed is None else [f"seed{seed}"]), sha[:8]])
    return re.sub(r"[^A-Za-z0-9._+-]+", "-", name)  # an architecture may be timm/NAME
