"""What a board compares: one TOML file per data set beside this one. An input of runs, which the spec resolves."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable
from fractions import Fraction
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError
from pydantic.dataclasses import dataclass

from suite.errors import MISFIT, UserError, first_line
from suite.ranges import Name, Scale, one_line


@dataclass(frozen=True, config={"extra": "forbid"})
class Board:
    """A data set's board: the radii (of `norm`, pixels in [0,1]) at which rows are compared, and what sorts them.

    `radii` are also those that adaptive sampling decides; `reported` are more at which papers on the data set report,
    shown where a row reaches them. `top` and `sigma` are the board's usual rule and noise: rows that have them stand
    first. `classes` and `images` are how many the test set has: 0 if that is not known.
    """

    title: Name
    radii: tuple[Annotated[FiniteFloat, Field(gt=0)], ...]
    reported: tuple[Annotated[FiniteFloat, Field(gt=0)], ...] = ()
    norm: Literal["l2"] = "l2"
    top: PositiveInt = 1
    sigma: Scale | None = None
    sort: str = "acr"
    classes: NonNegativeInt = 0
    images: NonNegativeInt = 0

    @property
    def all_radii(self) -> tuple[float, ...]:
        """At which a row of the board is known, in ascending order."""
        return tuple(sorted({*self.radii, *self.reported}))


Roots = Path | tuple[Path, ...]  # a folder of boards and published rows, or several: the first that has one counts


def layers(roots: Roots | None) -> tuple[Path, ...]:
    """The folders of `roots`, none for None."""
    return () if roots is None else (roots,) if isinstance(roots, Path) else roots


def own_root() -> Path:
    """Where the user's own boards and rows lie: $SUITE_BOARDS, else `boards` in the working directory."""
    return Path(os.environ.get("SUITE_BOARDS") or "boards")


def boards(own: Roots | None = None) -> list[str]:
    """The data sets that have a file here, in the user's own folder (`own_root`), or in other folders."""
    names = [file.name for folder in folders(own) for file in folder.iterdir()]
    return sorted({name.removesuffix(".toml") for name in names if name.endswith(".toml")})


def load_board(dataset: str, own: Roots | None = None) -> Board:
    """The board of a data set: of the folders `own`, else of `own_root`, else the suite's.

    A data set without a file in any of them gets the default radii. Raises UserError where a file is no board.
    """
    for folder in folders(own):
        file = folder / f"{dataset}.toml"
        if file.is_file():
            try:
                settings = tomllib.loads(file.read_text(encoding="utf-8"))
                ordered = {"sort": str(settings["sort"])} if "sort" in settings else {}
                radii = {"radii": numbers(settings["radii"]), "reported": numbers(settings.get("reported", ()))}
                return Board(**settings | ordered | radii)
            except (OSError, *MISFIT) as error:
                said = one_line(error) if isinstance(error, ValidationError) else first_line(error)
                raise UserError(f"{file} is no board: it needs a title and radii ({said})") from error
    return Board(title=dataset, radii=(0.1, 0.25, 0.5, 1.0))


def numbers(radii: Iterable[object]) -> tuple[float, ...]:
    """Radii as they are written, which may be fractions: "36/255"."""
    return tuple(float(Fraction(r)) if isinstance(r, str) else float(r) for r in radii)  # type: ignore[arg-type]


def radius_key(text: str) -> str:
    """What a radius is called among the columns of a table, however it is written; other text as it is."""
    try:
        return str(float(Fraction(text)))
    except (ValueError, ZeroDivisionError, OverflowError):
        return text


def radius_text(r: float) -> str:
    """A radius as papers write it: 36/255, else its digits."""
    steps = round(255 * r)
    return f"{steps}/255" if r not in (round(r, 2), steps) and r == steps / 255 else str(r)


def folders(own: Roots | None) -> list[Traversable]:
    """Where boards lie, those that count first: `own`, the user's, the package."""
    return [*(folder for folder in dict.fromkeys((*layers(own), own_root())) if folder.is_dir()), files("suite.boards")]
