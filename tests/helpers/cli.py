"""Calls of the command line in this process, and a heat run on the digits that takes seconds."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest

from suite.cli import main as cli

# settings as given to RunSpec, and as the command line's options
TINY = {
    "method": "heat", "dataset": "digits", "profile": "demo", "epochs": 0.2, "start.training.epochs": 2,
    "n": 100, "images": 30,
}  # fmt: skip


def options(settings: dict[str, object]) -> list[str]:
    """Settings as command-line options."""
    named = {"method", "dataset", "profile", "epochs", "n", "images", "n0", "sigma", "lr"}
    pairs = [(f"--{k}", str(v)) if k in named else ("--set", f"{k}={v}") for k, v in settings.items()]
    return [text for pair in pairs for text in pair]


def tiny(runs: Path, **changed: Any) -> list[str]:
    return ["run", *options({**TINY, **changed}), "--no-track", "--runs", str(runs)]


class Answer(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def call(*arguments: object) -> Answer:
    """What the console script's function does with these arguments."""
    with (
        patch.object(sys, "argv", ["suite", *map(str, arguments)]),
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as stop,
    ):
        cli.main()
    return Answer(int(stop.value.code or 0), out.getvalue(), err.getvalue())


def succeed(*arguments: object) -> str:
    """The standard output of a call that ends well."""
    code, out, err = call(*arguments)
    assert code == 0, err
    return out


class Cli:
    """Calls the console script's function in this process: (exit code, standard output, standard error)."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
        self.capsys, self.monkeypatch = capsys, monkeypatch

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["suite", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = self.capsys.readouterr()
        return int(stop.value.code or 0), out, err

    def mistake(self, *arguments: str) -> str:
        """The one line that a mistake is answered with, after any progress."""
        code, out, err = self(*arguments)
        said = [line for line in err.splitlines() if line.startswith("suite: ")]
        assert (code, out, len(said)) == (2, "", 1), err
        assert err.splitlines()[-1] == said[0]
        return said[0]
