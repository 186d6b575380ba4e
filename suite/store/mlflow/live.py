"""A run in MLflow while it goes on: sent from a thread, which the run hardly waits for.

A run waits for its log at its end only: for a file as long as writing takes, for a server two seconds in all, however
slow it is; for one that does not answer, two seconds once in a process. What was not sent is sent by 'suite sync'.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from suite.errors import first_line
from suite.progress import logger
from suite.store.mlflow.content import lineage, loss_points, make_metric, make_metrics, now, read_content
from suite.store.mlflow.model import WEIGHTS, log_model
from suite.store.mlflow.place import (
    RETRY,
    connect,
    explain,
    is_file,
    locked,
    open_experiment,
    reach,
    shown,
    tracking_uri,
)
from suite.store.mlflow.send import Entry, complete, find, is_settled, log_metrics, run_entry, set_tags, take_up

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from suite.data import Dataset
    from suite.spec.model_spec import ModelSpec
    from suite.spec.run_spec import RunSpec
    from suite.store.mlflow.content import Content, Point

EVERY = 2.0  # seconds between what is sent
PATIENCE = 2.0  # seconds that a run waits for a server, and a process for one that does not answer
LONGEST = 600.0  # seconds that a run waits for a file
Status = Literal["FINISHED", "FAILED", "KILLED"]


class Patience:
    """Seconds that are left to wait."""

    def __init__(self, seconds: float = PATIENCE):
        self.left = seconds


_for_answers = Patience()  # of this process


class Background(ABC):
    """Work for MLflow in a thread: `step` is called with a client, now and then, and a last time with `ended`."""

    def __init__(self, runs: Path, patience: Patience | None = None):
        self.runs, self.patience = runs, patience or Patience()
        self.reason = ""  # why the last step failed
        self._phase: Literal["asking", "own", "sending"] = "asking"
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="mlflow", daemon=True)

    @abstractmethod
    def step(self, client: MlflowClient, ended: bool) -> None: ...

    def start(self) -> None:
        if not self._thread.ident:
            self._thread.start()

    def finish(self) -> None:
        """Ask for the last step, and do not wait for it."""
        self._ending.set()
        self.start()

    def end(self, at_most: float = LONGEST) -> bool:
        """Ask for the last step, and wait for it as long as a run may; whether it is done and well."""
        self.finish()
        patient, until = is_file(tracking_uri(self.runs)), time.monotonic() + at_most
        while self._thread.is_alive() and time.monotonic() < until:
            begun = time.monotonic()
            limits = [] if patient or self._phase == "own" else [self.patience]
            limits += [_for_answers] if self._phase == "asking" and limits else []
            if any(each.left <= 0 for each in limits):
                break
            self._thread.join(0.02)
            for each in limits:
                each.left -= time.monotonic() - begun
        return not self._thread.is_alive() and not self.reason

    def _work(self) -> None:
        pause = 0.0
        while True:
            ended = self._ending.wait(pause)
            try:
                self._phase = "asking"
                reach(self.runs)
                self._phase = "own"  # MLflow is imported, its file made
                client = connect(self.runs)
                self._phase = "sending"
                self.step(client, ended)
                self.reason, pause = "", EVERY
            except Exception as error:  # whatever the store's client raises
                self.reason, pause = explain(error, self.runs), RETRY
            if ended:
                return


class LiveRun(Background):
    """One run in MLflow from its beginning: RUNNING with its loss, then FINISHED or FAILED.

    A run that is killed stays RUNNING, and the same run is taken up again. Its model is sent once it is trained.
    """

    def __init__(self, folder: Path, runs: Path, entry: Entry, spec: RunSpec, patience: Patience | None = None):
        super().__init__(runs, patience)
        self.folder, self.entry = folder, entry
        self.run_id: str | None = None
        self.status: Status = "FINISHED"
        self.metrics: dict[str, float] = {}  # these and the tags are added at the end, whatever became of the run
        self.tags: dict[str, str] = {}
        self._prefixes = {each.name: "start." * n for n, each in enumerate(lineage(spec.model))}
        self._points: list[Point] = []
        self._have: dict[str, set[int]] = {}  # the steps that an earlier process has sent, by name or group
        self._model: str | None = None

    def report(self, spec: ModelSpec, entry: Mapping[str, float]) -> None:
        """A point of a model's training: its step, epoch, loss and learning rate. Costs the caller nothing."""
        prefix = self._prefixes.get(spec.name)
        if prefix is not None:
            self._points += loss_points(entry, prefix)

    def note(self, name: str, value: float, step: int) -> None:
        """A number that was measured during training."""
        self._points.append((name, value, step, now()))

    def close(self, status: Status, *, error: str = "") -> bool:
        """The run has ended: wait for the log as long as it may take. False where something is left to send."""
        self.status = status
        if error:
            self.tags["suite.error"] = error
        return self.end()

    def step(self, client: MlflowClient, ended: bool) -> None:
        trained = self.entry.model and not self._model and (self.folder / WEIGHTS).exists()
        if not ended and self.run_id and not self._points and not trained:
            return
        with locked(self.runs, self.entry.name):
            where = open_experiment(client, self.entry.experiment, self.runs)
            there = client.get_run(self.run_id) if self.run_id else find(client, where, self.entry)
            content = read_content(self.folder)
            if there and is_settled(there, content.stamp):
                self.run_id = str(there.info.run_id)
            else:
                there = there if self.run_id else self._begin(client, there, content)
                assert there
                self._send_points(client, str(there.info.run_id))
                if trained:
                    self._model = log_model(client, there, self.folder, content) or "none"
                if ended and self.status == "FINISHED" and content.stamp:
                    there = client.get_run(there.info.run_id)
                    self.run_id = complete(client, self.entry, there, self.folder, self.runs)
            if ended and (self.status != "FINISHED" or self.metrics or self.tags or not content.stamp):
                self._end(client, client.get_run(str(self.run_id)))

    def _begin(self, client: MlflowClient, there: Run | None, content: Content) -> Run:
        run = take_up(client, self.entry, there, content, self.runs)
        self.run_id = str(run.info.run_id)
        for prefix in self._prefixes.values():
            known = client.get_metric_history(self.run_id, f"{prefix}training.loss") if there else ()
            self._have[f"{prefix}training."] = {each.step for each in known}
        for name in {name for name, *_ in self._points if "training." not in name} if there else ():
            self._have[name] = {each.step for each in client.get_metric_history(self.run_id, name)}
        return run

    def _send_points(self, client: MlflowClient, run_id: str) -> None:
        points = self._points[:]
        places = [(point[0], f"{point[0].rpartition('.')[0]}.") for point in points]
        have = [self._have.get(name, self._have.get(group, set())) for name, group in places]
        fresh = [point for point, steps in zip(points, have, strict=True) if point[2] not in steps]
        log_metrics(client, run_id, [make_metric(*point) for point in fresh])
        del self._points[: len(points)]

    def _end(self, client: MlflowClient, run: Run) -> None:
        told = run.data.metrics
        fresh = [metric for metric in make_metrics(self.metrics) if told.get(metric.key) != metric.value]
        log_metrics(client, run.info.run_id, fresh)
        set_tags(client, run, self.tags)
        client.set_terminated(run.info.run_id, self.status)


class NoLog:
    """The log of a run that is not tracked."""

    def start(self) -> None: ...

    def report(self, spec: ModelSpec, entry: Mapping[str, float]) -> None: ...


@contextmanager
def tracked(folder: Path, runs: Path, data: Dataset, spec: RunSpec, *, on: bool) -> Iterator[LiveRun | NoLog]:
    """The log of a run while it goes on, to be started once its folder is there.

    An exception ends it as FAILED; Ctrl-C and SIGTERM leave it RUNNING, to be taken up again, and wait for nothing.
    """
    if not on:
        yield NoLog()
        return
    live = LiveRun(folder, runs, run_entry(folder, data.name, data.source), spec)
    try:
        yield live
    except Exception as error:
        live.close("FAILED", error=first_line(error))
        raise
    if not live.close("FINISHED"):
        reason = live.reason or f"MLflow at {shown(tracking_uri(runs))} is slow"
        logger.warning(f"the run was not logged: {reason}; 'suite sync' does it later")
