"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.command_line import Cli
from helpers.runs import SHARED

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(capsys, monkeypatch)


@pytest.fixture
def cifar10() -> Path:
    """The root of the real CIFAR-10 in parquet."""
    if not (SHARED / "data" / "cifar10").is_dir():
        pytest.skip("the real CIFAR-10 does not lie beside this checkout (../shared/data/cifar10)")
    return SHARED / "data"
