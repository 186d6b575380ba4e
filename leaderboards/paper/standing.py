"""What the rows that stand beside an item of the paper say of its statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from leaderboards.comparable import title
from leaderboards.paper.items import Records
from leaderboards.paper.report import comparable, difference_text, name_recipes, statement_text
from leaderboards.paper.statements import STATEMENTS, judge
from leaderboards.rows import is_decided
from suite.store.result import Result

COLUMNS = ["the paper states", "difference, 95 %", "verdict", "rows"]


def most_telling(rows: Iterable[Result]) -> list[Result]:
    """The rows, those first that say most of the paper's statements: comparable ones of the most methods, and of each
    method its own recipe before others."""
    found = []
    for group in comparable(rows):
        recipes = list(name_recipes(group).values())
        own = {recipe[0].method: recipe for recipe in reversed(recipes)}
        others = [recipe for recipe in recipes if recipe is not own[recipe[0].method]]
        found += [row for recipe in [*reversed(own.values()), *others] for row in recipe]
    return found


def item_verdicts(name: str, rows: Sequence[Result], records: Records) -> pd.DataFrame:
    """Each statement of the paper on an item, for each group of comparable rows that has both methods: COLUMNS."""
    lines = []
    for group in comparable(rows):
        methods = {own[0].method: own for own in reversed(name_recipes(group).values())}
        for statement in STATEMENTS:
            sides = (methods.get(statement.more), methods.get(statement.less))
            if statement.item != name.partition(",")[0] or not all(sides):
                continue
            if statement.radius is not None and not all(is_decided(row, statement.radius) for row in group):
                continue
            found = [
                [records(row, statement.protocol) for row in own or () if statement.protocol in row.protocols]
                for own in sides
            ]
            verdict = judge(statement, *found) if all(found) else None
            if verdict:
                lines.append((statement_text(verdict), difference_text(verdict), verdict.outcome, title(group[0])))
    return pd.DataFrame(lines, columns=COLUMNS)
