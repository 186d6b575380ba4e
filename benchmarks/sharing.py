"""How much sooner an experiment ends that several processes share, and whether they train anything twice.

Carries out one experiment, 12 runs of randomized smoothing on the digits, in a folder of its own: once by one process
with all cores, once by several at once that have an equal share of them.

    python benchmarks/sharing.py [--processes 3] [--epochs 3] [--images 50] [--n 1000]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

EXPERIMENT = """title = "twelve runs"
dataset = "digits"
methods = ["randomized-smoothing"]
sigmas = [0.1, 0.25, 0.5, 1.0]
seeds = [0, 1, 2]
settings = {{epochs = {epochs}, images = {images}, n0 = 10, n = {n}}}
"""
RUNS = 12


def carry_out(folder: Path, processes: int) -> tuple[float, Counter[str]]:
    """Seconds until all processes have ended, and how often something was trained, and how often certified."""
    threads = str(max(1, (os.cpu_count() or 1) // processes))
    words = [sys.executable, "-m", "suite", "experiment", "e.toml", "--no-track", "--runs", "runs", "--verbose"]
    environment = os.environ | {"OMP_NUM_THREADS": threads, "PYTHONPATH": str(Path(__file__).parents[1])}
    begun = time.monotonic()
    at_work = [
        subprocess.Popen(
            words, cwd=folder, env=environment, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        for _ in range(processes)
    ]
    said = [process.communicate()[1] for process in at_work]
    seconds = time.monotonic() - begun
    if any(process.returncode for process in at_work):
        sys.exit("\n".join(said))
    return seconds, Counter(re.findall(r"\b(train|certify) ?[\w-]*: 0/", "\n".join(said)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--n", type=int, default=1_000)
    given = parser.parse_args()
    seconds = {}
    for processes in (1, given.processes):
        with tempfile.TemporaryDirectory() as folder:
            text = EXPERIMENT.format(epochs=given.epochs, images=given.images, n=given.n)
            (Path(folder) / "e.toml").write_text(text)
            seconds[processes], count = carry_out(Path(folder), processes)
            rows = len(list(Path(folder).glob("runs/*/result.json")))
        made = f"{rows} runs, {count['train']} trained, {count['certify']} certified"
        print(f"{processes} at once: {seconds[processes]:.1f} s; {made}")
        if (rows, count["train"], count["certify"]) != (RUNS,) * 3:
            sys.exit("a run was lost, or made twice")
    print(f"{seconds[1] / seconds[given.processes]:.2f} times as fast")


if __name__ == "__main__":
    main()
