"""Tables of papers that left no public log: figures typed from `tables/<paper>.toml`, each with its table.

Nothing here was counted from records. `seen` says how near to the paper a line was read, `seen_at` where anybody can
look it up: for what was read in a copy of a paper's text, that is the paper's own address. Radii are ℓ2, of pixels in
[0,1]; accuracies are in percent, as printed.
"""

from __future__ import annotations

import tomllib
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from leaderboards.published import PUBLISHED, row_files
from suite.boards.board import Roots
from suite.errors import MISFIT, UserError, first_line
from suite.ranges import Draws, Images, Name, Scale, one_line

FOLDER = "tables"  # beneath the published rows

SEEN = {
    "paper": "read in the paper itself",
    "authors": "read on a page of its authors: their code, or their answer to reviewers",
    "other": "read in another paper's comparison, or on a board of typed numbers",
}


def _web(address: str) -> str:
    if not address.startswith("https://") or " " in address:
        raise ValueError("an address starts with https:// and has no blanks")
    return address


def _radius(text: str) -> str:
    if Fraction(text) < 0:
        raise ValueError("a radius is not negative")
    return text


Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Address = Annotated[Name, AfterValidator(_web)]
Printed = Annotated[str, AfterValidator(_radius)]  # "0.25", or "36/255" as the field writes it


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Line:
    """One line of a paper's table: certified accuracy at radii, of one model or of the best over σ at each radius.

    A margin has neither σ nor n nor α. `clean` is the accuracy on clean images of a line's one model, `clean_at` that
    of the model that is best at each radius. `extra_data` is what was trained on beside the board's own training set.
    Where `logs`, the method's logs are among the published rows: the line is here to be checked against them.
    """

    board: Name
    table: Name
    method: Annotated[str, Field(pattern="^[a-z0-9]+(-[a-z0-9]+)*$")]
    kind: Literal["vote", "margin"]
    at: tuple[Printed, ...]
    percent: tuple[Percent, ...]
    variant: str = ""
    arch: str = ""
    extra_data: Name
    seen: Literal["paper", "authors", "other"]
    seen_at: Address
    sigma: Scale | Literal["best", "not said"] | None = None
    clean: Percent | None = None
    clean_at: tuple[Percent, ...] = ()
    n: Draws | None = None
    alpha: Annotated[float, Field(gt=0, lt=1)] | None = None
    images: Images | None = None
    at_least: bool = False  # the paper says "over", not the digits
    logs: bool = False
    source: str = ""  # whose table it is, where that is not the paper's own
    doubt: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.at or len(self.at) != len(self.percent) or len(self.clean_at) not in (0, len(self.at)):
            raise ValueError("as many accuracies as radii, and at least one")
        if any(low >= high for low, high in zip(self.radii, self.radii[1:], strict=False)):
            raise ValueError("the radii ascend")
        if any(near < far for near, far in zip(self.percent, self.percent[1:], strict=False)):
            raise ValueError("certified accuracy does not grow with the radius")
        if self.clean is not None and self.kind == "margin" and self.clean < self.percent[0]:
            raise ValueError("what is certified by a margin is correct: it is no more than the clean accuracy")
        if self.kind == "margin" and (self.sigma, self.n, self.alpha) != (None, None, None):
            raise ValueError("a margin has no sigma, n and alpha")
        if self.seen == "other" and not self.source:
            raise ValueError("a line that was read in another's table needs its source")
        if self.kind == "vote" and self.sigma is None:
            raise ValueError('a vote has a sigma, "best" over several at each radius, or "not said"')
        return self

    @property
    def radii(self) -> tuple[float, ...]:
        return tuple(float(Fraction(text)) for text in self.at)


@dataclass(frozen=True, kw_only=True, config={"extra": "forbid"})
class Paper:
    """A file of `tables/`: a paper and the lines typed from it."""

    citation: Name
    year: Annotated[int, Field(ge=1990, le=2100)]
    link: Address
    rows: tuple[Line, ...]
    code: Address | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if str(self.year) not in self.citation:
            raise ValueError(f"the citation does not name the year {self.year}")
        if not self.rows:
            raise ValueError("a paper without a line")
        return self


@dataclass(frozen=True)
class TableRow:
    """A line of a paper's table, with its paper. `accuracy` is certified accuracy as a share, by the radius's text."""

    key: str
    paper: Paper
    line: Line

    @property
    def row_id(self) -> str:
        return "/".join(filter(None, (self.line.board, self.key, self.line.method, self.line.variant)))

    @property
    def accuracy(self) -> dict[str, float]:
        return {at: percent / 100 for at, percent in zip(self.line.at, self.line.percent, strict=True)}

    @property
    def said(self) -> str:
        """Where its figures are from, and what is uncertain of them, in a line."""
        whose = f" ({self.line.source})" if self.line.source else ""
        parts = (f"{self.line.table}{whose}", SEEN[self.line.seen], self.line.doubt)
        return "; ".join(filter(None, parts))


def published_tables(board: str, root: Roots = PUBLISHED, *, logs: bool = False) -> list[TableRow]:
    """The lines typed from papers on a board, by paper; with `logs`, those whose methods' logs are rows instead.

    Those of a damaged file are left out.
    """
    return [
        TableRow(key, paper, line)
        for key, paper in read_tables(root)[0].items()
        for line in paper.rows
        if line.board == board and line.logs == logs
    ]


def read_tables(root: Roots = PUBLISHED) -> tuple[dict[str, Paper], list[str]]:
    """All papers, by the name of their file; and what is wrong with each file that is damaged or cannot be true."""
    found, damaged = {}, []
    for file in row_files(FOLDER, root).values():
        try:
            found[file.stem] = _paper(file, file.stat().st_mtime_ns)
        except UserError as error:
            damaged.append(str(error))
    return found, damaged


@lru_cache(maxsize=4096)
def _paper(file: Path, changed: int) -> Paper:
    return read_table(file)


def read_table(file: Path) -> Paper:
    """One paper's file. What a line does not say itself, the file's `[shared]` says of all its lines.

    Raises UserError where it is damaged, or says what cannot be.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
        shared = content.pop("shared", {})
        lines = tuple(Line(**shared | row) for row in content.pop("rows"))
        return Paper(**content, rows=lines)
    except (*MISFIT, OSError) as error:
        said = one_line(error) if isinstance(error, ValidationError) else first_line(error)
        raise UserError(f"{file} is no table of a paper ({said})") from error
