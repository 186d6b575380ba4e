"""How much sooner an experiment ends that several workers share, and what a task costs besides its work.

Carries out 12 runs, each time in a store of its own: by one process with a thread for each core, and by a worker for
each core with one thread (`--workers`), one after the other, again and again (`--rounds`), because a machine that does
other things is not the same twice. It says how many rows differ: other numbers of threads add up in another order. Then
come 500 tasks that do nothing, through worker processes and through Ray, where it is installed.

    python benchmarks/sharing.py [--dataset digits|cifar10] [--data-root DIR] [--workers 2] [--rounds 3]

On CIFAR-10 the runs are those of the profile `quick`, cut down: 0.03 epochs, and 4 certificates of 1,000 draws.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from operator import is_
from pathlib import Path
from typing import Any

from suite.executors import open_executor
from suite.executors.executor import Executor
from suite.executors.tasks import Task, finish

EXPERIMENT = """title = "twelve runs"
methods = ["randomized-smoothing"]
sigmas = [0.1, 0.25, 0.5, 1.0]
seeds = [0, 1, 2]
"""
SETTINGS = {
    "digits": 'settings = {profile = "demo", epochs = 4, images = 50, n0 = 10, n = 2000}\n',
    "cifar10": 'settings = {profile="quick", epochs = 0.03, images = 4, n0 = 10, n = 1000, protocols = ["certify"]}\n',
}


def carry_out(dataset: str, root: str | None, workers: int | None) -> tuple[float, dict[str, Any]]:
    """Seconds that the command takes, and the rows that it makes, without times; exits where one is missing."""
    more = ["--workers", str(workers)] if workers else []
    threads = {} if workers else {"OMP_NUM_THREADS": str(os.cpu_count())}
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | threads
    environment |= {"PYTHONPATH": str(Path(__file__).parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "e.toml").write_text(EXPERIMENT + SETTINGS[dataset])
        words = [sys.executable, "-m", "suite", "experiment", "e.toml", "--dataset", dataset, "--no-track", *more]
        words += ["--data-root", root] if root else []
        begun = time.monotonic()
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        seconds = time.monotonic() - begun
        rows = {file.parent.name: json.loads(file.read_text()) for file in Path(folder).glob("runs/*/result.json")}
    if done.returncode or len(rows) != 12:
        sys.exit(f"{len(rows)} of 12 runs\n{done.stderr}")
    return seconds, {name: (row["certified_accuracy"], row["acr"]) for name, row in rows.items()}


def time_tasks(executor: Executor, number: int) -> float:
    """Seconds for tasks that do nothing, all of them."""
    begun = time.monotonic()
    ended = [each for each in finish(executor, {str(n): Task(is_, lambda: 0) for n in range(number)}) if each]
    assert len(ended) == number
    return time.monotonic() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=sorted(SETTINGS), default="digits")
    parser.add_argument("--data-root")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    ratios, rows = [], list[dict[str, Any]]()
    for number in range(1, given.rounds + 1):
        alone, first = carry_out(given.dataset, given.data_root, None)
        shared, second = carry_out(given.dataset, given.data_root, given.workers)
        ratios.append(alone / shared)
        rows += [first, second]
        load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
        print(
            f"round {number}: one process with {os.cpu_count()} threads {alone:.1f} s, {given.workers} workers "
            f"{shared:.1f} s: {ratios[-1]:.2f} times as fast (load {load})",
            flush=True,
        )
    print(f"{statistics.median(ratios):.2f} times as fast, the median of {given.rounds} rounds")
    if any(each.keys() != rows[0].keys() for each in rows):
        sys.exit("the runs are not the same")
    differing = sum(each[name] != rows[0][name] for each in rows for name in rows[0])
    print(f"{differing} of {12 * len(rows)} rows differ (other numbers of threads add up in another order)")
    for name in ("local", "ray") if find_spec("ray") else ("local",):
        with open_executor(name, {"workers": given.workers}) as executor:
            first_task = time_tasks(executor, given.workers)
            rest = time_tasks(executor, 500)
        print(f"{name}: first task of each worker after {first_task:.1f} s, then 500 empty tasks in {rest:.2f} s: "
              f"{500 / rest:.0f} a second")  # fmt: skip


if __name__ == "__main__":
    main()
