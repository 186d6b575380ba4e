"""The SQLite file that MLflow keeps a store's runs in: whole or not there, like every file of a store."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.progress import logger

LEFTOVERS = ("", "-journal", "-wal", "-shm")
_making = threading.Lock()  # MLflow's migrations share state: two in one process, also of two files, spoil each other


def make_database(file: Path, artifacts: Path, lock: AbstractContextManager[None]) -> None:
    """Make MLflow's tables in `file` where they are not there; half made ones, by earlier versions, are made anew.

    MLflow takes seconds for it, in dozens of steps that a kill cannot be between: so it works under another name, and
    under `lock`. Raises UserError for a file that is no database of MLflow.
    """
    if is_whole(file):
        return
    with _making, lock:
        if is_whole(file):
            return
        if file.exists():
            said = f"{file} was left half made and holds no run: it is made anew"
            logger.warning(said)
        beside = file.with_name(f".{file.name}.new")
        _remove(beside)
        file.parent.mkdir(parents=True, exist_ok=True)
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        make: Any = SqlAlchemyStore
        store = make(f"sqlite:///{beside.absolute()}", artifacts.absolute().as_uri())
        store.engine.dispose()
        _remove(file)
        beside.rename(file)


def is_whole(file: Path) -> bool:
    """Whether MLflow has made all its tables: its last step is to enter an experiment, 'Default'."""
    if not file.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=20)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if tables and "experiments" not in tables:
                raise UserError(f"{file} is not MLflow's; move it away or name another place in MLFLOW_TRACKING_URI")
            rows = [f"EXISTS (SELECT 1 FROM {name})" for name in ("experiments", "runs") if name in tables]
            return bool(rows and database.execute(f"SELECT {' OR '.join(rows)}").fetchone()[0])
    except sqlite3.OperationalError as error:
        raise UserError(f"{file} cannot be read ({error})") from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{file} is damaged ({error}); move it away and 'suite sync' makes it again from the runs"
        ) from error


def _remove(file: Path) -> None:
    for ending in LEFTOVERS:
        file.with_name(file.name + ending).unlink(missing_ok=True)
