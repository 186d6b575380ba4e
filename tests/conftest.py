"""What holds for every test: their order, the command line in this process, the real data beside the checkout."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("helpers")

from helpers import browser as browsers  # noqa: E402
from helpers import warm  # noqa: E402
from helpers.cli import Cli, succeed, tiny  # noqa: E402
from helpers.shared import SHARED  # noqa: E402

os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with many slow tests come first: of several processes none is left alone with them."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded images are kept in a folder of the tests, and not in the user's."""
    os.environ["SUITE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(autouse=True)
def _own_main() -> Iterator[None]:
    """Streamlit's test of a page leaves the page as the main module, which new processes would begin with."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def suite(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    return Cli(capsys, monkeypatch)


@pytest.fixture(scope="session")
def warm_suite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A script that does what `suite` does, each time in a process of its own, without the seconds of its imports."""
    server, script = warm.start(tmp_path_factory.mktemp("warm"))
    yield script
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    yield from browsers.opened()


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As workers have it; these are forked from a process that has imported what the digits need, too."""
    from helpers.grids import one_thread

    with one_thread():
        yield


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one process makes of the experiment which workers make again."""
    from helpers.grids import made_alone

    return made_alone(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """Two worker processes."""
    from suite.executors.local import Local

    with Local(workers=2) as local:
        yield local


@pytest.fixture
def cifar10() -> Path:
    """The root of the real CIFAR-10 in parquet."""
    if not (SHARED / "data" / "cifar10").is_dir():
        pytest.skip("the real CIFAR-10 does not lie beside this checkout (../shared/data/cifar10)")
    return SHARED / "data"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one finished run."""
    runs = tmp_path_factory.mktemp("runs")
    succeed(*tiny(runs))
    return runs
