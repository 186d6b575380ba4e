"""`suite` in processes of their own, for tests that kill it or run several at once.

They are forked from a server that has imported everything already and has computed nothing: a start takes
milliseconds, where a new Python takes seconds to import torch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path
from unittest.mock import patch


@cache
def server() -> ForkServerContext:
    """The server of this process, started when it is first needed, with the import paths that this process has."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.preloaded"])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))):
        forkserver.ensure_running()
    return context


def main(arguments: tuple[str, ...], out: str, err: str, path: tuple[str, ...]) -> None:
    """What the console script does, with its output in two files; `path` goes before the other import paths."""
    for descriptor, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY), descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path[:0] = path
    sys.argv = ["suite", *arguments]
    from suite.cli.main import main

    main()


class Started:
    """`suite` with these arguments, begun."""

    def __init__(self, *arguments: str, path: tuple[str, ...] = ()):
        self._files = [Path(tempfile.mkstemp(prefix="suite-output-")[1]) for _ in range(2)]
        out, err = map(str, self._files)
        self._process = server().Process(target=main, args=(arguments, out, err, path))
        self._process.start()

    def running(self) -> bool:
        return self._process.is_alive()

    def wait_until(self, reached: Callable[[], bool], seconds: float = 120) -> bool:
        """Wait until something holds; False where the process has ended first."""
        end = time.monotonic() + seconds
        while not reached():
            if not self.running():
                return False
            assert time.monotonic() < end, self.output()
            time.sleep(0.03)  # looking at files takes time from the processes that write them
        return True

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid or 0, number)

    def output(self) -> tuple[str, str]:
        out, err = (file.read_text() for file in self._files)
        return out, err

    def end(self, seconds: float = 300) -> tuple[int | None, str, str]:
        """Wait for its end: exit code, minus the number of the signal that killed it, standard output and error."""
        self._process.join(seconds)
        ended = self._process.exitcode, *self.output()
        for file in self._files:
            file.unlink()
        return ended
