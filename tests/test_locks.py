"""Locks: who holds one, when it is waited for, and when its holder is taken for dead."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from suite.store import locks
from suite.store.locks import BEAT, DEAD, Busy, Holder, hold, holder_of, is_free


def take(file: Path, taken: multiprocessing.Event, end: multiprocessing.Event) -> None:  # type: ignore[valid-type]
    with hold(file):
        taken.set()
        end.wait(60)


@pytest.fixture
def other(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Another process that holds the lock; it lets go when it is told to."""
    context = multiprocessing.get_context("fork")
    taken, end = context.Event(), context.Event()
    process = context.Process(target=take, args=(tmp_path / ".x.lock", taken, end))
    process.start()
    assert taken.wait(60)
    yield process, end
    process.kill()
    process.join()


def test_a_lock_says_who_holds_it(tmp_path: Path, other) -> None:  # type: ignore[no-untyped-def]
    process, end = other
    file = tmp_path / ".x.lock"
    holder = holder_of(file)
    assert holder
    assert (holder.host, holder.pid) == (socket.gethostname(), process.pid)
    assert not is_free(file)
    with (
        pytest.raises(Busy, match=rf"process {process.pid} on .*, since 20.* is at work on it"),
        hold(file, wait=False, what="it"),
    ):
        pass
    end.set()
    process.join()
    assert (is_free(file), holder_of(file)) == (True, None)


def test_it_is_waited_for(tmp_path: Path, other, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    process, end = other
    threading.Timer(0.3, end.set).start()
    with hold(tmp_path / ".x.lock", what="it"):
        holder = holder_of(tmp_path / ".x.lock")
        assert holder
        assert holder.pid == os.getpid()
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"another process is at work on it (process {process.pid} on ")


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path, other) -> None:  # type: ignore[no-untyped-def]
    process, _ = other
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert holder_of(tmp_path / ".x.lock")  # it could not take its name away
    assert is_free(tmp_path / ".x.lock")
    with hold(tmp_path / ".x.lock", wait=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".x.lock"]


def elsewhere(file: Path, age: float) -> None:
    """What a process of another machine keeps, where flock does not exclude it: last touched `age` seconds ago."""
    held = file.with_suffix(".held")
    held.write_text(json.dumps({"host": "another-node", "pid": 7, "since": "2026-01-01"}))
    os.utime(held, (time.time() - age, time.time() - age))


def test_a_lock_of_another_machine_is_held_while_it_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / ".x.lock"
    file.touch()
    elsewhere(file, age=BEAT)
    assert not is_free(file)
    with pytest.raises(Busy, match="process 7 on another-node"), hold(file, wait=False):
        pass
    monkeypatch.setattr(locks, "POLL", 0.05)
    threading.Timer(0.3, lambda: elsewhere(file, age=DEAD + 10)).start()
    begun = time.monotonic()
    with hold(file):
        assert holder_of(file) != Holder("another-node", 7, "2026-01-01")
    assert time.monotonic() - begun > 0.25
    assert "process 7 on another-node" in capsys.readouterr().err
    assert is_free(file)


def test_a_holder_touches_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.05)
    with hold(tmp_path / ".x.lock"):
        held = tmp_path / ".x.held"
        os.utime(held, (0, 0))
        deadline = time.monotonic() + 10
        while held.stat().st_mtime < 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert time.time() - held.stat().st_mtime < 10


def test_threads_exclude_each_other_too(tmp_path: Path) -> None:
    with hold(tmp_path / ".x.lock"), pytest.raises(Busy), hold(tmp_path / ".x.lock", wait=False):
        pass


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"host": 1}', "\x00"])
def test_a_damaged_name_holds_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / ".x.held").write_text(content)
    with hold(tmp_path / ".x.lock", wait=False):
        pass
