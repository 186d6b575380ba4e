"""Several processes on one study, in every kind of storage: none of their trials is lost or counted twice."""

from __future__ import annotations

import contextlib
import gc
import json
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import optuna
import pytest
from helpers.postgres import server
from helpers.processes import Command, Moment
from helpers.studying import COMMAND, GIVEN, search
from optuna.storages import RDBStorage
from optuna.trial import Trial, TrialState
from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.orm.interfaces import StrategizedProperty

from suite import data as datasets
from suite.data.validation import validation
from suite.errors import UserError
from suite.pipeline import Machine
from suite.store.locks import DEAD
from suite.tuning import trials as tuning
from suite.tuning.definition import begin, definition_of
from suite.tuning.results import open_study
from suite.tuning.storage import Storage

EVERY = int(os.environ.get("SUITE_KILL_EVERY", "41"))  # steps


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
    finally:
        os.write(write, str(number).encode())
        os._exit(code)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")
def test_a_grid_is_gone_through_once_whenever_its_processes_are_killed_and_interrupted(tmp_path: Path) -> None:
    """One process is killed before a step, another interrupted before a step that is drawn, a third one ends."""
    code, steps = take_part(tmp_path / "whole")
    assert code == 0
    draw = Random(0)
    for at in range(1, steps + 1, EVERY):
        runs, later = tmp_path / str(at), draw.randint(1, steps)
        about = f"killed at {at}, interrupted at {later}"
        assert take_part(runs, at=at) == (9, 0), about
        assert take_part(runs, at=later, interrupt=True)[0] in (0, 130), about
        assert take_part(runs)[0] == 0, about
        trials = open_study("s", f"sqlite:///{runs}/studies.db").trials
        ended = [trial.params["sigma"] for trial in trials if trial.state == TrialState.COMPLETE]
        assert sorted(ended) == [0.1, 0.2, 0.3], about
        assert all(trial.state.is_finished() for trial in trials), about
        assert not [path for path in runs.rglob("*") if path.suffix == ".held" or ".part" in path.name], about


def begun(storage: str, runs: Path, **given: Any) -> tuning.Work:
    """What a process needs that takes part in the study "s"."""
    where = Storage(storage)
    study = begin({**GIVEN, **given}, "s", where)
    definition = definition_of(study)
    return tuning.Work(
        study, definition, where, Machine(runs=runs), tuning.StudyLog(runs, study, where, on=False),
        validation(datasets.load("digits"), 0.1), definition.build_objectives(), definition.build_space(),
    )  # fmt: skip


def test_what_a_server_still_did_for_a_dead_process_is_not_done_twice(storage: str, tmp_path: Path) -> None:
    """The trial ended after all; its values were put into the queue by two; another process took the last of a grid."""
    work = begun(storage, tmp_path, sampler="grid", search=["sigma=0.1,0.2,0.3"])
    study = work.study

    def states() -> list[str]:
        return [trial.state.name for trial in study.trials]

    for _ in range(2):
        taken = tuning.take_trial(work, 3)
        assert taken
        taken[1]()
        tuning.reap(work)
    assert states() == ["FAIL", "FAIL", "WAITING", "WAITING"]
    [first, second] = [trial.system_attrs["fixed_params"] for trial in study.trials[:2]]
    study.enqueue_trial(first, user_attrs={"again": 0})
    tuning.mend_queue(work)
    assert states() == ["FAIL", "FAIL", "WAITING", "WAITING", "FAIL", "WAITING"]
    assert [trial.user_attrs.get("again") for trial in study.trials] == [None, None, None, 0, 0, 1]
    study.enqueue_trial(study.trials[2].system_attrs["fixed_params"])
    tuning.mend_queue(work)
    assert states()[6] == "FAIL"
    for number in (2, 3, 5):
        taken = tuning.take_trial(work, 3)
        assert taken
        assert taken[0].number == number
        study.tell(taken[0], [0.5])
        taken[1]()
    study.enqueue_trial(second, user_attrs={"again": 5})
    assert tuning.take_trial(work, 4) is None
    assert states()[7:] == ["FAIL"]
    tuning.lose(work, study.trials[2], {}, again=True)
    assert states() == ["FAIL", "FAIL", "COMPLETE", "COMPLETE", "FAIL", "COMPLETE", "FAIL", "FAIL"]


@pytest.mark.parametrize("name", ["sqlite:///{}/s.db", "{}/s.journal"], ids=["sqlite", "journal"])
def test_a_trial_of_another_machine_is_left_to_it_while_it_is_alive(name: str, tmp_path: Path) -> None:
    """Whose lock does not exclude this one, as on some network file systems; it is alive while it touches its file."""
    work = begun(name.format(tmp_path), tmp_path)
    taken = tuning.take_trial(work, 1)
    assert taken
    [held] = tmp_path.glob(".s.*.locks/*.held")
    content = held.read_text()
    taken[1]()
    held.write_text(json.dumps(json.loads(content) | {"host": "another"}))
    tuning.reap(work)
    assert work.study.trials[0].state == TrialState.RUNNING
    os.utime(held, (time.time() - 2 * DEAD,) * 2)
    tuning.reap(work)
    assert work.study.trials[0].state == TrialState.FAIL


@pytest.mark.postgres
def test_a_servers_own_locks_are_used_where_studies_are_on_one(tmp_path: Path) -> None:
    """So they exclude all machines that reach it, whatever their file systems do; the server gives up a dead one's."""
    with server() as url:
        work = begun(url, tmp_path)
        taken = tuning.take_trial(work, 1)
        assert taken
        assert not list(tmp_path.iterdir())
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as database:
            number = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted")
            assert database.execute(number).scalar() == 1
            database.execute(text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
        engine.dispose()
        tuning.reap(work)
        assert work.study.trials[0].state == TrialState.FAIL


def test_a_study_half_begun_is_begun_and_another_one_is_left_alone(storage: str, tmp_path: Path) -> None:
    half = optuna.create_study(storage=Storage(storage).optuna, study_name="s", direction="maximize")
    half.enqueue_trial({"sigma": 0.2})
    work = begun(storage, tmp_path, sampler="grid", search=["sigma=0.1,0.2,0.3"])
    waiting = [trial.system_attrs["fixed_params"]["sigma"] for trial in work.study.trials]
    assert (waiting[0], sorted(waiting)) == (0.2, [0.1, 0.2, 0.3])
    optuna.create_study(storage=work.storage.optuna, study_name="other", direction="maximize").ask()
    with pytest.raises(UserError, match=r"'other' in .* was not begun by 'suite tune'"):
        begin(GIVEN, "other", work.storage)
    optuna.create_study(storage=work.storage.optuna, study_name="reverse", direction="minimize")
    with pytest.raises(UserError, match=r"'reverse' in .* has other directions"):
        begin(GIVEN, "reverse", work.storage)


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
@pytest.mark.parametrize("storage", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True)
def test_ctrl_c_is_no_death_of_a_trial_whatever_step_it_comes_before(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time the study goes on, Ctrl-C comes three steps in the database later, and once no more."""
    number, at = 0, 0

    def step(*_: object, **__: object) -> None:
        nonlocal number
        number += 1
        if number == at:
            raise KeyboardInterrupt

    def attempt(work: tuning.Work, trial: Trial) -> bool:
        work.study.tell(trial, [trial.params["sigma"]])
        return True

    monkeypatch.setattr(tuning, "attempt", attempt)
    work = begun(storage, tmp_path)
    for what in ("before_cursor_execute", "commit"):
        event.listen(work.storage.optuna.engine, what, step)  # type: ignore[attr-defined]
    while True:
        at, number = at + 3, 0
        with contextlib.suppress(KeyboardInterrupt):
            tuning.carry_on(work, 1)
            break
        work.storage.optuna.remove_session()  # type: ignore[attr-defined]
        work.storage.optuna.engine.dispose()  # type: ignore[attr-defined]  # as a new process has none
    assert at > 20
    trials = work.study.trials
    assert Counter(trial.state.name for trial in trials) == {"FAIL": len(trials) - 1, "COMPLETE": 1}
    assert not [trial for trial in trials if "retry_of" in trial.user_attrs]
    assert len({json.dumps(trial.params) for trial in trials if tuning.BEGUN in trial.user_attrs}) == 1


def test_ctrl_c_while_rows_are_read_leaves_the_storage_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLAlchemy does not close a cursor that Ctrl-C finds open, and while one is, an SQLite file is locked."""
    real, interrupted = StrategizedProperty.create_row_processor, False

    def once(*arguments: Any, **named: Any) -> Any:
        nonlocal interrupted
        if interrupted:
            return real(*arguments, **named)
        interrupted = True
        raise KeyboardInterrupt

    def attempt(work: tuning.Work, trial: Trial) -> bool:
        monkeypatch.setattr(StrategizedProperty, "create_row_processor", once)
        trial.set_user_attr("run", "x")
        return True

    work = begun(f"sqlite:///{tmp_path}/s.db", tmp_path)
    engine = work.storage.optuna.engine  # type: ignore[attr-defined]
    event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=300"))
    engine.dispose()
    monkeypatch.setattr(tuning, "attempt", attempt)
    with pytest.raises(KeyboardInterrupt):
        tuning.carry_on(work, 1)
    assert interrupted
    assert [trial.state for trial in work.study.trials] == [TrialState.FAIL]


@pytest.mark.postgres
def test_who_looks_at_studies_keeps_no_connection(tmp_path: Path) -> None:
    with server() as url:
        begun(url, tmp_path)
        engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))

        def connections() -> int:
            with engine.connect() as database:
                clients = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                return database.execute(text(clients)).scalar_one()

        gc.collect()
        gc.disable()
        try:
            before = connections()
            for _ in range(30):
                assert not open_study("s", url).trials
            wait_for(lambda: connections() <= before)
        finally:
            gc.enable()
            engine.dispose()


@pytest.mark.slow
def test_a_trial_whose_process_dies_twice_is_left(tmp_path: Path, storage: str) -> None:
    """The deaths: its lock given up while the trial is running."""
    work = begun(storage, tmp_path)
    study = work.study
    params = []
    for _ in range(3):
        taken = tuning.take_trial(work, 1)
        assert taken
        params.append(taken[0].params)
        taken[0].set_user_attr(tuning.BEGUN, True)
        tuning.reap(work)
        assert study.trials[-1].state == TrialState.RUNNING  # alive as long as the lock is held
        taken[1]()
    assert params[1] == params[0] != params[2]
    assert [trial.user_attrs.get("retry_of") for trial in study.trials] == [None, 0, None]
    assert [trial.state for trial in study.trials][:2] == [TrialState.FAIL, TrialState.FAIL]


def test_a_connection_that_ctrl_c_closed_is_let_go_without_a_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLAlchemy cannot roll it back when it is collected, and would say so with a traceback."""
    storage = Storage(f"sqlite:///{tmp_path}/studies.db")
    assert isinstance(storage.optuna, RDBStorage)
    engine = storage.optuna.engine

    def interrupted() -> None:
        connection = engine.connect()
        connection.execute(text("select 1"))
        raw = connection.connection.dbapi_connection
        assert raw is not None
        raw.close()
        raise KeyboardInterrupt

    try:
        interrupted()
    except KeyboardInterrupt as error:
        storage.drop_connections(error)
    assert [record.name for record in caplog.records] == []
    assert logging.getLogger("sqlalchemy.pool").isEnabledFor(logging.ERROR)
