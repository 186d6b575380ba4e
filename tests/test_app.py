"""The page and its figure, on a store of real runs, without a browser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import TINY

from app.figures import certified_accuracy_figure
from leaderboards.curves import curve
from suite import RunSpec, run
from suite.run import Machine

PAGE = Path(__file__).parents[1] / "app" / "main.py"


def test_a_curve_is_the_share_of_correct_radii() -> None:
    records = pd.DataFrame({"radius": [0.4, 0.2, 0.3, 0.0], "correct": [1, 1, 0, 0], "predict": [1, 2, 3, -1]})
    standard, paper = curve(records), curve(records, "paper")
    at = lambda frame, r: np.interp(r, frame["radius"], frame["accuracy"])  # noqa: E731
    assert [at(standard, r) for r in (0.0, 0.1, 0.3, 0.405)] == [2 / 4, 2 / 4, 1 / 4, 0]
    assert [at(paper, r) for r in (0.0, 0.1, 0.3)] == [2 / 3, 2 / 3, 1 / 3]
    assert (standard["low"] <= standard["accuracy"]).all()
    assert (standard["high"] >= standard["accuracy"]).all()
    figure = certified_accuracy_figure({"mine": standard})
    [line] = [trace for trace in figure.data if trace.name == "mine"]
    assert list(line.y) == list(100 * standard["accuracy"])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    run(RunSpec(**TINY), Machine(runs=path, track=False))
    return path


def page(runs: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    from streamlit.testing.v1 import AppTest

    monkeypatch.setattr("sys.argv", [str(PAGE), str(runs)])
    return AppTest.from_file(str(PAGE), default_timeout=60).run()


def test_the_page_shows_the_run(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = page(runs, monkeypatch)
    assert not shown.exception
    assert shown.selectbox[0].value == "digits"
    assert shown.dataframe[0].value["method"].tolist() == ["heat"]


def test_an_empty_store_shows_published_rows_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = page(tmp_path, monkeypatch)
    assert not shown.exception
    assert shown.selectbox[0].value == "cifar10"
    assert set(shown.dataframe[0].value["source"]) == {"published"}
    assert shown.multiselect[1].options == [
        "smoothadv, resnet110, PGD 10steps 8-multitrain eps 255",
        "smoothadv, resnet110, PGD 2steps 8-multitrain eps 255",
        "randomized-smoothing, resnet110, as published",
    ]
    shown.selectbox[0].select("digits").run()
    assert not shown.exception
    assert "suite run --method heat" in shown.info[0].value
