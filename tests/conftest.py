"""Fixtures that many tests share, and the order of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.command_line import Cli
from helpers.runs import SHARED
from helpers.shared import attacked_store, tiny_store

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

LONG = ("slow", "browser", "postgres")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Groups that run long come first, so that no process of pytest-xdist is left alone with one at the end.

    A group is what one process runs: a file, for what its tests share, or what a mark `xdist_group` names.
    """
    groups: dict[str, list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        name = mark.args[0] if mark else item.path.stem
        if not mark:
            item.add_marker(pytest.mark.xdist_group(name))
        groups.setdefault(name, []).append(item)

    def long(tests: list[pytest.Item]) -> int:
        return sum(any(map(test.get_closest_marker, LONG)) for test in tests)

    items[:] = [item for tests in sorted(groups.values(), key=long, reverse=True) for item in tests]


@pytest.fixture
def suite() -> Cli:
    return Cli()


@pytest.fixture
def tiny_run(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run in the store `runs`, for one test to change."""
    return tiny_store(tmp_path_factory, tmp_path / "runs")


@pytest.fixture(scope="module")
def tiny_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run in a store of its own, for the tests of a file."""
    return tiny_store(tmp_path_factory, tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def attacked_module(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with adversarial distances of its first 12 images."""
    return attacked_store(tmp_path_factory, tmp_path_factory.mktemp("runs"))


@pytest.fixture
def cifar10() -> Path:
    """The root of the real CIFAR-10 in parquet."""
    if not (SHARED / "data" / "cifar10").is_dir():
        pytest.skip("the real CIFAR-10 does not lie beside this checkout (../shared/data/cifar10)")
    return SHARED / "data"
