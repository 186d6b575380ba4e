"""What a board compares: one TOML file per data set beside this one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class Board:
    """A data set's board: the ℓ2 radii (pixels in [0,1]) at which rows are compared, and what sorts them.

    `classes` and `images` are how many the test set has, as far as the board's file says: 0 if not.
    """

    title: str
    radii: tuple[float, ...]
    sort: str = "acr"
    classes: int = 0
    images: int = 0


def boards() -> list[str]:
    """The data sets that have a file of their own."""
    names = (file.name for file in files("leaderboards").iterdir())
    return sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml"))


def load_board(dataset: str) -> Board:
    """The board of a data set; data sets without a file of their own get the default radii."""
    file = files("leaderboards") / f"{dataset}.toml"
    if not file.is_file():
        return Board(title=dataset, radii=(0.1, 0.25, 0.5, 1.0))
    settings = tomllib.loads(file.read_text())
    return Board(**{**settings, "radii": tuple(settings["radii"])})
