"""What the rows that stand beside an item of the paper say of its statements."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from leaderboards.comparable import title
from leaderboards.paper.items import Records
from leaderboards.paper.report import difference_text, name_recipes, statement_text
from leaderboards.paper.statements import STATEMENTS, judge
from leaderboards.rows import COMPARABLE, is_decided
from suite.store.result import Result

COLUMNS = ["the paper states", "difference, 95 %", "verdict", "rows"]


def item_verdicts(name: str, rows: Sequence[Result], records: Records) -> pd.DataFrame:
    """Each statement of the paper on an item, for each group of comparable rows that has both methods: COLUMNS."""
    groups: dict[tuple[object, ...], list[Result]] = {}
    for row in rows:
        groups.setdefault(tuple(getattr(row, own) for own in COMPARABLE), []).append(row)
    lines = []
    for group in groups.values():
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
