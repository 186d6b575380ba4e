"""Folders for a while: what a killed process left there is removed by the next, and what others are at is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.cli import Cli

from suite.leftovers import temporary

DIES = """
import os, sys
from pathlib import Path
from suite.leftovers import temporary
with temporary() as folder:
    (folder / "model").mkdir()
    (folder / "model" / "file").write_text("kept")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files, with none in it."""
    (tmp_path / "t").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "t"


def begin() -> tuple[subprocess.Popen[str], Path]:
    """A process that has such a folder, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", DIES], stdin=-1, stdout=-1, text=True)
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_process_left_is_removed_by_the_next_and_nothing_else(place: Path) -> None:
    killed, left = begin()
    alive, used = begin()
    (place / "suite-somebody's").mkdir()
    with temporary() as own:
        assert own.is_dir()
        assert set(place.iterdir()) == {left, used, own, place / "suite-somebody's"}
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with temporary() as own:
        assert set(place.iterdir()) == {used, own, place / "suite-somebody's"}
    assert (used / "model" / "file").read_text() == "kept"
    alive.communicate("")
    assert set(place.iterdir()) == {place / "suite-somebody's"}


def test_a_later_command_with_workers_sweeps(place: Path, suite: Cli) -> None:
    process, left = begin()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert left.is_dir()
    code, _, said = suite("experiment", "paper", "--dataset", "digits", "--workers", "2", "--dry-run")
    assert code == 0, said
    assert not left.exists()
