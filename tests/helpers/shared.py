"""What is made once for all test files, also where several processes run them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from suite import RunSpec, run
from suite.pipeline import Machine

from .runs import TINY


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first to ask for it fills; nobody may change it."""
    base = factory.getbasetemp()
    if base.name.startswith("popen-"):  # pytest-xdist gives each of its processes a folder in the session's
        base = base.parent
    folder = base / f"shared-{name}"
    with FileLock(base / f"shared-{name}.lock"):
        if not folder.exists():
            making = base / f"making-{name}"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            make(making)
            making.rename(folder)
    return folder


def tiny_store(factory: pytest.TempPathFactory, to: Path) -> Path:
    """A store with the finished run of TINY, for a test to change; the run's folder."""
    made = made_once(factory, "tiny", lambda runs: run(RunSpec(**TINY), Machine(runs=runs, track=False)))
    return copy_store(made, to)


def attacked_store(factory: pytest.TempPathFactory, to: Path) -> Path:
    """The same with adversarial distances of its first 12 images."""

    def attack(runs: Path) -> None:
        tiny_store(factory, runs)
        spec = RunSpec(**TINY, **{"protocols": "accuracy,certify,attack", "attack.images": 12})
        run(spec, Machine(runs=runs, track=False))

    return copy_store(made_once(factory, "attacked", attack), to)


def copy_store(made: Path, to: Path) -> Path:
    shutil.copytree(made, to, dirs_exist_ok=True)
    [result] = to.glob("*/result.json")
    return result.parent
