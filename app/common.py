"""What the pages share: where the data lie, how other people's text is shown, records read once, and downloads."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from leaderboards import curves
from leaderboards.cache import read_results
from leaderboards.curves import Recorded, row_records, row_source
from leaderboards.published import PUBLISHED
from leaderboards.published.figures import Figures
from leaderboards.published.kept import records_file, run_folder
from leaderboards.render.export import defused
from suite.boards.board import boards
from suite.errors import UserError
from suite.statistics.bounds import Convention

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
def warn_user() -> Iterator[None]:
    """Show user errors as a warning in their place, and render the rest of the page."""
    try:
        yield
    except UserError as error:
        st.warning(plain(error))
    except OSError as error:
        st.warning(plain(f"cannot read {error.filename}: {error.strerror}; it may have been moved or deleted"))


def convention_control(key: str) -> Convention:
    explanation = (
        "Count as wrong: certified at r if correct and R ≥ r (Cohen et al.). Dropped: abstentions leave the "
        "denominator, and R > r (the paper's Figure 1)."
    )
    chosen = st.segmented_control(
        "Abstentions", list(CONVENTIONS), default="count as wrong", required=True, key=key, help=explanation, **BIND
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
    download("Table as CSV", lambda: frame.map(defused).to_csv(index=False), f"{file_name(name)}.csv", "text/csv")


def show_plot(figure: go.Figure, name: str, alt: str) -> None:
    """A plot, its PNG by the camera above it, and its HTML page, which needs no network."""
    file = file_name(name)
    image = {"format": "png", "filename": file, "scale": 2}
    config = {"displaylogo": False, "displayModeBar": True, "toImageButtonOptions": image}
    config["modeBarButtons"] = [["toImage", "zoom2d", "resetScale2d"]]
    st.plotly_chart(figure, key=f"plot {name}", config=config, alt=alt)
    download("Plot as HTML", lambda: figure.to_html(include_plotlyjs=True), f"{file}.html", "text/html")


def download(label: str, content: Callable[[], str], file: str, kind: str) -> None:
    """A button for a file that is made when it is asked for."""
    st.download_button(label, content, file, kind, key=f"download {file}", on_click="ignore", type="tertiary")


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


def board_names(runs: Path) -> list[str]:
    """The boards, those with most finished runs in the store first; with a warning of damaged results."""
    results, damaged = read_results(runs)
    counts = {name: 0 for name in ("cifar10", *boards())}
    for result in results:
        counts[result.dataset] = counts.get(result.dataset, 0) + 1
    if damaged:
        st.warning(plain("Left out: " + "; ".join(damaged[:3]) + (" …" if len(damaged) > 3 else "")))
    return sorted(counts, key=lambda name: -counts[name])


@dataclass(frozen=True)
class Source:
    """What the records of a row depend on, for Streamlit's cache."""

    run_id: str
    source: str
    runs: tuple[str, ...]
    decided: tuple[float, ...] | None

    @classmethod
    def of(cls, row: Recorded) -> Source:
        decided = row.decided
        return cls(row.run_id, row.source, tuple(row.runs), tuple(decided) if decided else None)

    def stamp(self, protocol: str) -> list[int]:
        """When the records changed last."""
        folders = (run_folder(run, places().runs, PUBLISHED) for run in self.runs)
        files = [records_file(folder, protocol) for folder in folders]
        return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]


def records(row: Recorded, protocol: str = "certify") -> pd.DataFrame:
    """The records behind a row, as `leaderboards.curves.row_records` gives them; read again where they have changed."""
    source = Source.of(row)
    return _records(source, protocol, places().runs, source.stamp(protocol))


def run_records(run: str, protocol: str = "certify") -> pd.DataFrame:
    """The records of one run."""
    return records(Source(run, "run", (run,), None), protocol)


def curve(row: Recorded, convention: Convention) -> pd.DataFrame:
    """The curve of a row of the board, as `leaderboards.curves.row_curve` gives it."""
    source = Source.of(row)
    return _curve(source, convention, places().runs, source.stamp("certify"))


def curve_source(row: Recorded) -> pd.DataFrame | Figures:
    """What the row's curve is drawn from: the figures of a published row, or records."""
    return row_source(row, places().runs) if row.source == "published" else records(row)


@st.cache_data(show_spinner=False, max_entries=64)
def _records(row: Source, protocol: str, runs: Path, stamp: list[int]) -> pd.DataFrame:
    found = row_records(row, runs, protocol=protocol)
    if found.empty:
        raise UserError(f"the {protocol} records of {row.run_id} are gone; they may have been deleted or moved")
    return found


@st.cache_data(show_spinner=False, max_entries=256)
def _curve(row: Source, convention: Convention, runs: Path, stamp: list[int]) -> pd.DataFrame:
    return curves.curve(curve_source(row), convention, decided=row.decided)
