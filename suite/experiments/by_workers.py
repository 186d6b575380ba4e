"""An experiment's runs by the workers of an executor: models that several need first, and each made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from suite import data as datasets
from suite.effort import count_passes, missing_models, models_for
from suite.errors import UserError
from suite.executors.executor import Executor, Later
from suite.executors.tasks import Ended, Task, finish
from suite.experiments.errands import Errand, files_of, make_run, train_model
from suite.experiments.parts import absolute
from suite.pipeline import Machine, obtain, run
from suite.progress import LOG_EVERY, duration, logger
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.store.locks import Busy, hold, lock_of
from suite.store.packed import unpack

SHARE = 20.0  # times as long as a look at what is left takes, no other is taken


def carry_out_by(
    executor: Executor, specs: Sequence[RunSpec], machine: Machine, *, shared: bool = True
) -> Iterator[Path]:
    """As `suite.experiments.experiment.carry_out`, by many workers.

    Every model that is not there is a task, and every run one that comes after its models. Where the workers do not
    share the store's files (`shared`), what there is of a run goes to its worker with the task, and comes back with
    the result.
    """
    yield from _ByWorkers(executor, specs, absolute(machine), shared).folders()


class Clock:
    """Says how long work still takes, by what `count` says is left of it; it looks again when that costs little."""

    def __init__(self, count: Callable[[], float]):
        self.count, self.begun = count, time.monotonic()
        self.whole = self.now = count()
        self.looked = time.monotonic()
        self.cost = self.looked - self.begun

    def left(self) -> str:
        """', about 3 min left', or nothing where it is not known."""
        begun = time.monotonic()
        if begun - self.looked > SHARE * self.cost:
            self.now, self.looked = self.count(), begun
            self.cost = time.monotonic() - begun
        done = self.whole - self.now
        return f", about {duration((self.looked - self.begun) / done * self.now)} left" if done > 0 and self.now else ""


class _ByWorkers:
    def __init__(self, executor: Executor, specs: Sequence[RunSpec], machine: Machine, shared: bool):
        self.executor, self.machine, self.shared = executor, machine, shared
        machine.runs.mkdir(parents=True, exist_ok=True)
        self.data = datasets.load(specs[0].dataset, machine.data_root)
        on_data = [spec.on(self.data.fingerprint) for spec in specs]
        self.left = {spec.name: spec for spec in on_data}
        self.total, self.failed = len(self.left), list[str]()
        self.held: dict[str, ExitStack] = {}

    def folders(self) -> Iterator[Path]:
        tasks, clock = self._tasks(), Clock(lambda: count_passes(self.left.values(), self.data, self.machine))
        logger.info(f"{self.total} runs, {len(tasks) - self.total} models to train, {self.executor.workers} workers")
        said = time.monotonic()
        for ended in self._finish(tasks):
            spec = self.left.pop(ended.name, None) if ended else None
            if ended:
                self._take_back(ended, spec)
            if spec or time.monotonic() - said > LOG_EVERY:
                said = time.monotonic()
                what = f": {spec.name}" if spec else ""
                logger.info(f"{self.total - len(self.left)} of {self.total} runs ended{clock.left()}{what}")
            if spec and spec.name not in self.failed:
                yield self.machine.runs / spec.name
        if self.failed:
            others = "; the others are finished" if len(self.failed) < self.total else ""
            raise UserError(f"{len(self.failed)} of {self.total} runs failed: {', '.join(self.failed)}{others}")

    def _finish(self, tasks: dict[str, Task]) -> Iterator[Ended | None]:
        try:
            yield from finish(self.executor, tasks)
        finally:
            for held in self.held.values():
                held.close()

    def _tasks(self) -> dict[str, Task]:
        """Each run after the models that it needs, and before those that only later runs need."""
        runs, tasks = self.machine.runs, dict[str, Task]()
        for spec in self.left.values():
            missing = list(missing_models(models_for(spec, runs), runs))
            for model in reversed(missing):
                if not self.shared and not model.build_method().trains:
                    obtain(model, self.data, self.machine)  # somebody's weights, in a file that is here
                    missing.remove(model)
                elif model.name not in tasks:
                    start = [model.start.name] if model.start and model.start.name in tasks else []
                    tasks[model.name] = Task(train_model, partial(self._equip, model), tuple(start))
            tasks[spec.name] = Task(make_run, partial(self._equip, spec), tuple({model.name for model in missing}))
        return tasks

    def _equip(self, spec: ModelSpec) -> Errand:
        """The errand of a task; without shared files this process holds the folder for the worker."""
        if self.shared:
            return Errand(spec, self.machine)
        if spec.name not in self.held:  # a task may be given again
            folder = self.machine.runs / ("" if isinstance(spec, RunSpec) else "models") / spec.name
            held = ExitStack()
            try:
                held.enter_context(hold(lock_of(folder), wait=False, what=str(folder)))
            except Busy as error:
                raise Later(str(error)) from error
            self.held[spec.name] = held
        return Errand(spec, self.machine, files_of(spec, self.machine.runs))

    def _take_back(self, ended: Ended, spec: RunSpec | None) -> None:
        """What came of a task: in the store, and in MLflow."""
        if ended.error is not None:
            logger.error(f"{ended.name} failed: {ended.error}")
            if spec:
                self.failed.append(spec.name)
        elif not self.shared:
            unpack(self.machine.runs, ended.result)
        if ended.name in self.held:
            self.held.pop(ended.name).close()
        if spec and not self.shared and ended.error is None:
            run(spec, self.machine, data=self.data)
