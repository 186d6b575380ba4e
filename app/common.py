"""What the pages share: where the data lie, how other people's text is shown, records read once, and downloads."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from leaderboards import curves
from leaderboards.cache import read_results
from leaderboards.curves import row_records
from suite.boards.board import boards
from suite.errors import UserError
from suite.statistics.bounds import Convention
from suite.store.read import records_file

BIND: Any = {"bind": "query-params"}  # a widget's value is in the URL, under its key
CONVENTIONS: dict[str, Convention] = {"count as wrong": "standard", "dropped (the paper's)": "paper"}
PICKED = 6  # rows whose curves are drawn unless a reader picks others


class Places(NamedTuple):
    """Where runs, data sets and studies lie, as `suite app` was told."""

    runs: Path
    data_root: Path | None
    storage: str | None


def places() -> Places:
    runs, data, storage = [*sys.argv[1:], "", "", ""][:3]
    return Places(Path(runs or "runs"), Path(data) if data else None, storage or None)


def plain(text: object) -> str:
    """Text as it is, where Streamlit would read Markdown: no links, no HTML, no mathematics, no colours."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", " ".join(str(text).split()))


@contextmanager
def said() -> Iterator[None]:
    """What a user can mend is said in the page's place for it, and the rest of the page goes on."""
    try:
        yield
    except UserError as error:
        st.warning(plain(error))
    except OSError as error:
        st.warning(plain(f"cannot read {error.filename}: {error.strerror}; it may have been moved or deleted"))


def convention_control(key: str) -> Convention:
    told = "Count as wrong: certified at r if correct and R ≥ r (Cohen et al.). Dropped: abstentions leave the "
    told += "denominator, and R > r (the paper's Figure 1)."
    chosen = st.segmented_control(
        "Abstentions", list(CONVENTIONS), default="count as wrong", required=True, key=key, help=told, **BIND
    )
    return CONVENTIONS[chosen]


def board_and_convention(board_key: str, convention_key: str) -> tuple[str, Convention]:
    """The two controls that a page of rows begins with."""
    left, right = st.columns(2)
    with left:
        board = st.selectbox("Board", board_names(places().runs), key=board_key, **BIND)
    with right:
        return board, convention_control(convention_key)


def show_table(frame: pd.DataFrame, name: str, config: dict[str, Any] | None = None) -> None:
    """A table that a reader sorts, and its CSV in full."""
    st.dataframe(frame, hide_index=True, column_config=config, key=f"table {name}", placeholder="–")
    download("Table as CSV", lambda: frame.to_csv(index=False), f"{file_name(name)}.csv", "text/csv")


def show_figure(figure: go.Figure, name: str, alt: str) -> None:
    """A figure, its PNG by the camera above it, and its HTML page, which needs no network."""
    file = file_name(name)
    image = {"format": "png", "filename": file, "scale": 2}
    config = {"displaylogo": False, "displayModeBar": True, "toImageButtonOptions": image}
    config["modeBarButtons"] = [["toImage", "zoom2d", "resetScale2d"]]
    st.plotly_chart(figure, key=f"figure {name}", config=config, alt=alt)
    download("Figure as HTML", lambda: figure.to_html(include_plotlyjs=True), f"{file}.html", "text/html")


def download(label: str, content: Callable[[], str], file: str, kind: str) -> None:
    """A button for a file that is made when it is asked for."""
    st.download_button(label, content, file, kind, key=f"download {file}", on_click="ignore", type="tertiary")


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def board_names(runs: Path) -> list[str]:
    """The boards, those with most finished runs in the store first; damaged results are said."""
    results, damaged = read_results(runs)
    counts = {name: 0 for name in ("cifar10", *boards())}
    for result in results:
        counts[result["dataset"]] = counts.get(result["dataset"], 0) + 1
    if damaged:
        st.warning(plain("Left out: " + "; ".join(damaged[:3]) + (" …" if len(damaged) > 3 else "")))
    return sorted(counts, key=lambda name: -counts[name])


def records(row: Mapping[str, Any], protocol: str = "certify") -> pd.DataFrame:
    """The records behind a row, as `leaderboards.curves.row_records` gives them; read again where they have changed."""
    runs, own = places().runs, _what_counts(row)
    return _records(own, protocol, runs, _stamp(runs, own["runs"], protocol))


def curve(row: Mapping[str, Any], convention: Convention) -> pd.DataFrame:
    """The curve of a row of the board, as `leaderboards.curves.row_curve` gives it."""
    runs, own = places().runs, _what_counts(row)
    return _curve(own, convention, runs, _stamp(runs, own["runs"], "certify"))


def _what_counts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Of a row of a table, or of a result: what its records depend on."""
    return {"runs": row.get("runs", [row["run_id"]]), "decided": row.get("decided")} | {
        name: row.get(name, "") for name in ("run_id", "source", "dataset")
    }


@st.cache_data(show_spinner=False, max_entries=64)
def _records(row: dict[str, Any], protocol: str, runs: Path, stamp: list[int]) -> pd.DataFrame:
    found = row_records(row, runs, protocol=protocol)
    if found.empty:
        raise UserError(f"the {protocol} records of {row['run_id']} are gone; they may have been deleted or moved")
    return found


@st.cache_data(show_spinner=False, max_entries=256)
def _curve(row: dict[str, Any], convention: Convention, runs: Path, stamp: list[int]) -> pd.DataFrame:
    return curves.curve(_records(row, "certify", runs, stamp), convention, decided=row["decided"])


def _stamp(runs: Path, names: list[str], protocol: str) -> list[int]:
    files = (records_file(runs / name, protocol) for name in names)
    return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]
