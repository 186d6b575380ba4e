"""The pages' server, as a process of its own."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.request

import pytest


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until_served(port: int, server: subprocess.Popen[bytes]) -> None:
    """Wait for the pages; fails where the server ends, or serves nothing within a minute."""
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health").close()
        except OSError:
            assert server.poll() is None
            time.sleep(0.25)
        else:
            return
    pytest.fail("nothing is served")
