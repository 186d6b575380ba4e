"""A study by the workers of an executor: each takes part in it as a process of its own does."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import optuna
from sqlalchemy.engine import make_url

from suite.errors import UserError
from suite.executors.executor import Executor
from suite.executors.tasks import Task, finish
from suite.experiments.parts import absolute
from suite.leftovers import temporary
from suite.pipeline import Machine, set_up
from suite.progress import LOG_EVERY, duration, logger
from suite.tuning.definition import StudyOptions
from suite.tuning.results import FINISHED
from suite.tuning.storage import Storage
from suite.tuning.trials import tune


@dataclass(frozen=True)
class Part:
    """What a worker needs to take part in a study, which others do as well."""

    study: str
    trials: int
    url: str
    machine: Machine
    shared: bool


def tune_by(
    executor: Executor, given: StudyOptions, name: str | None, trials: int, url: str, machine: Machine, *, shared: bool
) -> optuna.Study:
    """As `suite.tuning.trials.tune`, by all workers at once. Storages that are files need files that workers share.

    Raises UserError where a worker fails and the others do not finish the trials either.
    """
    storage = Storage(url)
    if not shared and storage.file:
        raise UserError(f"without shared files a study needs a server: --storage postgresql://…, not {storage.url}")
    study = tune(given, name, 0, storage, machine)  # begins it, and says what is wrong with it
    part = Part(study.study_name, trials, absolute_url(url, storage.file), absolute(machine), shared)
    tasks = {f"worker {number}": Task(take_part, lambda: part) for number in range(1, executor.workers + 1)}
    begun = said = time.monotonic()
    before, failed = count(study), list[str]()
    logger.info(f"study '{study.study_name}' in {storage.url}: {executor.workers} workers")
    for ended in finish(executor, tasks):
        if ended and ended.error is not None:
            failed.append(ended.error)
        if time.monotonic() - said > LOG_EVERY:
            said, done = time.monotonic(), count(study)
            rate = (said - begun) / (done - before) if done > before else 0.0
            left = f", {duration(rate * max(trials - done, 0))} left" if rate else ""
            logger.info(f"{done}/{trials} finished{left}")
    if failed and count(study) < trials:
        raise UserError(f"{len(failed)} of {executor.workers} workers failed: {failed[0]}")
    return study


def absolute_url(url: str, file: Path | None) -> str:
    """The URL of a storage for a process in whatever folder; `file` is the one that it is in, if it is one."""
    if file is None or "://" not in url:
        return str(file.absolute()) if file else url
    return make_url(url).set(database=str(file.absolute())).render_as_string(hide_password=False)


def count(study: optuna.Study) -> int:
    """The finished trials."""
    return len(study.get_trials(deepcopy=False, states=FINISHED))


def take_part(part: Part, device: str | None) -> None:
    """Make trials in a worker until enough are finished."""
    set_up()
    machine = replace(part.machine, device=device or part.machine.device)
    if part.shared:
        tune({}, part.study, part.trials, Storage(part.url, create=False), machine)
        return
    with temporary() as folder:
        own = replace(machine, runs=folder, track=machine.track and "MLFLOW_TRACKING_URI" in os.environ)
        tune({}, part.study, part.trials, Storage(part.url, create=False), own)
