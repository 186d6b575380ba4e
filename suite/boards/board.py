"""What a board compares: one TOML file per data set beside this one. An input of runs, which the spec resolves."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Board:
    """A data set's board: the radii (of `norm`, pixels in [0,1]) at which rows are compared, and what sorts them.

    `top` and `sigma` are the board's usual rule and noise: rows that have them stand first. `classes` and `images` are
    how many the test set has: 0 if that is not known.
    """

    title: str
    radii: tuple[float, ...]
    norm: str = "l2"
    top: int = 1
    sigma: float | None = None
    sort: str = "acr"
    classes: int = 0
    images: int = 0


def boards() -> list[str]:
    """The data sets that have a file of their own."""
    names = (file.name for file in files("suite.boards").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_board(dataset: str) -> Board:
    """The board of a data set; data sets without a file of their own get the default radii."""
    file = files("suite.boards") / f"{dataset}.toml"
    if not file.is_file():
        return Board(title=dataset, radii=(0.1, 0.25, 0.5, 1.0))
    settings = tomllib.loads(file.read_text())
    return Board(**{**settings, "radii": tuple(settings["radii"])})
