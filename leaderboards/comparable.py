"""What compares with what: the tables that a board falls into, the rank of each row in them, and their titles.

Votes stand together where all of COMPARABLE is the same. A margin has no noise, so it compares with every table of
votes on the same images by the same rule, and stands in each of them. Folders of one's own that have one name are told
apart by what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from numpy.typing import ArrayLike

from leaderboards.rows import COMPARABLE
from suite.statistics.ranking import rank_ranges
from suite.store.result import EARLIER, Result

PLACE = ("rank", "best_rank", "worst_rank")  # a Place's columns in a table
ALIKE = ("read", "data", "top", "images", "every")  # what a margin shares with the votes that it is compared with


class Place(NamedTuple):
    """Where a row stands in a table, and the best and the worst rank that it may have, at 95 % for all rows at once.

    A row without a value of what sorts the table stands last, and has no rank: `best` and `worst` are None.
    """

    rank: int
    best: int | None
    worst: int | None


def places(
    frame: pd.DataFrame,
    keys: Sequence[Any],
    z_scores: Callable[[Sequence[int]], ArrayLike],
    has_value: Callable[[int], bool] = lambda line: True,
) -> list[dict[int, Place]]:
    """For each line of a table its place in each table of the board that it stands in, by that table's number.

    These are groups of votes with the margins that compare with them, and of margins that compare with no votes. `keys`
    order all lines, whatever they compare with; the best has the smallest. `z_scores` says of some lines by how many
    standard errors each is better than each other, and `has_value` whether a line has a value of what sorts them.
    """
    found: list[dict[int, Place]] = [{} for _ in keys]
    alike = frame.groupby(list(ALIKE), sort=False, dropna=False).ngroup()
    margins = frame["kind"] == "margin"
    tables = []
    for _, votes in frame[~margins].groupby(list(COMPARABLE), sort=False, dropna=False):
        tables.append([*votes.index, *frame.index[margins & (alike == alike[votes.index[0]])]])
    alone = frame[margins & ~alike.isin(alike[~margins])]
    tables += [list(own.index) for _, own in alone.groupby(list(COMPARABLE), sort=False, dropna=False)]
    for number, lines in enumerate(tables):
        ordered = sorted(lines, key=keys.__getitem__)
        valued = [line for line in ordered if has_value(line)]
        ends = dict(zip(valued, rank_ranges(z_scores(valued)) if valued else (), strict=True))
        for rank, line in enumerate(ordered, start=1):
            found[line][number] = Place(rank, *ends.get(line, (None, None)))
    return found


def group_comparable(rows: Iterable[Result]) -> list[list[Result]]:
    """The rows by what compares: by σ, and at each those of the most methods first, then the most rows."""
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, name) for name in COMPARABLE), []).append(row)

    def order(group: tuple[tuple[Any, ...], list[Result]]) -> tuple[float, int, int, str]:
        key, own = group
        return own[0].sigma or 0.0, -len({row.method for row in own}), -len(own), str(key)

    return [own for _, own in sorted(groups.items(), key=order)]


def tell_apart(results: Sequence[Result]) -> list[Result]:
    """The results, with a mark in the title of their data where folders of other content have the same name.

    A registered data set goes by its title, and so does a result that does not say which folder it is of.
    """
    folders: dict[str, set[str]] = {}
    for result in results:
        folders.setdefault(result.data, set()).update([result.fingerprint] if result.fingerprint else [])
    return [
        result.model_copy(update={"data": f"{result.data} ({result.fingerprint[:8]})"})
        if result.fingerprint and len(folders[result.data]) > 1
        else result
        for result in results
    ]


def only_place(places: Mapping[int, Place]) -> tuple[int | None, ...]:
    """A line's place in all tables that it stands in; None for what differs between the tables of a margin, or where it
    has no rank."""
    if any(place.best is None for place in places.values()):
        return (None,) * len(PLACE)
    return tuple(own.pop() if len(own) == 1 else None for own in map(set, zip(*places.values(), strict=True)))


def groups(frame: pd.DataFrame, *, wide: bool = False, sort: str = "") -> Iterator[tuple[str, pd.DataFrame]]:
    """The comparable rows of a table, each group with its title and the radii that matter for it (`unimportant`).

    `wide` keeps all radii, and the radius that `sort`s the rows is kept. Lines may have been left out of the table:
    ranks are those among all. A margin stands in every group of votes that it compares with, and where none of these is
    left, in one of margins alone.
    """
    votes = frame[frame["kind"] == "vote"]
    shown = {number for own in votes["places"] for number in own}
    for _, own in frame.groupby(list(COMPARABLE), sort=False, dropna=False):
        first = own.iloc[0]
        name = title(first)
        if first["kind"] == "vote":
            [number] = first["places"]
            group = frame[[number in own for own in frame["places"]]]
            columns = zip(*(own[number] for own in group["places"]), strict=True)
            group = group.assign(**dict(zip(PLACE, columns, strict=True))).sort_values("rank")
            name += "; margins have no noise" if (group["kind"] == "margin").any() else ""
        else:
            group = own[[shown.isdisjoint(places) for places in own["places"]]]
        if len(group):
            without = [] if wide else [column for column in unimportant(group) if column != f"r={sort}"]
            yield name, group.drop(columns=without)


def unimportant(group: pd.DataFrame) -> list[str]:
    """The columns of a group for radii that none of its rows reaches, or that do not matter.

    Steps of a quarter matter to all. Multiples of 1/255 matter among margins, where papers compare; finer steps among
    votes of which none reaches beyond 1.
    """
    radii = {column: float(column.rpartition("r=")[2]) for column in map(str, group) if is_at_a_radius(column)}
    reached = [column for column in radii if (group[column] > 0).any()]
    margins = (group["kind"] == "margin").all()
    farthest = max((radii[column] for column in reached), default=0.0)

    def matters(r: float) -> bool:
        return not (4 * r) % 1 or (r != round(r, 2) if margins else r == round(r, 2) and farthest <= 1)

    return [column for column, r in radii.items() if column not in reached or not matters(r)]


def is_at_a_radius(column: str) -> bool:
    return column.rpartition(" ")[2].startswith("r=")


def draws_sign(row: Any) -> str:
    """The sign before a row's n: adaptive sampling takes as many draws at most."""
    return "=" if row.sampling == "fixed" else "≤"


def title(row: Any) -> str:
    """What the rows of a group have in common; `row` is any of them: a `Row`, a line of a table, or a result."""
    margin = row.kind == "margin"
    parts = [f"top-{row.top}"] if margin else [f"σ = {row.sigma:g}", f"top-{row.top}"]
    if pd.notna(row.images):
        parts.append(f"{row.images} images")
    if pd.notna(row.every) and row.every > 1:
        parts.append(f"every {row.every}th")
    if pd.notna(row.n):
        parts.append(f"n {draws_sign(row)} {row.n}")
    if row.sampling == EARLIER:
        parts.append(EARLIER)
    if pd.notna(row.alpha) and not margin:
        parts.append(f"α = {row.alpha:g}")
    if row.noise == "discrete":
        parts.append("discrete noise")
    if row.precision == "bf16":
        parts.append(row.precision)
    if row.read != "log":
        parts.append(f"read off a paper's {row.read}, without records")
    if margin:
        parts.append("no noise")
    return f"{row.data}: {', '.join(parts)}"
