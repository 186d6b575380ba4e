"""Published rows: other people's certification logs, beside this file, read as rows like those of runs.

`<board>/<row>.toml` says what a log is of (the fields of `Entry`), `<row>.tsv.xz` holds its lines: idx, label, predict,
radius, correct, as printed. The radius and not the count is kept: a radius of three digits fits some ten counts, and
"R ≥ r" has to come out as it did for its authors. `paper/` has numbers that were published without a log.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import re
import shlex
import tomllib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from suite.boards.board import Board, boards, load_board
from suite.errors import MISFIT, UserError, first_line
from suite.protocols.certify import certified_metrics, vote_terms
from suite.statistics.intervals import FEWEST
from suite.store.result import Result

PUBLISHED = Path(__file__).parent


ACCURACIES = ("certified accuracy", "clean accuracy")  # of the quantities in `paper/`, those that a board compares


DAMAGED = (*MISFIT, OSError, EOFError, lzma.LZMAError)
MARGIN_CLAIM = "the single pass keeps its answer within the radius, for the Lipschitz constant that its authors prove"
OF_A_VOTE = ("sigma", "n0", "n", "alpha")  # the fields of an entry that a margin does not have


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a published log is of. σ in pixel units, `seconds` the mean time of a certificate, `file` the log's name.

    A log of margins has none of OF_A_VOTE, and one of votes has them all. Raises ValueError for anything else.
    """

    method: str
    arch: str
    kind: Literal["vote", "margin"] = "vote"
    sigma: float | None = None
    n0: int | None = None
    n: int | None = None
    alpha: float | None = None
    top: int
    data: str
    images: int
    citation: str
    date: str
    file: str
    sha256: str
    seconds: float
    trained_sigma: float | None = None
    variant: str = ""
    note: str = ""
    lines: str = ""  # a digest of the lines, which is in the name of their file: a row is never half replaced

    def __post_init__(self) -> None:
        missing = [name for name in OF_A_VOTE if getattr(self, name) is None]
        if self.kind not in ("vote", "margin") or missing != (list(OF_A_VOTE) if self.kind == "margin" else []):
            raise ValueError(f"a log of kind {self.kind} without {', '.join(missing) or 'less'}")

    @property
    def terms(self) -> dict[str, Any]:
        """On what terms its certificates hold, and what is deployed, as a row has them."""
        if self.kind == "margin":
            noise = dict.fromkeys([*OF_A_VOTE, "sampling", "noise", "precision"])
            return noise | {"kind": "margin", "alpha": 0.0, "claim": MARGIN_CLAIM, "deployed": "pass"}
        sigma, n0, n, alpha = self.sigma or 0.0, self.n0 or 0, self.n or 0, self.alpha or 0.0
        terms = vote_terms(sigma=sigma, n0=n0, n=n, alpha=alpha)
        return terms | {"sigma": sigma, "draws": float(n), "deployed": "vote" if n0 else "pass"}


def published_rows(dataset: str, root: Path = PUBLISHED) -> list[Result]:
    """The rows published on a data set, by name. UserError where a file is damaged."""
    found, damaged = read_published(dataset, root)
    if damaged:
        raise UserError(damaged[0])
    return found


def read_published(dataset: str, root: Path = PUBLISHED) -> tuple[list[Result], list[str]]:
    """The rows published on a data set, by name, and what is wrong with damaged files, whose rows are left out."""
    found, damaged = [], []
    board = load_board(dataset, root) if dataset in boards(root) else None
    for file in sorted((root / dataset).glob("*.toml")) if board else []:
        try:
            found.append(_row(file, file.stat().st_mtime_ns, board))
        except UserError as error:
            damaged.append(str(error))
    return found, damaged


def published_records(run_id: str, root: Path = PUBLISHED) -> pd.DataFrame:
    """The lines behind a published row: idx, label, predict (−1: abstained), radius, correct. UserError as above."""
    return read_entry(root / f"{run_id}.toml")[1]


def read_entry(file: Path) -> tuple[Entry, pd.DataFrame]:
    """What a published log is of, and its lines. UserError where the file or its log is damaged."""
    try:
        entry = Entry(**tomllib.loads(file.read_text(encoding="utf-8")))
        lines = lzma.decompress(log_of(file, entry.lines).read_bytes())
        if entry.lines and digest_of(lines) != entry.lines:
            raise ValueError("its lines are not those that were imported")
        return entry, pd.read_csv(io.BytesIO(lines), sep="\t")
    except DAMAGED as error:
        raise damaged_log(file, error) from error


def digest_of(lines: bytes) -> str:
    """What the name of a log's file says of its lines."""
    return hashlib.sha256(lines).hexdigest()[:8]


def damaged_log(file: Path, error: Exception) -> UserError:
    said = first_line(error)
    return UserError(f"{file} or its log is damaged ({said}); import the log again with --replace")


def log_of(file: Path, lines: str) -> Path:
    """Where the lines of an entry lie, beside its file, by their digest."""
    return file.with_name(".".join(filter(None, (file.stem, lines, "tsv.xz"))))


@lru_cache(maxsize=1024)
def _row(file: Path, changed: int, board: Board) -> Result:
    entry, records = read_entry(file)
    try:
        return entry_row(f"{file.parent.name}/{file.stem}", entry, records, board)
    except DAMAGED as error:
        raise damaged_log(file, error) from error


def entry_row(run_id: str, entry: Entry, records: pd.DataFrame, board: Board) -> Result:
    """The row of a log."""
    dataset = run_id.partition("/")[0]
    metrics = certified_metrics(records, board.radii)
    if entry.kind == "margin" and not (records["predict"] == -1).any():
        metrics["clean_accuracy"] = float(records["correct"].mean())
    return Result(
        run_id=run_id,
        method=entry.method,
        dataset=dataset,
        data=entry.data,
        arch=entry.arch,
        variant=entry.variant,
        trained_sigma=entry.trained_sigma,
        source="published",
        citation=entry.citation,
        note=entry.note,
        date=entry.date,
        command=import_command(entry, dataset),
        top=entry.top,
        protocols=["certify"],
        **metrics | entry.terms | {"seconds_per_certificate": entry.seconds},
    )


def import_command(entry: Entry, board: str) -> str:
    """The shell line that puts the log on a board."""
    words = ["suite", "import", entry.file, "--board", board, "--method", entry.method, "--arch", entry.arch]
    votes = entry.kind == "vote"
    words += ["--sigma", str(entry.sigma)] if votes else ["--kind", "margin"]
    words += [] if entry.trained_sigma is None else ["--trained-sigma", str(entry.trained_sigma)]
    words += ["--n0", str(entry.n0), "--n", str(entry.n), "--alpha", str(entry.alpha)] * votes
    words += ["--top", str(entry.top)]
    words += ["--few"] * (entry.images < FEWEST)
    return shlex.join([*words, "--citation", entry.citation])


def paper_rows(dataset: str, root: Path = PUBLISHED) -> list[Result]:
    """Rows of what papers print or plot without a log: accuracy alone, at the radii of the paper's own plot.

    `source` is "paper, table" or "paper, plot"; certified accuracy is by the convention of the item. A damaged file's
    are left out.
    """
    return [row for frame in read_papers(root)[0] for row in rows_of_paper(frame, dataset)]


def rows_of_paper(frame: pd.DataFrame, dataset: str) -> list[Result]:
    """The rows on a data set of one file's lines."""
    own = frame[frame["dataset"].eq(dataset) & frame["quantity"].isin(ACCURACIES)]
    return [
        paper_row(f"{dataset}/{item}/{method}", values)
        for (item, method), values in own.groupby(["item", "method"], sort=False)
    ]


def paper_row(run_id: str, values: pd.DataFrame) -> Result:
    """The row of an item and a method, whose lines of `paper_values` are given."""
    first = values.iloc[0]
    points = dict(zip(map(str, values["at"]), values["percent"] / 100, strict=True))
    certified = first["quantity"] == "certified accuracy"
    accuracy = {name: points if certified and first["convention"] == name else {} for name in ("standard", "paper")}
    return Result(
        run_id=run_id,
        method=first["method"],
        dataset=first["dataset"],
        data=load_board(first["dataset"]).title,
        sigma=float(first["sigma"]),
        top=int(first["top"]),
        images=None if pd.isna(first["images"]) else int(first["images"]),
        n=None if pd.isna(first["n"]) else int(first["n"]),
        every=None,
        sampling=None,
        precision=None,
        read=first["read"],
        source="paper, table" if first["read"] == "table" else "paper, plot",
        citation=first["citation"],
        date=re.findall(r"\b(?:19|20)\d\d\b", first["citation"])[-1],
        note=f"{first['item']}, ± {values['uncertainty'].max():g} points",
        claim="as published, without records: not checked",
        clean_accuracy=None if certified else first["percent"] / 100,
        certified_accuracy=accuracy["standard"],
        certified_accuracy_paper=accuracy["paper"],
    )


def paper_values(root: Path = PUBLISHED) -> pd.DataFrame:
    """Numbers that papers print or plot without a log, one a line. UserError where a file is damaged.

    Columns: citation, item (which table or figure), read (`table` or `plot`), quantity, dataset, method, sigma, top, at
    (ℓ2 radius or distance in pixels, NaN where there is none), percent and its uncertainty (±, in points), and what
    else the item says (convention, attack, n, images).
    """
    found, damaged = read_papers(root)
    if damaged:
        raise UserError(damaged[0])
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame()


def read_papers(root: Path) -> tuple[list[pd.DataFrame], list[str]]:
    """The lines of `paper_values` of each file, and what is wrong with damaged files, which are left out."""
    found, damaged = [], []
    for file in sorted((root / "paper").glob("*.toml")):
        try:
            frame = pd.DataFrame(paper_lines(tomllib.loads(file.read_text(encoding="utf-8"))))
            for dataset in frame["dataset"].unique():
                rows_of_paper(frame, dataset)
            found.append(frame)
        except DAMAGED as error:
            damaged.append(f"{file} is damaged ({first_line(error)})")
    return found, damaged


def paper_lines(content: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each number of a file."""
    lines = []
    for item in content["items"]:
        shared = {name: value for name, value in item.items() if name not in ("at", "percent", "uncertainty")}
        for method, values in item["percent"].items():
            for at, value in zip(item.get("at", [None]), values, strict=True):
                own = {"method": method, "at": at, "percent": value, "uncertainty": item["uncertainty"][method]}
                lines.append({"citation": content["citation"], **shared, **own})
    return lines
