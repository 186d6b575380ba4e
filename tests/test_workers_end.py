"""Commands with workers that are interrupted or killed: nothing is lost, and no process is left."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.chaos import contents, leftovers
from helpers.grids import GRID, descendants, specs

from suite.experiments.experiment import carry_out
from suite.pipeline import Machine

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command line of the experiment, for the folder of the test."""
    lines = [f"{key} = {value!r}" for key, value in GRID.items() if key not in ("methods", "settings")]
    lines += [f"[settings]\n{toml(GRID['settings'])}"]
    lines += [f"[methods.{method}]\n{toml(own)}" for method, own in GRID["methods"].items()]
    (tmp_path / "e.toml").write_text("\n".join(lines))
    return [sys.executable, "-m", "suite", "experiment", "e.toml", "--no-track", "--workers", "2"]


def test_ctrl_c_and_a_kill_end_all_workers_and_lose_nothing(command: list[str], alone: Path, tmp_path: Path) -> None:
    seen = set[Path]()
    for what, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        for _ in range(5):
            found, said = end(
                command,
                tmp_path,
                what,
                lambda _, seen=frozenset(seen): bool(set(tmp_path.glob("runs/*/*.jsonl")) - seen),
            )
            if found == code:
                break
            shutil.rmtree(tmp_path / "runs")  # it had ended before, where this process had to wait for a core
            seen.clear()
        seen |= set(tmp_path.glob("runs/*/*.jsonl"))
        assert found == code
        assert "Traceback" not in said
        assert what is signal.SIGKILL or said.endswith("interrupted; the same command goes on from here\n")
    before = {file: file.read_bytes() for file in seen}
    assert len(list(carry_out(specs(), Machine(runs=tmp_path / "runs", track=False)))) == 4
    assert all(file.read_bytes().startswith(lines[: lines.rfind(b"\n") + 1]) for file, lines in before.items())
    assert contents(tmp_path / "runs") == contents(alone)
    assert not leftovers(tmp_path / "runs")


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_ctrl_c_while_workers_begin_is_no_traceback(seconds: float, command: list[str], tmp_path: Path) -> None:
    """The terminal sends it to all processes of the command, so to the one that workers are forked from too."""
    begun = [0.0]

    def due(found: dict[int, str]) -> bool:
        begun[0] = begun[0] or ("forkserver" in str(found) and time.monotonic()) or 0.0
        return bool(begun[0]) and time.monotonic() > begun[0] + seconds

    code, said = end(command, tmp_path, signal.SIGINT, due, group=True)
    assert (code, said.splitlines()[-1]) == (130, "interrupted; the same command goes on from here")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("moment", "what"),
    [
        ("gcs_server", signal.SIGINT),  # which Ray begins first
        ("raylet", signal.SIGTERM),
        ("ray::_there", signal.SIGINT),
        ("ray::_there", signal.SIGTERM),
        ("ray::_there", signal.SIGKILL),
    ],
)
def test_no_process_is_left_of_a_cluster_of_rays_that_the_command_began(
    moment: str, what: signal.Signals, command: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    words = [*command, "--executor", "ray", "--no-shared-files"]
    code, said = end(words, tmp_path, what, lambda found: moment in str(found), group=what is signal.SIGINT)
    assert code == (-9 if what is signal.SIGKILL else 130), said
    assert "Traceback" not in said
    assert what is signal.SIGKILL or said.splitlines()[-1] == "interrupted; the same command goes on from here"


def end(
    command: list[str], place: Path, what: signal.Signals, due: Callable[[dict[int, str]], bool], *, group: bool = False
) -> tuple[int, str]:
    """Signal a command, or all processes of its group, when what it has begun is `due`; its code and what it says.

    None of the processes that it began is left, but for agents of Ray's where nobody could end them: they end when they
    have looked for their node often enough, in two minutes or so.
    """
    with (place / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=place, stderr=said, start_new_session=True)
    begun = dict[int, str]()
    while not due(found := descendants(process.pid)) and process.poll() is None:
        begun |= found
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, what)
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        begun |= descendants(process.pid)
        time.sleep(0.02)
    code = process.wait(1)
    until = time.monotonic() + 15
    while (left := alive(begun)) and time.monotonic() < until:
        time.sleep(0.05)
    if what is signal.SIGKILL:
        left = [line for line in left if not re.match("ray::(DashboardAgent|RuntimeEnvAgent)", line)]
    assert not left
    return code, (place / "said").read_text()


def alive(processes: dict[int, str]) -> list[str]:
    """Which of them there are, but for those that have ended and are not waited for."""
    found = []
    for process, line in processes.items():
        with suppress(OSError):
            if "State:\tZ" not in Path(f"/proc/{process}/status").read_text():
                found.append(line)
    return found


def toml(settings: dict[str, Any]) -> str:
    return "\n".join(f"{key!r} = {value!r}" for key, value in settings.items())
