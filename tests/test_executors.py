"""Executors: tasks in their order, workers that die, mistakes that stay alone; the same of each executor."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers import errands
from helpers.cli import Cli

import suite.executors.executor
from suite.errors import UserError
from suite.executors import EXECUTORS, open_executor
from suite.executors.executor import Executor, Function, Lost
from suite.executors.local import Local
from suite.executors.tasks import TRIES, Ended, Task, finish
from suite.leftovers import is_alive


@pytest.fixture(scope="module", params=["local", "ray"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    if request.param == "ray":
        pytest.importorskip("ray")
    with open_executor(request.param, {"workers": 2}) as executor:
        yield executor


def task(function: Function, argument: Any, *after: str) -> Task:
    return Task(function, lambda: argument, after)


def ended(executor: Executor, tasks: dict[str, Task]) -> dict[str, Ended]:
    return {each.name: each for each in finish(executor, tasks) if each}


@pytest.mark.slow
def test_tasks_end_in_their_order_and_a_mistake_fails_what_comes_after_it_alone(executor: Executor) -> None:
    tasks = {
        "late": task(errands.double, 4, "first", "second"),
        "first": task(errands.double, 1),
        "second": task(errands.double, 2, "first"),
        "wrong": task(errands.refuse, 3),
        "after": task(errands.double, 5, "wrong"),
        "after that": task(errands.double, 6, "after"),
    }
    found = ended(executor, tasks)
    assert {name: each.result for name, each in found.items() if each.error is None} == {
        "first": 2, "second": 4, "late": 8,
    }  # fmt: skip
    assert {name: each.error for name, each in found.items() if each.error} == dict.fromkeys(
        ("wrong", "after", "after that"), "3 is refused"
    )
    order = list(found)
    assert order.index("first") < order.index("second") < order.index("late")


@pytest.mark.slow
def test_a_task_is_given_again_where_its_process_dies(
    executor: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice, which is mended; and for ever, which fails that task alone."""
    for name, deaths in (("twice", 2), ("ever", 1_000)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "deaths").write_text(str(deaths))
    tasks = {name: task(errands.die, tmp_path / name) for name in ("twice", "ever")}
    found = ended(executor, tasks | {str(n): task(errands.double, n) for n in range(10)})
    assert found["twice"].result == "alive"
    assert f"{TRIES} processes died at it" in str(found["ever"].error)
    assert len(list((tmp_path / "ever").glob("*.died"))) == TRIES
    assert [found[str(n)].result for n in range(10)] == [2 * n for n in range(10)]
    assert capsys.readouterr().err.count("the process at twice died") == 2


@pytest.mark.slow
def test_a_task_that_cannot_be_done_now_comes_again(
    executor: Executor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = []
    for news in finish(
        executor, {"a": task(errands.wait_for, tmp_path / "b"), "c": task(errands.once_asked, tmp_path / "b")}
    ):
        if news:
            found.append((news.name, news.result))
        if found:
            (tmp_path / "b").write_text("four")
    assert found == [("c", "b"), ("a", 4)]
    assert capsys.readouterr().err.count("b is not there; another task meanwhile") == 1


@pytest.mark.slow
def test_warnings_of_workers_are_said_here_and_other_errors_raised(
    executor: Executor, capsys: pytest.CaptureFixture[str]
) -> None:
    found = ended(executor, {"a": task(errands.warn, 3)})
    assert found["a"].result != os.getpid()
    assert "3 is odd" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match="7 broke down"):
        ended(executor, {"a": task(errands.break_down, 7)})


@pytest.mark.slow
def test_the_argument_of_a_task_is_made_when_the_task_is_given() -> None:
    """So that what an earlier one left is in it; and not many more are made than there are workers."""
    made, done = list[int](), list[str]()

    def make(number: int) -> int:
        made.append(number)
        assert len(made) - len(done) <= 4
        return number

    with Local(workers=2) as local:
        tasks = {str(n): Task(errands.double, partial(make, n)) for n in range(20)}
        for news in finish(local, tasks):
            if news:
                done.append(news.name)
    assert made == list(range(20))


@pytest.mark.slow
def test_devices_are_shared_out() -> None:
    with Local(workers=4, devices=["cpu", "cpu:0"]) as local:
        found = ended(local, {str(n): task(errands.name_device, n) for n in range(8)})
        assert [slot.device for slot in local._slots] == ["cpu", "cpu:0"] * 2
    assert {each.result for each in found.values()} <= {"cpu", "cpu:0"}  # of which a quick worker does more


def test_what_an_executor_does_not_take_is_a_mistake(suite: Cli) -> None:
    with pytest.raises(UserError, match="the executor local has no setting address; it takes workers, devices"):
        open_executor("local", {"address": "x"})
    with pytest.raises(UserError, match="3 devices need as many workers, not 2"):
        open_executor("local", {"workers": 2, "devices": ["a", "b", "c"]})
    with pytest.raises(UserError, match="unknown executor 'locl': did you mean 'local'"):
        open_executor("locl", {})
    assert set(EXECUTORS.builtin) == {"local", "ray"}
    both = ["experiment", "paper", "--dataset", "digits", "--device", "cpu", "--devices", "cpu,cpu"]
    assert "give one of the two" in suite.mistake(*both)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--executor", "nosuch"], "unknown executor 'nosuch'"),
        (["--executor", ""], "unknown executor ''"),
        (["--with", "colour=red"], "the executor local has no setting colour; it takes workers, devices"),
        (
            ["--executor", "ray", "--with", "colour=red"],
            "the executor ray has no setting colour; it takes workers, dev",
        ),
        (["--with", "workers=3"], "--with workers=3: write --workers 3"),
        (["--with", "executor=ray"], "--with executor=ray: write --executor ray"),
        (["--no-shared-files"], "--no-shared-files is for workers on other machines: add --executor ray"),
        (["--workers", "2", "--no-shared-files"], "--no-shared-files is for workers on other machines"),
        (["--address", "head:6379"], "--address is of a Ray cluster: add --executor ray"),
        (["--executor", "ray", "--address", ""], "--address and --devices take no empty name"),
        (["--devices", ""], "--address and --devices take no empty name"),
        (["--devices", "cpu,,cpu"], "--address and --devices take no empty name"),
    ],
)
@pytest.mark.parametrize("dry_run", [["--dry-run"], []])
def test_no_option_is_ignored(options: list[str], said: str, dry_run: list[str], suite: Cli, tmp_path: Path) -> None:
    if "ray" in options:
        pytest.importorskip("ray")
    asked = ["experiment", "paper", "--dataset", "digits", "--runs", str(tmp_path / "runs")]
    assert said in suite.mistake(*asked, *options, *dry_run)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "options", [["--workers", "2"], ["--devices", "cpu,cpu"], ["--with", "a=1"], ["--no-shared-files"]]
)
def test_timing_is_of_a_process_that_is_left_alone(options: list[str], suite: Cli) -> None:
    given = ["--checkpoint", "w.pt", "--arch", "cnn", "--dataset", "digits", "--sigma", "0.25"]
    said = suite.mistake("timing", *given, *options)
    assert said.endswith(f"timing measures one process that is left alone: it takes no {options[0]}")


@pytest.mark.parametrize(
    ("there", "given", "wanted"),
    [
        (0, {}, [None] * 3),
        (0, {"workers": 2}, [None] * 2),
        (0, {"devices": ["cpu"]}, ["cpu"] * 3),
        (2, {}, ["cuda:0", "cuda:1"]),
        (2, {"workers": 1}, ["cuda:0"]),
        (2, {"workers": 3}, ["cuda:0", "cuda:1", "cuda:0"]),
        (2, {"devices": ["cuda:1"]}, ["cuda:1"]),
        (2, {"devices": ["cpu"]}, ["cpu"] * 3),
        (2, {"devices": ["cpu"], "workers": 2}, ["cpu"] * 2),
    ],
)
def test_a_worker_for_each_gpu_or_each_core(
    there: int, given: dict[str, Any], wanted: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: there)
    monkeypatch.setattr("suite.executors.local.cores", lambda: 3)
    local = Local(**given)
    assert local.workers == len(wanted)
    assert [slot.device for slot in local._slots] == wanted


@pytest.mark.slow
def test_relative_paths_are_those_of_where_a_task_is_given(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever its worker is: each has been at work in another folder before."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        found = ended(executor, {str(n): task(errands.whereabouts, n) for n in range(4)})
        assert {each.result for each in found.values()} == {tmp_path / name}
    elsewhere = SimpleNamespace(getcwd=lambda: "/a/folder/that/the/worker/does/not/have", path=os.path)
    monkeypatch.setattr(suite.executors.executor, "os", elsewhere)
    assert ended(executor, {"a": task(errands.double, 4)})["a"].result == 8


def test_ray_says_what_it_needs() -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="Ray gives each task its device"):
        open_executor("ray", {"devices": ["cuda:0"]})


def test_a_closed_executor_begins_no_process() -> None:
    with Local(1) as executor:
        pass
    with pytest.raises(Lost, match="closed"):
        executor.carry_out(errands.double, 1)


def test_a_closed_executor_of_rays_begins_no_cluster() -> None:
    ray = pytest.importorskip("ray")
    before = ray.is_initialized()
    with open_executor("ray", {"workers": 1}) as executor:
        pass
    with pytest.raises(Lost, match="closed"):
        executor.carry_out(errands.double, 1)
    assert ray.is_initialized() == before


@pytest.mark.slow
def test_a_task_that_ignores_the_interrupt_is_killed(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of Ray's it is one in a cluster that goes on: `executor` has begun it."""
    assert ended(executor, {"a": task(errands.double, 1)})["a"].result == 2
    name, file = type(executor).__name__.lower(), tmp_path / "process"
    monkeypatch.setattr(f"suite.executors.{name}.GRACE", 1.0)
    with open_executor(name, {"workers": 1}) as own:
        own.submit(errands.resist, file)
        while not (file.exists() and file.read_text()):
            time.sleep(0.01)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    until = time.monotonic() + 10
    while is_alive(int(file.read_text())) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_alive(int(file.read_text()))
    assert ended(executor, {"a": task(errands.double, 4)})["a"].result == 8


def test_closing_before_a_process_has_begun_interrupts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number 0 is that of the whole group of processes that this one is in."""
    signalled = list[int]()
    monkeypatch.setattr("suite.executors.local.os.kill", lambda process, number: signalled.append(process))
    executor = Local(1)
    executor._slots[0].pool = ProcessPoolExecutor(1)  # as `start` has it until the process has said its number
    executor.close()
    assert signalled == []


@pytest.mark.parametrize("given", [{"cpus": 0}, {"cpus": "abc"}, {"gpus": -1}, {"gpus": True}])
def test_what_a_task_of_rays_takes_is_a_number(given: dict[str, Any]) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="a task takes a number of"):
        open_executor("ray", given)


def test_what_others_fork_beside_workers_hears_ctrl_c(tmp_path: Path) -> None:
    """All of a program's processes are forked from one, which here was begun for workers."""
    file = tmp_path / "program.py"
    file.write_text(
        "from multiprocessing import get_context\n"
        "from helpers.errands import double, is_deaf\n"
        "from suite.executors.local import Local\n"
        "if __name__ == '__main__':\n"
        "    with Local(1) as local:\n"
        "        print(local.submit(double, 2).result().result)\n"
        "    with get_context('forkserver').Pool(1) as pool:\n"
        "        print(pool.apply(is_deaf))\n"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    ran = subprocess.run([sys.executable, file], env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert (ran.stdout, ran.stderr) == ("4\nFalse\n", "")
