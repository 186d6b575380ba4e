"""Several processes on one study, in every kind of storage: none of their trials is lost or counted twice."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.postgres import server
from helpers.processes import Command, Moment
from helpers.studying import COMMAND, GIVEN
from optuna.trial import TrialState

from suite import data as datasets
from suite.data.validation import validation
from suite.errors import UserError
from suite.pipeline import Machine
from suite.tuning import trials as tuning
from suite.tuning.definition import definition_of
from suite.tuning.results import open_study
from suite.tuning.storage import Storage


@pytest.fixture(params=["sqlite", "journal", pytest.param("postgresql", marks=pytest.mark.postgres)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "postgresql":
        with server() as url:
            yield url
    else:
        yield {"sqlite": f"sqlite:///{tmp_path}/s.db", "journal": str(tmp_path / "s.journal")}[request.param]


def wait_for(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_one_of_two_processes_is_killed_in_the_middle_of_a_trial(storage: str, tmp_path: Path) -> None:
    """It stands still in the middle of its trial until the other one has a trial too."""
    arguments = ["--search", "sigma=0.1:0.5 kappa=1:4", "--study", "shared", "--trials", "3", "--storage", storage]
    command = [*COMMAND, *arguments, "--runs", tmp_path / "runs", "--no-track"]
    stop = Moment("*/models/heat-*/training.pt", what=signal.SIGSTOP)
    first = Command(tmp_path, *command, moment=stop)

    def running() -> int:
        with contextlib.suppress(UserError):
            trials = open_study("shared", storage).trials
            return sum(trial.state == TrialState.RUNNING and len(trial.params) == 2 for trial in trials)
        return 0

    wait_for(lambda: running() == 1 and any(tmp_path.glob("runs/studies/models/heat-*/training.pt")))
    second = Command(tmp_path, *command)
    wait_for(lambda: running() == 2)
    first.kill()
    code, _, said = second.wait()
    assert code == 0, said
    assert "died: it is tried again" in said
    trials = open_study("shared", storage).trials
    states = [trial.state for trial in trials]
    assert (states.count(TrialState.FAIL), states.count(TrialState.RUNNING)) == (1, 0)
    finished = [trial for trial in trials if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    assert len(finished) == 3
    [dead] = [trial for trial in trials if trial.state == TrialState.FAIL]
    [again] = [trial for trial in trials if trial.user_attrs.get("retry_of") == dead.number]
    assert again in finished
    assert again.params == dead.params
    assert len({tuple(trial.params.items()) for trial in finished}) == 3
    assert len(list(tmp_path.glob("runs/studies/models/baseline-*/model.safetensors"))) == 1


@pytest.mark.slow
def test_a_trial_whose_process_dies_twice_is_left(tmp_path: Path, storage: str) -> None:
    """The deaths: its lock given up while the trial is running."""
    where = Storage(storage)
    study = tuning.begin(GIVEN, "s", where)
    definition = definition_of(study)
    work = tuning.Work(
        study, definition, where, Machine(runs=tmp_path), tuning.StudyLog(tmp_path, study, where, on=False),
        validation(datasets.load("digits"), 0.1), definition.build_objectives(), definition.build_space(),
    )  # fmt: skip
    params = []
    for _ in range(3):
        taken = tuning.take_trial(work, 1)
        assert taken
        params.append(taken[0].params)
        tuning.reap(work)
        assert study.trials[-1].state == TrialState.RUNNING  # alive as long as the lock is held
        taken[1]()
    assert params[1] == params[0] != params[2]
    assert [trial.user_attrs.get("retry_of") for trial in study.trials] == [None, 0, None]
    assert [trial.state for trial in study.trials][:2] == [TrialState.FAIL, TrialState.FAIL]
