"""Where studies are kept, by URL, and the locks that the processes at work on one storage share.

A process that dies, however it does, loses its locks at once: the system gives up those of a file, the server those of
a session. So a trial is known to be abandoned by its lock being free. (On a network file system which does not exclude
other machines, the lock of a file that one of them holds is free two minutes after it died: `suite.store.locks`.)
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from suite.errors import UserError, comes_of_interrupt, require
from suite.leftovers import beside, discard, sweep
from suite.store.locks import Busy, hold

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
ERRORS = (SQLAlchemyError, optuna.exceptions.StorageInternalError, OSError, ImportError, ValueError, RuntimeError)
# the server notices a client whose machine is gone after 60 + 3 · 20 s
KEEP_ALIVE = "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=20 -c tcp_keepalives_count=3"


def default_url(runs: Path) -> str:
    """The storage of a runs folder, where no other is named."""
    return f"sqlite:///{runs / 'studies.db'}"


class Storage:
    """An Optuna storage, `optuna`, opened by URL: sqlite:///FILE, postgresql://…, or the path of a journal file.

    With `?proxy=HOST:PORT` in the URL of a server, trials go through Optuna's gRPC proxy of it, and locks to it alone.
    Without `create` a file that is not there is an error. Who will only `look`, as pages do at each view, creates
    nothing, keeps no connection, of which a server has few, and does not wait long. Raises UserError for a storage that
    cannot be reached.
    """

    def __init__(self, url: str, *, create: bool = True, look: bool = False):
        self.url, create = hide_password(url), create and not look
        self.file: Path | None = None
        self.server: URL | None = None
        self.proxy = ""  # HOST:PORT of Optuna's gRPC proxy of the server, which many clients go through
        try:
            if "://" not in url:
                self.file = Path(url)
            elif (parsed := make_url(url)).get_backend_name() == "sqlite" and parsed.database:
                self.file = Path(parsed.database)
            elif parsed.get_backend_name() == "postgresql":
                require("a postgresql:// storage", "postgres", "psycopg")
                self.proxy = str(parsed.query.get("proxy", ""))
                self.server = parsed.difference_update_query(["proxy"]).set(drivername="postgresql+psycopg")
                options = {"options": KEEP_ALIVE, "connect_timeout": 10}
                self.sessions = create_engine(self.server, poolclass=NullPool, connect_args=options)
            else:
                raise UserError(f"storage {self.url}: write sqlite:///FILE, postgresql://… or the path of a journal")
            if self.file and not create and not self.file.exists():
                raise UserError(f"there is no storage {self.url} yet; 'suite tune' begins one")
            # opening makes the tables that are not there: two processes must not do it at once
            alone = self.lock("schema") if create or self._writable() else nullcontext()
            with alone:
                if create and self.file:
                    sweep(self.file.parent)
                self.optuna = self._open(url, look=look)
        except ERRORS as error:
            raise self.explain(error) from error

    def _open(self, url: str, *, look: bool) -> BaseStorage:
        if "://" not in url:
            path = Path(url)
            if path.exists() and path.read_bytes()[:6] == b"SQLite":
                raise UserError(f"{url} is an SQLite file: write sqlite:///{url}")
            storage = JournalStorage(JournalFileBackend(url))
            with path.open() as journal:
                json.loads(journal.readline() or "{}")
            return storage
        if self.proxy:
            require("a storage with ?proxy=", "postgres", "grpc")
            host, _, port = self.proxy.rpartition(":")
            return GrpcStorageProxy(host=host, port=int(port))
        if self.file and not (self.file.exists() and self.file.stat().st_size):
            self._make(self.file)
        kept: dict[str, Any] = {"poolclass": NullPool} if look else {"pool_pre_ping": True}
        if self.server:
            return RDBStorage(self.server.render_as_string(hide_password=False), engine_kwargs=kept)
        return RDBStorage(url, engine_kwargs=kept | {"connect_args": {"timeout": 5 if look else 60}})

    def _make(self, file: Path) -> None:
        """Make the tables of an SQLite file: a kill between two of them would leave names that need not be unique."""
        folder = beside(file, file.name)
        try:
            folder.mkdir()
            RDBStorage(f"sqlite:///{(folder / file.name).absolute()}").engine.dispose()
            (folder / file.name).replace(os.path.realpath(file))
        finally:
            discard(folder)

    def _locks(self, file: Path) -> Path:
        return file.parent / f".{file.name}.locks"

    def _writable(self) -> bool:
        return self.file is None or os.access(self.file.parent, os.W_OK)

    def drop_connections(self, error: BaseException) -> None:
        """Let go of connections that `error` left in the midst of a transaction, which locks the storage until it ends.

        They may be in the pool, in the session, or held by what the error came through; after Ctrl-C, which has no use
        for it, that is forgotten altogether. Nor does SQLAlchemy then report with a traceback that it cannot roll back
        a connection which was being closed.
        """
        each: BaseException | None = error
        interrupted = comes_of_interrupt(error)
        reports = logging.getLogger("sqlalchemy.pool")
        usual = reports.level
        if interrupted:
            reports.setLevel(logging.CRITICAL + 1)
        while each is not None:
            traceback.clear_frames(each.__traceback__)
            if interrupted:
                each.__traceback__ = None
            each = each.__cause__ or each.__context__
        gc.collect()
        if isinstance(self.optuna, RDBStorage):
            with suppress(Exception):
                self.optuna.remove_session()
            self.optuna.scoped_session.registry.clear()
            self.optuna.engine.dispose()
        reports.setLevel(usual)

    def explain(self, error: Exception) -> UserError:
        """The error for a storage that failed, without its password."""
        reason = str(error.__cause__ or error).strip() or type(error).__name__
        return UserError(f"cannot use the storage {self.url}: {reason.splitlines()[0]}")

    def take(self, name: str, *, wait: bool) -> Callable[[], None] | None:
        """Take the lock `name`: what gives it back, or None where another process has it and this one will not wait."""
        digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
        if self.file:
            self._locks(self.file).mkdir(exist_ok=True)
            held = ExitStack()
            try:
                held.enter_context(hold(self._locks(self.file) / f"{digest.hex()}.lock", wait=wait, quiet=True))
            except Busy:
                return None
            return held.close
        session = self.sessions.connect()
        function = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        taken = session.execute(text(f"SELECT {function}(:key)"), {"key": int.from_bytes(digest, signed=True)}).scalar()
        session.commit()  # the lock is the session's, not the transaction's
        if taken is False:
            session.close()
            return None
        return session.close

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name`, after waiting for it."""
        release = self.take(name, wait=True)
        assert release
        try:
            yield
        finally:
            release()


def hide_password(url: str) -> str:
    """A storage's URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True) if "://" in url else url
    except SQLAlchemyError:
        return url.partition("://")[0] + "://…"
