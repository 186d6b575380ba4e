"""The command line in this process, where importing torch again costs nothing."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest.mock import patch

import pytest

from suite.cli import main as cli


class Cli:
    """Calls the console script's function: (exit code, standard output, standard error)."""

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with (
            patch.object(sys, "argv", ["suite", *arguments]),
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
            pytest.raises(SystemExit) as stop,
        ):
            cli.main()
        return int(stop.value.code or 0), out.getvalue(), err.getvalue()

    def mistake(self, *arguments: str) -> str:
        """The one line that a mistake is answered with, after any progress."""
        code, out, err = self(*arguments)
        said = [line for line in err.splitlines() if line.startswith("suite: ")]
        assert (code, out, len(said)) == (2, "", 1), err
        assert err.splitlines()[-1] == said[0]
        return said[0]

    def succeed(self, *arguments: str) -> str:
        """The standard output of a command that has to succeed."""
        code, out, err = self(*arguments)
        assert code == 0, err
        return out


suite = Cli()
