"""Processes of the command line that end at a chosen moment, forked from one that has imported everything already."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, NamedTuple

from helpers.cli import Answer

FORKED = multiprocessing.get_context("forkserver")  # of which no process inherits a thread or the tests' state
FORKED.set_forkserver_preload(
    [
        "torch._dynamo", "pandas", "scipy.stats", "sklearn.datasets", "pyarrow.parquet", "optuna", "sqlalchemy",
        "suite.cli.main", "suite.pipeline", "suite.experiments.experiment", "suite.tuning.trials", "methods.heat",
        "methods.randomized_smoothing", "suite.protocols.accuracy", "suite.protocols.certify",
    ]
)  # fmt: skip


class Moment(NamedTuple):
    """When a process signals itself: at the n-th write of a file whose path fits the pattern."""

    file: str
    number: int = 1
    when: Literal["before", "halfway", "after"] = "after"
    what: signal.Signals = signal.SIGKILL

    def around(self, write: Callable[..., Any], path: Callable[..., Path], half: Callable[..., Any]) -> Any:
        """A function that writes a file, with the signal in it."""
        left = self.number

        def watched(*arguments: Any) -> Any:
            nonlocal left
            due = fnmatch(str(path(*arguments)), self.file)
            left -= due
            due = due and left == 0
            if due and self.when != "after":
                if self.when == "halfway":
                    half(*arguments)
                os.kill(os.getpid(), self.what)
            written = write(*arguments)
            if due and self.when == "after":
                os.kill(os.getpid(), self.what)
            return written

        return watched

    def arrange(self) -> None:
        """In this process. A checkpoint is written after each step of training."""
        from suite import training
        from suite.store.records import RecordFile

        def half_a_line(file: RecordFile, record: object) -> None:
            file._file.write(b'{"idx": 29, "label"')

        training.CHECKPOINT_SHARE = 1e9
        whole = self.around(Path.replace, lambda _, path: path, lambda *_: None)  # a file beside it takes its place
        Path.replace = whole  # type: ignore[method-assign]
        line = self.around(RecordFile.write, lambda file, _: file.path, half_a_line)
        RecordFile.write = line  # type: ignore[method-assign]


def call_main(arguments: list[str], out: Path, err: Path, moment: Moment | None) -> None:
    """The command line as a console script runs it: with files as its output, and listening to Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in ((1, out), (2, err)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    sys.argv = ["suite", *arguments]
    if moment:
        moment.arrange()
    from suite.cli.main import main

    main()


class Command:
    """A call of the command line in a process of its own; what it says is in two files of the folder."""

    def __init__(self, folder: Path, *arguments: object, moment: Moment | None = None):
        number = len(list(folder.glob("*.out")))
        self.out, self.err = folder / f"{number}.out", folder / f"{number}.err"
        self.out.touch()
        line = ([*map(str, arguments)], self.out, self.err, moment)
        self.process = FORKED.Process(target=call_main, args=line, daemon=True)
        self.process.start()

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def wait(self) -> Answer:
        self.process.join(300)
        assert self.process.exitcode is not None, "it does not end"
        return Answer(self.process.exitcode, self.out.read_text(), self.err.read_text())

    def succeed(self) -> str:
        """Its standard output."""
        code, out, err = self.wait()
        assert code == 0, err
        return out
