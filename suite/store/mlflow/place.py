"""Where MLflow is, whether it answers, and a client of it. Passwords in its address are never shown."""

from __future__ import annotations

import logging
import os
import re
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from suite.errors import UserError, first_line, require, unless_interrupted
from suite.store.mlflow.database import make_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE = 2.0  # seconds that a server has to answer the first question of a process
KIND = {"mlflow.experimentKind": "custom_model_development"}  # so its pages open as those of training
RETRY = 60.0  # seconds for which a server that did not answer is left alone
USUAL = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
PASSWORD = re.compile(r"(://[^:/@\s]*):([^\s]*)@")
SECRETS = re.compile(r"([?&][^=&\s]*(?:pass|pwd|token|secret|key)[^=&\s]*=)([^&\s]+)", re.IGNORECASE)
_silent: dict[str, tuple[float, str]] = {}  # by address: when it did not answer, and what it said


class Unreachable(UserError):
    """A server that does not answer: no run can be sent to it now."""


def tracking_uri(runs: Path) -> str:
    """MLFLOW_TRACKING_URI, else an SQLite file under `runs`. It may hold a password: print `shown` of it."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(runs / 'mlflow.db').absolute()}"


def shown(uri: str) -> str:
    """An address without its password."""
    return SECRETS.sub(r"\1***", PASSWORD.sub(r"\1:***@", uri))


def explain(error: Exception, runs: Path) -> str:
    """What went wrong in a line, without the password of the address, however the client's code quotes it.

    Raises KeyboardInterrupt where it was Ctrl-C that did.
    """
    unless_interrupted(error)
    uri, text = tracking_uri(runs), first_line(error)
    secrets = [found[2] for pattern in (PASSWORD, SECRETS) for found in pattern.finditer(uri)]
    for secret in {each for given in secrets for each in (given, unquote(given)) if len(each) > 3}:
        text = text.replace(secret, "***")
    if isinstance(error, UserError):
        return shown(text)
    return f"MLflow at {shown(uri)} did not take the run ({shown(text)})"


def is_file(uri: str) -> bool:
    """Whether the address is a file on this machine: it is waited for, a server is not."""
    return "://" not in uri or uri.startswith(("sqlite:", "file:"))


def reach(runs: Path, *, again: bool = False) -> None:
    """Ask MLflow for a sign of life. Raises Unreachable after at most two seconds, and for a minute after that at once.

    With `again`, a server that did not answer is asked whenever it was. MLflow itself is not imported.
    """
    uri = tracking_uri(runs)
    if is_file(uri):
        return
    when, reason = _silent.get(uri, (-RETRY, ""))
    if not again and time.monotonic() - when < RETRY:
        raise Unreachable(reason)
    if not uri.startswith("http"):
        with suppress(Exception):  # to import a driver takes seconds on a busy machine, which are not the server's
            from sqlalchemy import make_url

            make_url(uri).get_dialect().import_dbapi()
    answer: list[Exception | None] = []

    def ask() -> None:
        try:
            (_ask_http if uri.startswith("http") else _ask_database)(uri)
        except Exception as error:  # whatever a database's driver raises
            answer.append(error)
        else:
            answer.append(None)

    asking = threading.Thread(target=ask, daemon=True)  # no timeout covers the look-up of a host's name
    asking.start()
    asking.join(PROBE)
    failed = answer[0] if answer else TimeoutError(f"no answer within {PROBE:g} s")
    if failed is None:
        _silent.pop(uri, None)
        return
    reason = explain(UserError(f"MLflow at {shown(uri)} does not answer ({first_line(failed)})"), runs)
    _silent[uri] = (time.monotonic(), reason)
    raise Unreachable(reason) from failed


def _ask_http(uri: str) -> None:
    address = re.sub(r"://[^/]*@", "://", uri)
    with_any_certificate = ssl._create_unverified_context()
    try:
        urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=PROBE, context=with_any_certificate).close()
    except urllib.error.HTTPError:  # an answer, such as that of a server that wants a login
        return
    except urllib.error.URLError as error:
        reason = error.reason
        raise (reason if isinstance(reason, Exception) else OSError(reason)) from error


def _ask_database(uri: str) -> None:
    if not uri.startswith(("postgresql", "mysql", "mssql")):
        return
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    arguments = {} if uri.startswith("mssql") else {"connect_timeout": int(PROBE)}
    try:
        create_engine(uri, poolclass=NullPool, connect_args=arguments).connect().close()
    except ImportError as error:
        raise OSError(f"its driver is missing: {error}") from error


def connect(runs: Path) -> MlflowClient:
    """A client of MLflow, with its own chatter turned down; the store's SQLite file is made where there is none.

    Raises Unreachable for a server that does not answer, and UserError without MLflow.
    """
    reach(runs)
    for name, value in USUAL.items():
        os.environ.setdefault(name, value)
    require("--track", "track", "mlflow")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(os.environ["MLFLOW_LOGGING_LEVEL"])  # it may have been imported before
    uri = tracking_uri(runs)
    if uri.startswith("sqlite:///") and (path := uri.removeprefix("sqlite:///").partition("?")[0]):
        make_database(Path(path), runs / "mlartifacts", locked(runs, "database"))
    return MlflowClient(uri)


@contextmanager
def locked(runs: Path, name: str) -> Iterator[None]:
    """Hold the lock of one run's log, or of the database, against other threads and processes of this machine."""
    from filelock import FileLock

    folder = runs / ".mlflow.locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{re.sub(r'[^A-Za-z0-9._-]', '_', name)[:200]}.lock", thread_local=False):
        yield


def open_experiment(client: MlflowClient, name: str, runs: Path) -> str:
    """The id of MLflow's experiment of that name, made where there is none. Raises UserError for a deleted one."""
    uri = tracking_uri(runs)
    found = client.get_experiment_by_name(name)
    if not found:
        local = uri.startswith("sqlite:")
        with locked(runs, "database"):
            if not (found := client.get_experiment_by_name(name)):
                files = (runs / "mlartifacts").absolute().as_uri() if local else None
                return str(client.create_experiment(name, files, tags=KIND))
    if found.lifecycle_stage == "deleted":
        command = f"mlflow experiments restore --experiment-id {found.experiment_id}"
        command = command if "MLFLOW_TRACKING_URI" in os.environ else f"MLFLOW_TRACKING_URI={uri} {command}"
        raise UserError(
            f"the experiment '{name}' was deleted in MLflow; restore it ({command}) or delete it for good (mlflow gc)"
        )
    return str(found.experiment_id)
