"""What the pages share: where the data lie, boards and records read once, tables, plots and downloads."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from leaderboards import curves, rows, table
from leaderboards.cache import read_results
from leaderboards.curves import Drawn, Recorded, drawn_at, row_records, row_source
from leaderboards.links import BOARD
from leaderboards.published import PUBLISHED, all_roots
from leaderboards.published.figures import Figures
from leaderboards.published.kept import KEPT, records_file, run_folder
from leaderboards.render.export import defused
from leaderboards.render.foreign import legible_frame, plain
from leaderboards.render.interactive import FAILS, HOLDS, Heading, as_printed
from leaderboards.render.plots import plot_csv
from leaderboards.rows import Row
from leaderboards.whose import tell_whose
from suite.boards.board import boards
from suite.errors import UserError
from suite.statistics.bounds import Convention

IMAGES = "camera"  # where a session keeps whether the camera above a plot saves PNG or SVG
HEIGHT = 450  # of a plot that does not say its own, in pixels
PICKED = 6  # rows whose curves are drawn unless a reader ticks others
NARROW = {"#": 42, "method": 92, "kind": 50, "holds": 84}  # on a phone, so that a certified accuracy stands beside them
CHIPS = {HOLDS.strip(): "#CFE6F5", FAILS.strip(): "#FBD9C3", "broken 0": "#CFE6F5", "broken": "#FBD9C3"}  # fmt: skip


class Places(NamedTuple):
    """Where runs, data sets and studies lie, as `suite app` was told."""

    runs: Path
    data_root: Path | None
    storage: str | None


def places() -> Places:
    runs, data, storage = [*sys.argv[1:], "", "", ""][:3]
    return Places(Path(runs or "runs"), Path(data) if data else None, storage or None)


def without_paths(text: object) -> str:
    """A message without the folders that only whoever serves the pages knows."""
    runs, data, _ = places()
    shown = str(text)
    for folder, name in ((runs, "runs"), (data, "data"), (PUBLISHED, "published")):
        if folder is not None:
            for path in {str(folder.absolute()), str(folder.resolve()), str(folder)} - {name, "."}:
                shown = shown.replace(path, name)
    return shown


@contextmanager
def warn_user() -> Iterator[None]:
    """Show user errors as a warning in their place, and render the rest of the page."""
    try:
        yield
    except UserError as error:
        st.warning(plain(without_paths(error)))
    except OSError as error:
        said = f"cannot read {error.filename}: {error.strerror}; it may have been moved or deleted"
        st.warning(plain(without_paths(said)))


def read_boards(runs: Path) -> list[str]:
    """The boards, the usual one first; with a warning of damaged results."""
    results, damaged = read_results(runs)
    if damaged:
        st.warning(plain(without_paths("Left out: " + "; ".join(damaged[:3]) + (" …" if len(damaged) > 3 else ""))))
    return [BOARD, *sorted({*boards(all_roots()), *(result.dataset for result in results)} - {BOARD})]


def stamp(runs: Path) -> tuple[int, int, int]:
    """What changes with the results of a store and with published rows: how many, when the last, how large."""
    files = list(runs.glob("[!.]*/result.json"))
    for root in all_roots():
        files += [*root.glob("*.toml"), *root.glob("*/*.toml"), *root.glob(f"{KEPT}/*/result.json")]
    found = [file.stat() for file in files if file.exists()]
    return len(found), max((own.st_mtime_ns for own in found), default=0), sum(own.st_size for own in found)


def board_table(board: str, convention: Convention, order: str) -> pd.DataFrame:
    """A board's table as `leaderboards.table` gives it, with whose each row is; not to be changed."""
    runs = places().runs
    return _table(board, runs, convention, order, stamp(runs))


def board_rows(board: str, convention: Convention) -> dict[str, Row]:
    """The rows of a board by run id, in order; not to be changed."""
    runs = places().runs
    return _rows(board, runs, convention, stamp(runs))


@st.cache_resource(show_spinner=False, max_entries=4)
def _table(board: str, runs: Path, convention: Convention, order: str, stamp: tuple[int, ...]) -> pd.DataFrame:
    return legible_frame(tell_whose(table(board, runs, convention, all_roots(), sort=order or None), runs))


@st.cache_resource(show_spinner=False, max_entries=2)
def _rows(board: str, runs: Path, convention: Convention, stamp: tuple[int, ...]) -> dict[str, Row]:
    return {row.run_id: row for row in rows(board, runs, convention, all_roots())}


def column_config(headings: Sequence[Heading]) -> dict[str, Any]:
    """Streamlit's words for what a table's columns are."""
    return {heading.name: column_of(heading) for heading in headings}


def column_of(heading: Heading) -> Any:
    width = min(heading.width, NARROW.get(heading.name, heading.width)) if is_phone() else heading.width
    about: dict[str, Any] = {"help": heading.help, "width": width or None, "pinned": heading.pinned or None}
    if heading.chips:
        colours = [
            next((c for begins, c in CHIPS.items() if chip.startswith(begins)), "#E5E5E5") for chip in heading.chips
        ]
        return st.column_config.MultiselectColumn(options=list(heading.chips), color=colours, **about)
    if heading.link:
        return st.column_config.LinkColumn(display_text=heading.link, **about)
    if heading.form:
        return st.column_config.NumberColumn(format=heading.form, **about)
    return st.column_config.TextColumn(**about)


def is_phone() -> bool:
    """Whether a browser says that it is a phone's."""
    return "Mobi" in str(st.context.headers.get("User-Agent", ""))


def show_table(
    frame: pd.DataFrame, name: str, headings: Sequence[Heading] = (), csv: Callable[[], str] | None = None, **more: Any
) -> None:
    """A table that a reader sorts, and its CSV in full."""
    settings: dict[str, Any] = {"height": min(len(frame) + 1, 11) * 35 + 3} | more
    with st.container(key=f"table of {name}"):  # app.style knows by it what has a height before it is there
        st.dataframe(
            as_printed(frame, headings), hide_index=True, column_config=column_config(headings), placeholder="–",
            key=f"table {name}", alt=f"Table: {name}, {len(frame)} rows", **settings,
        )  # fmt: skip
    whole = csv or (lambda: frame.map(defused).to_csv(index=False))
    download("Table as CSV", whole, f"{file_name(name)}.csv", "text/csv")


def show_lines(frame: pd.DataFrame) -> None:
    """A short table whose texts wrap; Streamlit reads its cells as Markdown."""
    st.table(frame.map(plain), hide_index=True, border="horizontal")


def show_plot(figure: go.Figure, name: str, alt: str) -> None:
    """A plot and what it is saved as: an image by the camera above it, its numbers, a page that needs no network."""
    file = file_name(name)
    image = {"format": st.session_state.get(IMAGES, "PNG").lower(), "filename": file, "scale": 2}
    config = {"displaylogo": False, "displayModeBar": True, "toImageButtonOptions": image}
    config["modeBarButtons"] = [["toImage", "zoom2d", "resetScale2d"]]
    height = int(figure.layout.height or HEIGHT)  # said before the plot is there, so that it moves nothing
    with st.container(key=f"plot of {name}"):
        st.plotly_chart(figure, key=f"plot {name}", config=config, alt=alt, height=height)
    with st.container(horizontal=True):
        download(
            "Plot as CSV", lambda: plot_csv(figure).map(defused).to_csv(index=False), f"{file}-plot.csv", "text/csv"
        )
        download(
            "Plot as HTML", lambda: figure.to_html(include_plotlyjs=True, config=config), f"{file}.html", "text/html"
        )


def download(label: str, content: Callable[[], str], file: str, kind: str) -> None:
    """A button for a file that is made when it is asked for."""
    st.download_button(
        label,
        content,
        file,
        kind,
        key=f"download {file}",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
    )


def file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")


@dataclass(frozen=True)
class Source:
    """What the records of a row depend on, for Streamlit's cache."""

    run_id: str
    source: str
    runs: tuple[str, ...]
    decided: tuple[float, ...] | None

    @classmethod
    def of(cls, row: Recorded, decided: Sequence[float] | None = None) -> Source:
        return cls(row.run_id, row.source, tuple(row.runs), tuple(decided) if decided else None)

    def stamp(self, protocol: str) -> list[int]:
        """When the records changed last."""
        folders = (run_folder(run, places().runs, all_roots()) for run in self.runs)
        files = [records_file(folder, protocol) for folder in folders]
        return [file.stat().st_mtime_ns if file.exists() else 0 for file in files]


def records(row: Recorded, protocol: str = "certify") -> pd.DataFrame:
    """The records behind a row, as `leaderboards.curves.row_records` gives them; read again where they have changed."""
    source = Source.of(row)
    return _records(source, protocol, places().runs, source.stamp(protocol))


def run_records(run: str, protocol: str = "certify") -> pd.DataFrame:
    """The records of one run."""
    return records(Source(run, "run", (run,), None), protocol)


def curve(row: Drawn, convention: Convention) -> pd.DataFrame:
    """The curve of a row of the board, as `leaderboards.curves.row_curve` gives it."""
    source = Source.of(row, drawn_at(row))
    return _curve(source, convention, places().runs, source.stamp("certify"))


def curve_source(row: Recorded) -> pd.DataFrame | Figures:
    """What the row's curve is drawn from: the figures of a published row, or records."""
    return row_source(row, places().runs, all_roots()) if row.source == "published" else records(row)


@st.cache_data(show_spinner=False, max_entries=16)
def _records(row: Source, protocol: str, runs: Path, stamp: list[int]) -> pd.DataFrame:
    found = row_records(row, runs, all_roots(), protocol)
    if found.empty:
        raise UserError(f"the {protocol} records of {row.run_id} are gone; they may have been deleted or moved")
    return found


@st.cache_data(show_spinner=False, max_entries=256)
def _curve(row: Source, convention: Convention, runs: Path, stamp: list[int]) -> pd.DataFrame:
    return curves.curve(curve_source(row), convention, decided=row.decided)
