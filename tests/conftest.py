"""What the tests share: quick digits runs in a folder of their own, and the optional real data beside the checkout."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from suite.cli import main as cli

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

SHARED = Path(__file__).parents[2] / "shared"

# a heat run on the digits that takes seconds: settings as given to RunSpec, and as the command line's options
TINY = {
    "method": "heat", "dataset": "digits", "profile": "demo", "epochs": 0.2, "start.training.epochs": 2,
    "n": 100, "images": 30,
}  # fmt: skip


def options(settings: dict[str, object]) -> list[str]:
    """Settings as command-line options."""
    named = {"method", "dataset", "profile", "epochs", "n", "images", "n0", "sigma", "lr"}
    pairs = [(f"--{k}", str(v)) if k in named else ("--set", f"{k}={v}") for k, v in settings.items()]
    return [text for pair in pairs for text in pair]


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


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(capsys, monkeypatch)


@pytest.fixture
def cifar10() -> Path:
    """The root of the real CIFAR-10 in parquet."""
    if not (SHARED / "data" / "cifar10").is_dir():
        pytest.skip("the real CIFAR-10 does not lie beside this checkout (../shared/data/cifar10)")
    return SHARED / "data"
