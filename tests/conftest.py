"""What the tests share: quick digits runs in a folder of their own, and the optional real data beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

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


@pytest.fixture
def cifar10() -> Path:
    """The root of the real CIFAR-10 in parquet."""
    if not (SHARED / "data" / "cifar10").is_dir():
        pytest.skip("the real CIFAR-10 does not lie beside this checkout (../shared/data/cifar10)")
    return SHARED / "data"
