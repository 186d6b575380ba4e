"""A PostgreSQL server of its own, for as long as a test takes."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def server() -> Iterator[str]:
    """The URL of a new database. Skips without PostgreSQL, or fails where SUITE_REQUIRE_POSTGRES is set."""
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if not found:
        missing = pytest.fail if os.environ.get("SUITE_REQUIRE_POSTGRES") else pytest.skip
        missing("PostgreSQL is not installed (Debian's package: postgresql)")
    binaries, folder = Path(found).resolve().parent, tempfile.mkdtemp(prefix="suite-postgres-")
    user = [] if os.getuid() else ["runuser", "-u", "postgres", "--"]  # the server refuses to run as root
    if user:
        shutil.chown(folder, "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = [*user, str(binaries / "pg_ctl"), "-D", f"{folder}/data", "-w"]
    subprocess.run(
        [*user, str(binaries / "initdb"), "-D", f"{folder}/data", "-U", "tester", "-A", "trust"],
        check=True, capture_output=True, cwd="/",
    )  # fmt: skip
    listen = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    subprocess.run(
        [*cluster, "-l", f"{folder}/log", "-o", listen, "start"], check=True, stdout=subprocess.DEVNULL, cwd="/"
    )
    try:
        yield f"postgresql://tester:secret@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*cluster, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        shutil.rmtree(folder)
