"""MLflow's place: its database is whole or not there, a silent server costs two seconds, no password is printed."""

from __future__ import annotations

import contextlib
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.cli import call

from suite.errors import UserError
from suite.store.mlflow.database import is_whole, make_database
from suite.store.mlflow.place import Unreachable, connect, explain, locked, open_experiment, reach, shown
from suite.store.mlflow.resend import sync

pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy.dialects.postgresql.psycopg")  # seconds that are not the server's
pytest.importorskip("psycopg")
SECRET = "s3cret-w0rd"


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(50)
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("uri", "seen"),
    [
        (f"postgresql://u:{SECRET}@h/d", "postgresql://u:***@h/d"),
        (f"http://u:{SECRET}@h:5000", "http://u:***@h:5000"),
        (f"postgresql://u:a@b/{SECRET}@h/d", "postgresql://u:***@h/d"),
        (f"mysql://h/d?user=u&password={SECRET}&x=1", "mysql://h/d?user=u&password=***&x=1"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("sqlite:////runs/mlflow.db", "sqlite:////runs/mlflow.db"),
    ],
)
def test_an_address_is_shown_without_its_password(uri: str, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(uri) == seen
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    password = f"a@b/{SECRET}" if "a@b" in uri else SECRET
    quoted = explain(RuntimeError(f"API request to {uri} failed: no such user ({password})\nmore"), Path("runs"))
    assert "more" not in quoted
    assert (SECRET in quoted) == (SECRET not in uri)


@pytest.mark.parametrize("scheme", ["http", "postgresql+psycopg"])
def test_a_silent_server_costs_a_process_one_probe(
    silent: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{scheme}://u:{SECRET}@127.0.0.1:{silent}/d")
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}")
    begun = time.monotonic()
    assert sync(tmp_path) == (0, 3)
    for _ in range(3):
        with pytest.raises(Unreachable, match="does not answer"):
            reach(tmp_path)
    assert time.monotonic() - begun < 4
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith(f"3 of 3 runs not sent: MLflow at {scheme}://u:***@127.0.0.1:{silent}/d does not answer (")
    assert SECRET not in said
    assert "suite sync" not in said


def test_a_server_that_refuses_is_named_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "result.json").write_text("{}")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg://u:{SECRET}@127.0.0.1:9/d")
    code, out, err = call("sync", "--runs", tmp_path, "--format", "json")
    assert (code, len(err.splitlines())) == (1, 1)
    assert "refused" in err
    assert SECRET not in out + err


def half_made(file: Path) -> None:
    """What a kill within MLflow's migrations leaves: its first tables, empty."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        for table in ("experiments", "runs", "alembic_version", "trace_info"):
            database.execute(f"CREATE TABLE {table} (id TEXT)")
        database.commit()


@pytest.mark.slow
def test_a_half_made_database_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mlflow.db"
    half_made(file)
    assert not is_whole(file)
    client = connect(tmp_path)
    assert "was left half made and holds no run" in capsys.readouterr().err
    assert is_whole(file)
    assert [each.name for each in client.search_experiments()] == ["Default"]
    assert [each.name for each in tmp_path.iterdir() if "new" in each.name] == []
    made = file.stat().st_ino
    connect(tmp_path)
    assert file.stat().st_ino == made

    where = open_experiment(client, "mine", tmp_path)
    assert open_experiment(client, "mine", tmp_path) == where
    client.delete_experiment(where)
    with pytest.raises(UserError, match=rf"mlflow experiments restore --experiment-id {where}\) or delete it for good"):
        open_experiment(client, "mine", tmp_path)


@pytest.mark.slow
def test_a_kill_in_the_making_leaves_no_database(tmp_path: Path) -> None:
    program = f"from pathlib import Path; from suite.store.mlflow import connect; connect(Path({str(tmp_path)!r}))"
    process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    beside = tmp_path / ".mlflow.db.new"
    while not beside.exists() or beside.stat().st_size < 50_000:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "mlflow.db").exists()
    assert connect(tmp_path).get_experiment_by_name("Default")
    assert not beside.exists()


def test_two_databases_made_at_once_in_a_process_are_whole(tmp_path: Path) -> None:
    """Without a lock of the process MLflow's migrations of one fail in the midst of the other's."""
    folders = [tmp_path / name for name in "ab"]

    def make(folder: Path) -> None:
        make_database(folder / "mlflow.db", folder / "mlartifacts", contextlib.nullcontext())

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, folders))
    assert all(is_whole(folder / "mlflow.db") for folder in folders)


def test_a_file_that_is_not_mlflows_is_left_alone(tmp_path: Path) -> None:
    other, text = tmp_path / "other.db", tmp_path / "text.db"
    with contextlib.closing(sqlite3.connect(other)) as database:
        database.execute("CREATE TABLE mine (id TEXT)")
    text.write_text("not a database " * 100)
    for file, reason in ((other, "is not MLflow's"), (text, "is damaged")):
        before = file.read_bytes()
        with pytest.raises(UserError, match=reason):
            make_database(file, tmp_path / "files", locked(tmp_path, "database"))
        assert file.read_bytes() == before
