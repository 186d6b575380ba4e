"""The app's pages without a browser, what they say, and stores of real runs to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from helpers.cli import TINY
from leaderboards.published.kept import records_file
from suite import RunSpec, run
from suite.pipeline import Machine

PAGE = Path(__file__).parents[2] / "app" / "main.py"


def make_runs(path: Path) -> Path:
    """A finished run with an attack, and one that has not finished."""
    machine = Machine(runs=path, track=False)
    run(RunSpec(**TINY, **{"protocols": "accuracy,certify,attack", "attack.images": 10}), machine)
    half = run(RunSpec(method="baseline", dataset="digits", epochs=0.2, n=100, images=30), machine).path
    (half / "result.json").unlink()
    lines = (file := records_file(half, "certify")).read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:7]))
    return path


def make_both_kinds(path: Path) -> Path:
    """Votes at two σ and a margin on the same images of the digits; the vote at 0.1 is deployed as a vote."""
    small: dict[str, Any] = {"dataset": "digits", "epochs": 0.2, "n": 50, "images": 12, "attack.max_norm": 0.5}
    machine = Machine(runs=path, track=False)
    for own in ({"sigma": 0.25}, {"sigma": 0.1, "deployed": "vote", "n0": 10}):
        run(RunSpec(method="baseline", **small, **own), machine)
    run(RunSpec(method="lipschitz", arch="lipschitz-small-w8", **small), machine)
    return path


class Pages:
    """The app on a store, page by page; no page may end in an exception."""

    def __init__(self, store: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("sys.argv", [str(PAGE), str(store)])

    def __call__(self, view: str, **query: str | list[str]) -> Any:
        from streamlit.testing.v1 import AppTest

        app = AppTest.from_file(str(PAGE), default_timeout=120)
        if view != "leaderboard":  # the page that opens; any other is known after a first run
            app.run().switch_page(f"views/{view}.py")
        app.query_params = query
        app.run()
        assert not app.exception, app.exception[0].value
        return app


def said(app: Any) -> str:
    return " ".join(element.value for element in (*app.info, *app.warning, *app.error)).replace("\\", "")


def selected(app: Any, label: str) -> Any:
    return next(box.value for box in app.selectbox if box.label == label)


def having(app: Any, column: str) -> pd.DataFrame:
    """The page's first table with such a column."""
    found: pd.DataFrame = next(shown.value for shown in app.dataframe if column in shown.value)
    return found


def text_of(app: Any) -> str:
    return " ".join(element.value for element in (*app.text, *app.markdown, *app.caption)).replace("\\", "")
