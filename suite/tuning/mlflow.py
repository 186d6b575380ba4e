"""A study in MLflow: a run for the study, and nested in it a run for each trial, open for as long as the trial runs.

Like the log of a run (`suite.store.mlflow.live`) all of it is sent from threads. Over all its trials, a process waits
for a server two seconds at most.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, Trial, TrialState

from suite.errors import unless_interrupted
from suite.progress import logger
from suite.spec.names import flatten
from suite.spec.run_spec import RunSpec
from suite.store.mlflow.content import make_metric, own_tags
from suite.store.mlflow.live import LONGEST, Background, LiveRun, Patience, Status
from suite.store.mlflow.place import connect, explain, open_experiment, shown, tracking_uri
from suite.store.mlflow.send import Entry, find, log_metrics, log_params, set_tags
from suite.tuning.definition import definition_of
from suite.tuning.results import best_trials, open_studies, run_line, tabulate_trials
from suite.tuning.space import Params
from suite.tuning.storage import Storage, default_url

if TYPE_CHECKING:
    import optuna
    from mlflow import MlflowClient
    from mlflow.entities import Run

STATES: dict[TrialState, Status] = {
    TrialState.COMPLETE: "FINISHED",
    TrialState.PRUNED: "KILLED",
    TrialState.FAIL: "FAILED",
}


class Job(Background):
    """One thing to do in MLflow."""

    def __init__(self, runs: Path, patience: Patience, do: Callable[[MlflowClient], None]):
        super().__init__(runs, patience)
        self.do = do

    def step(self, client: MlflowClient, ended: bool) -> None:
        if ended:
            self.do(client)


class StudyLog:
    """The log of one study, in MLflow's experiment "suite/<dataset>/studies"."""

    def __init__(self, runs: Path, study: optuna.Study, storage: Storage, *, on: bool):
        self.runs, self.study, self.storage, self.on = runs, study, storage, on
        self.patience, self.warned = Patience(), False
        self.run_id: str | None = None
        definition = definition_of(study)
        self.experiment = f"suite/{Path(definition.dataset).name}/studies"
        self.key = {"suite.study": study.study_name, "suite.storage": place_of(storage)}
        self._lock = threading.Lock()
        self._lost: list[Job] = []

    def parent(self, client: MlflowClient) -> str:
        """The id of the study's run, which is made by the first that asks."""
        with self._lock:
            if self.run_id is None:
                with self.storage.lock(f"{self.study.study_name}: mlflow"):
                    self.run_id = self._open(client).info.run_id
            return self.run_id

    def _open(self, client: MlflowClient) -> Run:
        where = open_experiment(client, self.experiment, self.runs)
        there = find(client, where, Entry(self.experiment, self.study.study_name, {**self.key, "suite.role": "study"}))
        if there is None and (known := self.study.user_attrs.get("mlflow")):
            there = run_of(client, known)
        if there is None or there.info.lifecycle_stage == "deleted":
            definition = definition_of(self.study)
            about = {"suite.method": definition.method, "suite.dataset": definition.dataset, "suite.role": "study"}
            about |= {"suite.profile": str(definition.settings.get("profile", ""))}
            tags = {**own_tags(), **self.key, **about}
            there = client.create_run(where, run_name=self.study.study_name, tags=tags)
            log_params(client, there.info.run_id, flatten(definition.to_json()))
        elif there.info.status != "RUNNING":
            client.update_run(there.info.run_id, status="RUNNING")
        return there

    def trial(self, number: int, params: Params, spec: RunSpec, folder: Path) -> LiveRun | None:
        """The log of a trial, which becomes a run inside the study's; None where studies are not logged."""
        if not self.on:
            return None
        return LiveRun(folder, self.runs, self.entry(number, params), spec, self.patience)

    def entry(self, number: int, params: Mapping[str, object] | None = None) -> Entry:
        """The place of a trial."""
        return Entry(
            self.experiment,
            f"{self.study.study_name}/{number}",
            {**self.key, "suite.trial": str(number)},
            params={name: str(value) for name, value in (params or {}).items()},
            tags={"suite.role": "trial"},
            parent=self.parent,
            model=False,
        )

    def end_trial(
        self,
        log: LiveRun | None,
        trial: Trial,
        state: TrialState,
        values: list[float] | None,
        *,
        at_most: float = LONGEST,
    ) -> None:
        """Close the run of a trial that ends in `state`, with all that Optuna knows of it; link both."""
        if log is None:
            return
        describe_trial(log, self.study.get_trials(deepcopy=False)[trial.number], definition_of(self.study).objectives)
        describe_end(log, state, values, definition_of(self.study).objectives)
        if not log.end(at_most):
            self._warn(log)
        for thing, run_id in ((trial, log.run_id), (self.study, self.run_id)):
            if run_id and thing.user_attrs.get("mlflow") != run_id:
                thing.set_user_attr("mlflow", run_id)

    def lose_trial(self, number: int) -> None:
        """Close the run of a trial whose process died."""

        def close(client: MlflowClient) -> None:
            where = open_experiment(client, self.experiment, self.runs)
            if there := find(client, where, self.entry(number)):
                set_tags(client, there, {"suite.state": "fail", "suite.error": "its process died"})
                client.set_terminated(there.info.run_id, "FAILED")

        if self.on:
            self._lost.append(Job(self.runs, self.patience, close))
            self._lost[-1].finish()

    def end(self) -> None:
        """Close the study's run, and those of trials whose process died."""
        for job in [*self._lost, Job(self.runs, self.patience, self.close)]:
            if self.on and not job.end():
                self._warn(job)

    def close(self, client: MlflowClient) -> None:
        """Give the study's run its best trials: their values as metrics, what they are as tags, all as a table."""
        run_id = self.parent(client)
        front, objectives = best_trials(self.study), definition_of(self.study).objectives
        best: dict[str, str] = {}
        if front:
            best = {"suite.best.trials": ",".join(str(trial.number) for trial in front)}
        if front and len(objectives) == 1:
            best |= {f"suite.best.{name}": str(value) for name, value in front[0].params.items()}
            best |= {"suite.best.command": run_line(self.study, front[0])}
            told = client.get_run(run_id).data.metrics
            value = make_metric(objectives[0], front[0].values[0], front[0].number)
            log_metrics(client, run_id, [value] if told.get(value.key) != value.value else [])
        set_tags(client, client.get_run(run_id), best)
        client.log_text(run_id, tabulate_trials(self.study).to_csv(index=False), "trials.csv")
        client.set_terminated(run_id, "FINISHED")

    def _warn(self, job: Background) -> None:
        if not self.warned:
            reason = job.reason or f"MLflow at {shown(tracking_uri(self.runs))} is slow"
            logger.warning(f"{reason}; the study goes on, and 'suite sync' sends what MLflow lacks of it")
        self.warned = True


def sync_studies(runs: Path) -> bool:
    """Send what MLflow lacks of the studies in the store's own storage; whether it has all of them now."""
    whole, url = True, default_url(runs)
    for study in open_studies(url):
        try:
            sync_study(runs, study, Storage(url, look=True), connect(runs))
        except Exception as error:  # whatever the store's client raises
            logger.warning(f"the study '{study.study_name}' was not sent: {explain(error, runs)}")
            whole = False
    return whole


def sync_study(runs: Path, study: optuna.Study, storage: Storage, client: MlflowClient) -> None:
    """Send what MLflow lacks of a study: trials that have ended and are not there, or not closed."""
    log = StudyLog(runs, study, storage, on=True)
    definition = definition_of(study)
    where = open_experiment(client, log.experiment, runs)
    for trial in study.get_trials(deepcopy=False):
        if trial.state not in STATES or is_closed(client, where, trial, log.entry(trial.number)):
            continue
        spec = definition.trial_spec(trial.params)
        folder = runs / "studies" / str(trial.user_attrs.get("run", spec.name))
        live = LiveRun(folder, runs, log.entry(trial.number, trial.params), spec, log.patience)
        describe_trial(live, trial, definition.objectives)
        describe_end(live, trial.state, trial.values, definition.objectives)
        live.step(client, True)
    if all(trial.state != TrialState.RUNNING for trial in study.get_trials(deepcopy=False)):
        log.close(client)


def is_closed(client: MlflowClient, where: str, trial: FrozenTrial, entry: Entry) -> bool:
    """Whether MLflow has a trial with its end: by the id that it recorded, or by its tags.

    One that a killed process had closed there before Optuna knew of its end has another end here.
    """
    there = run_of(client, str(trial.user_attrs.get("mlflow")))
    if there is None or there.info.lifecycle_stage == "deleted":
        there = find(client, where, entry)
    return there is not None and there.info.status == STATES[trial.state]


def run_of(client: MlflowClient, name: str) -> Run | None:
    """The run of an id; None where it is in another MLflow, or was deleted for good."""
    try:
        return client.get_run(name)
    except Exception as error:  # whatever the store's client raises
        unless_interrupted(error)
        return None


def describe_trial(live: LiveRun, trial: FrozenTrial, objectives: tuple[str, ...]) -> None:
    """Give the log of a trial what Optuna knows of it."""
    live.tags["suite.run_id"] = live.folder.name
    if error := trial.user_attrs.get("error"):
        live.tags["suite.error"] = str(error)
    for step, value in trial.intermediate_values.items():
        live.note(f"intermediate.{objectives[0]}", value, step)


def describe_end(live: LiveRun, state: TrialState, values: list[float] | None, objectives: tuple[str, ...]) -> None:
    """Give the log of a trial its end."""
    live.status = STATES[state]
    live.tags["suite.state"] = state.name.lower()
    if state == TrialState.COMPLETE and values:
        live.metrics |= dict(zip(objectives, values, strict=True))


def place_of(storage: Storage) -> str:
    """A storage as another machine's user can find it: a file by its whole path, a server by its URL."""
    if storage.file is None:
        return storage.url
    path = str(storage.file.absolute())
    return f"sqlite:///{path}" if storage.url.startswith("sqlite:") else path
