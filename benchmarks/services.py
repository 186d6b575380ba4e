"""What a trial costs Optuna's storage, and a run MLflow's: what limits a study of many workers.

A study with many finished trials is asked and told as `suite tune` does it, by one process and by several at once that
share it; its trials do nothing. Then a finished run is logged to MLflow, again and again as another one.

    python benchmarks/services.py [--storage postgresql://…] [--mlflow URI] [--trials 100,1000] [--workers 1,8]

Without URLs both are SQLite files.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

from suite import data as datasets
from suite.data.validation import validation
from suite.pipeline import Machine, run
from suite.spec.run_spec import RunSpec
from suite.store.mlflow import connect
from suite.store.mlflow.send import log
from suite.tuning.definition import begin, definition_of
from suite.tuning.mlflow import StudyLog
from suite.tuning.storage import Storage
from suite.tuning.trials import Work, take_trial

SEARCH = ["sigma=0.1:0.5 lr=1e-3:1e-1:log kappa=2:10 weight_decay=1e-5:1e-3:log"]
SPACE = {
    "sigma": optuna.distributions.FloatDistribution(0.1, 0.5),
    "lr": optuna.distributions.FloatDistribution(1e-3, 1e-1, log=True),
    "kappa": optuna.distributions.IntDistribution(2, 10),
    "weight_decay": optuna.distributions.FloatDistribution(1e-5, 1e-3, log=True),
}


def work_on(url: str, name: str, folder: Path) -> Work:
    storage = Storage(url)
    given: Any = {"method": "heat", "dataset": "digits", "search": SEARCH}
    study = begin(given, name, storage)
    definition = definition_of(study)
    data = validation(datasets.load("digits"), definition.validation)
    off = StudyLog(folder, study, storage, on=False)
    space = definition.build_space()
    return Work(study, definition, storage, Machine(runs=folder), off, data, definition.build_objectives(), space)


def fill(url: str, name: str, folder: Path, trials: int) -> None:
    """Finished trials, of values drawn at random."""
    study, draw = work_on(url, name, folder).study, random.Random(0)
    for _ in range(trials - len(study.trials)):
        values = {"sigma": draw.uniform(0.1, 0.5), "lr": 10 ** draw.uniform(-3, -1), "kappa": draw.randint(2, 10)}
        values |= {"weight_decay": 10 ** draw.uniform(-5, -3)}
        study.add_trial(optuna.create_trial(params=values, distributions=SPACE, value=draw.random()))


def take_part(url: str, name: str, folder: Path, seconds: float, times: Any, together: Any) -> None:
    work = work_on(url, name, folder)
    together.wait()
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        begun = time.monotonic()
        taken = take_trial(work, 10**9)
        assert taken
        trial, release = taken
        work.study.tell(trial, random.random())
        release()
        times.put(time.monotonic() - begun)


def time_study(url: str, folder: Path, trials: int, workers: int, seconds: float) -> str:
    name = f"{trials}-{os.getpid()}"
    fill(url, name, folder, trials)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        times, together = manager.Queue(), manager.Barrier(workers)
        processes = [
            context.Process(target=take_part, args=(url, name, folder, seconds, times, together))
            for _ in range(workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        found = [times.get() for _ in range(times.qsize())]
    return f"{len(found) / seconds:.1f} trials a second in all, {1000 * statistics.median(found):.0f} ms each"


def time_mlflow(folder: Path, number: int) -> str:
    spec = RunSpec(method="baseline", dataset="digits", sigma=0.25, epochs=1, images=100, n=100, n0=10)
    machine = Machine(runs=folder, track=False)
    made, client, times = run(spec, machine).path, connect(folder), []
    for seed in range(number):
        other = made.with_name(f"{made.name[:-8]}{seed:08x}")
        shutil.copytree(made, other)
        row = json.loads((other / "result.json").read_text()) | {"run_id": other.name}
        (other / "result.json").write_text(json.dumps(row))
        begun, cpu = time.monotonic(), time.process_time()
        log(other, client, folder)
        times.append((time.monotonic() - begun, time.process_time() - cpu))
    wall, cpu = (statistics.median(column) for column in zip(*times[1:], strict=True))
    return f"{1000 * wall:.0f} ms a run, {1000 * cpu:.0f} ms of them its own"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage")
    parser.add_argument("--mlflow")
    parser.add_argument("--trials", default="100,500")
    parser.add_argument("--workers", default="1,4")
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    if given.mlflow:
        os.environ["MLFLOW_TRACKING_URI"] = given.mlflow
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        os.chdir(folder)  # a database of MLflow's keeps files where its client is
        url = given.storage or f"sqlite:///{folder}/studies.db"
        for trials in map(int, given.trials.split(",")):
            for workers in map(int, given.workers.split(",")):
                said = time_study(url, folder, trials, workers, given.seconds)
                print(f"a study of {trials} trials, {workers} workers: {said}", flush=True)
        print(f"MLflow: {time_mlflow(folder, 12)}")


if __name__ == "__main__":
    main()
