"""The pages of the documentation, and the tables in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

ROOT = Path(__file__).parents[2]


DOCS = ROOT / "docs"


BLOCK = re.compile(r"(?:<!-- (?P<mark>[^\n]*) -->\n)?```(?P<language>\w+)\n(?P<content>.*?)```", re.DOTALL)


# the columns of a table of settings: whose values they are
COLUMNS = {
    "demo": {"dataset": "digits", "profile": "demo"},
    "quick": {"dataset": "cifar10", "profile": "quick"},
    "paper": {"dataset": "cifar10", "profile": "paper"},
    "paper, ImageNet": {"dataset": "imagenet", "profile": "paper"},
}


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> Iterator[tuple[str | None, str, str]]:
    """The marked or unmarked blocks of a page: mark, language, content."""
    for found in BLOCK.finditer(page.read_text()):
        yield found["mark"], found["language"], found["content"]


# Settings


def tables(page: Path) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Every table of a page with the heading above it; its rows by column."""
    heading, header = "", None
    rows: list[dict[str, str]] = []
    for line in chain(page.read_text().splitlines(), [""]):
        if line.startswith("#"):
            heading = line.lstrip("# ")
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            if rows:
                yield heading, rows
            header, rows = None, []
        elif header is None:
            header = cells
        elif set(line) - set("|-: "):
            rows.append(dict(zip(header, cells, strict=True)))


def shown(value: Any) -> str:
    """A value as the documentation writes it."""
    if value in (None, PydanticUndefined, "", ()):
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return ", ".join(map(shown, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


# Fields and figures


def fields_of(page: Path, heading: str, column: str) -> set[str]:
    rows = chain.from_iterable(rows for above, rows in tables(page) if above == heading and column in rows[0])
    return set(re.findall(r"`(\w+)`", " ".join(row[column] for row in rows)))
