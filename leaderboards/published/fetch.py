"""The logs behind published rows, got from where their authors put them and kept in the user's cache.

A log is kept by its SHA-256, packed, in `logs/` of $SUITE_CACHE, else of $XDG_CACHE_HOME/l2-robustness-suite or
~/.cache/l2-robustness-suite: never beside the rows. $SUITE_LOGS_URL is where the repositories' files are asked for.
"""

from __future__ import annotations

import hashlib
import lzma
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.published import PUBLISHED, read_entry, row_files
from leaderboards.published.entry import Entry
from leaderboards.published.figures import Figures
from leaderboards.published.layout import unpacked
from leaderboards.published.log import Log, read_log
from suite.boards.board import Roots, boards, load_board
from suite.errors import UserError
from suite.store.files import write_atomically

RAW = "https://raw.githubusercontent.com"
SECONDS = 30  # without an answer
LARGEST = 200_000_000  # bytes of a log


def published_records(run_id: str, root: Roots = PUBLISHED) -> pd.DataFrame:
    """The lines behind a published row, if its log is kept here: idx, label, predict (−1: abstained), radius, correct.

    UserError where it is not, which says how to get it.
    """
    entry = read_entry(run_id, root)
    file = kept_log(entry.sha256)
    if not file.exists():
        how = f"suite published fetch {run_id}" if entry.is_public else "import the log again"
        raise UserError(
            f"{run_id} is published as figures, and its log is not here: for comparisons image by image, {how}"
        )
    records = checked_log(file, run_id, entry, root).records
    return records.drop(columns="time").astype({"radius": float}).reset_index(drop=True)


def fetch_log(run_id: str, root: Roots = PUBLISHED, source: Path | None = None) -> tuple[Path, bool]:
    """Get the log of a published row from its repository, or from a file; where it is kept, and whether that is new.

    UserError where it is not the log of the row: by its SHA-256, or because its figures are others.
    """
    entry = read_entry(run_id, root)
    place = kept_log(entry.sha256)
    new = not place.exists()
    if new:
        keep_log(content_of(source) if source else downloaded(run_id, entry), entry.sha256, source or run_id)
    try:
        log = checked_log(place, run_id, entry, root)
        check_figures(log, entry, run_id)
    except UserError:
        if new:
            place.unlink(missing_ok=True)
        raise
    return place, new


def find_row(name: str, root: Roots = PUBLISHED) -> str:
    """The published row of a name, with its board or without, or of how that begins; UserError where it is not one."""
    known = [f"{board}/{row}" for board in boards(root) for row in row_files(board, root)]
    for fits in (lambda row: name in (row, row.partition("/")[2]),
                 lambda row: row.startswith(name) or row.partition("/")[2].startswith(name)):  # fmt: skip
        found = [row for row in known if fits(row)]
        if len(found) == 1:
            return found[0]
        if found:
            more = ", ..." if len(found) > 3 else ""
            raise UserError(f"'{name}' is how {len(found)} published rows begin: {', '.join(found[:3])}{more}")
    raise UserError(f"no published row '{name}'; 'suite leaderboard DATASET --format json' has their run_id")


def downloaded(run_id: str, entry: Entry) -> bytes:
    """The bytes of the file that a row names, from its repository."""
    from http.client import HTTPException  # takes a while, which whoever reads rows does not need
    from urllib.parse import quote
    from urllib.request import urlopen

    if not entry.is_public:
        raise UserError(f"{run_id} does not say from which repository its log is; --from FILE takes one at hand")
    base = os.environ.get("SUITE_LOGS_URL") or RAW
    url = f"{base.rstrip('/')}/{entry.repository}/{entry.commit}/{quote(entry.path)}"
    try:
        with urlopen(url, timeout=SECONDS) as answer:
            content: bytes = answer.read(LARGEST + 1)
    except (OSError, ValueError, HTTPException) as error:
        raise UserError(f"{url} cannot be fetched ({error}); --from FILE takes the log, got in another way") from error
    if len(content) > LARGEST:
        raise UserError(f"{url} has more than {LARGEST} bytes, and is no log")
    return content


def content_of(file: Path) -> bytes:
    try:
        return unpacked(file)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def keep_log(content: bytes, sha256: str, source: object) -> Path:
    """Put a log where it is kept; UserError where its SHA-256 is another one."""
    if (found := hashlib.sha256(content).hexdigest()) != sha256:
        raise UserError(f"what {source} gives is not the log of the row: its SHA-256 is {found}, not {sha256}")
    place = kept_log(sha256)
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, lzma.compress(content))
    return place


def kept_log(sha256: str) -> Path:
    """Where a log is kept; UserError without a home."""
    if given := os.environ.get("SUITE_CACHE"):
        return Path(given) / "logs" / f"{sha256}.xz"
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError as error:
        raise UserError("there is no home folder to keep logs in: set SUITE_CACHE to a folder") from error
    return cache / "l2-robustness-suite" / "logs" / f"{sha256}.xz"


def checked_log(file: Path, run_id: str, entry: Entry, root: Roots) -> Log:
    """The log in a file; UserError where it is not that of the row."""
    log = read_log(file, load_board(run_id.partition("/")[0], root), entry.top)
    if log.sha256 != entry.sha256:
        raise UserError(f"{file} is not the log of {run_id}: remove it, and fetch it again")
    return log


def check_figures(log: Log, entry: Entry, run_id: str) -> None:
    """Raise UserError where a row's figures are not those of its log."""
    radii = [r for r, _, _ in entry.between]
    true: dict[str, Any] = Figures.of_log(log, radii, entry.sigma)
    own = entry.model_dump(include=set(true))
    wrong = [name for name, value in true.items() if not same(own[name], value)]
    if wrong:
        raise UserError(f"{', '.join(wrong)} of {run_id} are not those of its log: import it again with --replace")


def same(a: Any, b: Any) -> bool:
    """Whether two figures are one but for the last digits of a sum, which machines add up differently."""
    return math.isclose(a, b, rel_tol=1e-9) if isinstance(a, float) and isinstance(b, float) else bool(a == b)
