"""How long a board takes to appear from a store of many runs, and how much memory.

Makes a store of runs on CIFAR-10 in a temporary folder (random radii; records are one file, linked). Then, twice in a
process of its own: a cold table, all of it as a terminal shows it, the table again, once more after a run has changed,
and the curves of six rows; in seconds of CPU, without imports, whose time is said apart.

    python benchmarks/board.py [--runs 2000] [--seeds 1] [--images 500]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

METHODS = 40  # as many as there are in the field


def store(folder: Path, runs: int, images: int, seeds: int = 1) -> None:
    """Runs that are alike but for their recipe, seed and radii."""
    from leaderboards import load_board
    from suite.protocols.certify import certified_metrics, vote_terms

    generator = np.random.default_rng(0)
    radii = load_board("cifar10").radii
    first = folder / "records.jsonl"
    for number in range(runs):
        radius = generator.exponential(0.2, images).clip(0, 0.31) * (generator.random(images) > 0.1)
        right, label = generator.random(images) < 0.7, generator.integers(10, size=images)
        predict = np.where(radius == 0, -1, np.where(right, label, (label + 1) % 10))
        certificates = pd.DataFrame({"idx": range(images), "label": label, "predict": predict, "radius": radius})
        certificates = certificates.assign(correct=(predict == label).astype(int), time=0.1)
        recipe, seed = divmod(number, seeds)
        row: dict[str, Any] = {"schema": 5, "recipe": f"{recipe:010x}", "method": f"method-{recipe % METHODS}"}
        row |= {"seed": seed, "dataset": "cifar10", "data": "CIFAR-10", "arch": "resnet8", "sigma": 0.1}
        row |= {"deployed": "pass"}
        row |= {"top": 1, "date": "2020-01-01", "single_pass_images": 10_000, "source": "run", "draws": 1e3}
        row |= (
            certified_metrics(certificates, radii)
            | vote_terms(sigma=0.1, n0=0, n=1_000, alpha=0.001)
            | {"clean_accuracy": 0.75}
        )
        own = folder / "runs" / f"run-{number}"
        row["run_id"] = own.name
        own.mkdir(parents=True)
        if not number:
            votes = {"votes": {str(c): 100 for c in range(10)}, "claim": row["claim"]}
            lines = (json.dumps(line | votes) for line in certificates.to_dict("records"))
            first.write_text("".join(f"{line}\n" for line in lines))
        os.link(first, own / "certify.jsonl")
        (own / "result.json").write_text(json.dumps(row, indent=2))


def measure(runs: Path) -> None:
    """Print the times of one process."""
    begun = time.process_time()
    from rich.console import Console

    from leaderboards import table
    from leaderboards.curves import row_curve
    from leaderboards.field import field
    from leaderboards.render.terminal import field_blocks, leaderboard_tables
    from suite.protocols.protocol import columns

    columns()
    times = {"imports": time.process_time() - begun}

    def timed(name: str, call: Any) -> Any:
        begun = time.process_time()
        found = call()
        times[name] = time.process_time() - begun
        return found

    def show() -> None:
        console = Console(file=io.StringIO(), width=200)
        for block in (*field_blocks(field("cifar10", runs)), *leaderboard_tables(rows, paper_convention=False)):
            console.print(block)

    rows = timed("table, cold", lambda: table("cifar10", runs))
    timed("shown", show)
    timed("table, again", lambda: table("cifar10", runs))
    changed = next(runs.glob("*/result.json"))
    changed.write_text(changed.read_text() + "\n")
    timed("table, one run changed", lambda: table("cifar10", runs))
    picked = rows[rows["source"] == "run"].head(6)
    timed("six curves", lambda: [row_curve(row, runs) for _, row in picked.iterrows()])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(", ".join(f"{name} {seconds:.2f} s" for name, seconds in times.items()) + f"; at most {memory:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description="A board's speed.")
    parser.add_argument("--runs", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=1, help="of each recipe")
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        store(Path(folder), given.runs, given.images, given.seeds)
        print(f"{given.runs // given.seeds} rows, {given.seeds} runs each, {given.images} certificates a run")
        for _ in range(2):
            subprocess.run([sys.executable, __file__, "--measure", f"{folder}/runs"], check=True)


if __name__ == "__main__":
    main()
