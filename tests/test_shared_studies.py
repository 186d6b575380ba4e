"""Several processes on one study, in every kind of storage: none of their trials is lost or counted twice."""

from __future__ import annotations

import contextlib
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from helpers.postgres import server
from helpers.processes import Command, Moment
from helpers.studying import COMMAND, GIVEN, search
from optuna.trial import Trial, TrialState
from sqlalchemy import event
from sqlalchemy.engine import Engine

from suite import data as datasets
from suite.data.validation import validation
from suite.errors import UserError
from suite.pipeline import Machine
from suite.tuning import trials as tuning
from suite.tuning.definition import definition_of
from suite.tuning.results import open_study
from suite.tuning.storage import Storage


EVERY = int(os.environ.get("EVERY", "3"))


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


def take_part(runs: Path, *, at: int = 0, interrupt: bool = False) -> tuple[int, int]:
    """Go through a grid of three trials that cost nothing in a process of its own: its exit code, and its steps.

    Before its step `at` in the database the process is killed, or interrupted as by Ctrl-C.
    """
    read, write = os.pipe()
    if child := os.fork():
        os.close(write)
        with open(read) as counted:
            steps = int(counted.read() or 0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), steps
    number, code = 0, 1

    def step(*_: object, **__: object) -> None:
        nonlocal number
        number += 1
        if number == at and interrupt:
            raise KeyboardInterrupt
        if number == at:
            os._exit(9)

    def attempt(work: tuning.Work, trial: Trial) -> bool:
        work.study.tell(trial, [trial.params["sigma"]])
        return True

    try:
        for what in ("before_cursor_execute", "commit"):
            event.listen(Engine, what, step)
        tuning.attempt = attempt
        search(GIVEN | {"sampler": "grid", "search": ["sigma=0.1,0.2,0.3"]}, 3, runs)
        code = 0
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        os.write(write, str(number).encode())
        os._exit(code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_grid_is_gone_through_once_whenever_its_processes_are_killed_and_interrupted(tmp_path: Path) -> None:
    """One is killed before each third step in turn, the next one is interrupted at a step drawn at random."""
    code, steps = take_part(tmp_path / "whole")
    assert code == 0
    draw = Random(0)
    for at in range(1, steps + 1, EVERY):
        runs = tmp_path / str(at)
        later = draw.randint(1, steps)
        assert take_part(runs, at=at) == (9, 0)
        assert take_part(runs, at=later, interrupt=True)[0] in (0, 130), f"killed at {at}, interrupted at {later}"
        assert take_part(runs)[0] == 0, f"killed at {at}, interrupted at {later}"
        trials = open_study("s", f"sqlite:///{runs}/studies.db").trials
        ended = [trial.params["sigma"] for trial in trials if trial.state == TrialState.COMPLETE]
        assert sorted(ended) == [0.1, 0.2, 0.3], f"killed at {at}, interrupted at {later}"
        assert all(trial.state.is_finished() for trial in trials), f"killed at {at}, interrupted at {later}"


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
