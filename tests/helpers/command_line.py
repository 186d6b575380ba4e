"""The command line in this process."""

from __future__ import annotations

import sys

import pytest

from suite.cli import main as cli


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
