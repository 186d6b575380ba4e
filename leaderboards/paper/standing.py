"""What the rows that stand beside an item of the paper say of its statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pandas as pd

from leaderboards.comparable import group_comparable, title
from leaderboards.paper.items import Records
from leaderboards.paper.report import difference_text, name_recipes, own_recipes, statement_text
from leaderboards.paper.statements import STATEMENTS, judge
from leaderboards.rows import is_decided
from suite.store.result import Result

COLUMNS = ["the paper states", "difference, 95 %", "verdict", "rows"]


def most_telling(rows: Iterable[Result]) -> list[Result]:
    """The rows in the order that they stand beside an item: comparable ones of the most methods first, and in them each
    method's own recipe before others."""
    found = []
    for group in group_comparable(rows):
        named = name_recipes(group)
        own = own_recipes(named)
        recipes = sorted(named.values(), key=lambda recipe: recipe is not own[recipe[0].method])
        found += [row for recipe in recipes for row in recipe]
    return found


def item_verdicts(name: str, rows: Sequence[Result], records: Records) -> pd.DataFrame:
    """Each statement of the paper on an item, for each group of comparable rows that has both methods: COLUMNS."""
    lines = []
    for group in group_comparable(rows):
        methods = own_recipes(name_recipes(group))
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
