"""What rows are called in plots and lists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from leaderboards.comparable import draws_sign
from leaderboards.rows import Row
from leaderboards.variants import variant_text
from suite.store.result import Result


def labels(rows: Iterable[Row | Any], *, full: bool = False) -> dict[str, str]:
    """What to call each row, or line of a table, by its run_id; no two alike.

    Method, architecture and what sets it apart: its variant, a run's seeds. `full` adds the data, σ and n (of a margin
    that it is one), the number of images and bf16, for rows of different tables. Names that are still alike get the end
    of the run_id.
    """
    found: dict[str, str] = {}
    for row in rows:
        parts = [str(row.method), str(row.arch)]
        if full:
            noise = ["margin"] if row.kind == "margin" else [f"σ = {row.sigma:g}", f"n {draws_sign(row)} {row.n}"]
            parts += [str(row.data), *noise, f"{row.images} images", *(["bf16"] if row.precision == "bf16" else [])]
        found[row.run_id] = ", ".join([*parts, distinction(row)])
    often = Counter(found.values())
    return {run_id: f"{name} ({digests(run_id)})" if often[name] > 1 else name for run_id, name in found.items()}


def digests(run_id: str) -> str:
    """The end of a run's id, which tells runs apart: the digests of its model and of its certificates' settings."""
    return re.sub(r"^(?:.*-seed\d+-|.*-)", "", run_id)


def deployment(row: Row | Result | Any) -> str:
    """What the user of a row runs: "pass", or "vote of 100 passes"; empty where it is not known."""
    if row.deployed == "vote":
        return f"vote of {row.n0} passes"
    return "" if pd.isna(row.deployed) else row.deployed


def distinction(row: Row | Any) -> str:
    """What sets a row apart from others of its method and architecture."""
    if row.source == "published":
        return variant_text(row) or "as published"
    if not row.seeds:
        return "no seed"
    seeds = f"{len(row.seeds)} seeds" if len(row.seeds) > 1 else f"seed {row.seeds[0]}"
    return ", ".join(filter(None, [variant_text(row), seeds]))


def shorten(names: Iterable[str], *, votes: bool = False) -> tuple[str, dict[str, str]]:
    """What all of several names have in common, and each without it: for a legend. With `votes` also the noise that all
    votes have in common, beside which a margin has none."""
    parts = {name: name.split(", ") for name in names}
    if len(parts) < 2:
        return "", {name: name for name in parts}
    noisy = [own for own in parts.values() if "margin" not in own] or list(parts.values())
    shared = [part for part in noisy[0] if all(part in own for own in noisy)]
    common = [part for part in shared if all(part in own for own in parts.values())]
    noise = [part for part in shared if votes and part not in common and part.startswith(("σ = ", "n = "))]
    said = ", ".join(common) + ("; votes: " + ", ".join(noise) if noise else "")
    return said, {name: ", ".join(p for p in own if p not in common + noise) for name, own in parts.items()}
