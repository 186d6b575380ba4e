"""The layouts in which per-image logs are found: the lines of a file as fields by name, however they are separated.

Cohen et al.'s is a header and a line per image, separated by tabs. Others have commas, semicolons or spaces, more
columns, no time, blank lines, or a header that is repeated where a run went on.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import lzma
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from suite.errors import UserError

HEADER = ("idx", "label", "predict", "radius", "correct", "time")
NEEDED = HEADER[:5]  # a log may have no time


class Line(NamedTuple):
    """A line of a log: its number in the file, its fields by column, and whether a line end shows it to be whole."""

    number: int
    fields: list[str]
    whole: bool = True


@dataclass(frozen=True)
class Layout:
    """A file's lines, without blanks, below its columns; `headers` are the lines at which the header is repeated."""

    columns: tuple[str, ...]
    lines: list[Line]
    headers: list[int]
    sha256: str

    @property
    def others(self) -> tuple[str, ...]:
        """The columns that a log in Cohen et al.'s layout does not have."""
        return tuple(name for name in self.columns if name not in HEADER)


def read_layout(path: Path) -> Layout:
    """The lines of a file, packed (.xz) or not. UserError where it is no text, or has no header of a log."""
    try:
        content = unpacked(path)
        lines = [line.strip("\r\ufeff") for line in text_of(content).split("\n")]
    except (OSError, EOFError, UnicodeDecodeError, lzma.LZMAError) as error:
        raise UserError(f"{path} is no log to be read: {error}") from error
    found = ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
    number, header = next(found, (1, ""))
    separator = next((sign for sign in "\t,;" if sign in header), " ")
    columns = tuple(name.lower() for name in fields_of(header, separator))
    if missing := [name for name in NEEDED if name not in columns]:
        lacks = f"; it lacks {', '.join(missing)}" if len(missing) < len(NEEDED) else ""
        raise UserError(
            f"{path}, line {number}: the header is not '{' '.join(HEADER)}', separated by tabs, commas or spaces{lacks}"
        )
    if len(set(columns)) < len(columns):
        raise UserError(f"{path}, line {number}: the header names a column twice")
    layout = Layout(columns, [], [], hashlib.sha256(content).hexdigest())
    for number, line in found:
        fields = fields_of(line, separator)
        if fields[0].lower() == columns[0] and tuple(map(str.lower, fields)) == columns:
            layout.headers.append(number)
        else:
            layout.lines.append(Line(number, fields, whole=number < len(lines)))
    return layout


def unpacked(path: Path) -> bytes:
    """A file's bytes, as they were before xz packed them."""
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def text_of(content: bytes) -> str:
    """A file's text: UTF-8, or UTF-16 where its first bytes say so, without the mark of either."""
    utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if utf16 else "utf-8-sig")


def fields_of(line: str, separator: str) -> list[str]:
    """The fields of a line; those between commas or semicolons may be quoted."""
    if separator == "\t":
        return [field.strip(" ") for field in line.split("\t")] if " " in line else line.split("\t")
    if separator == " ":
        return line.split()
    return [field.strip() for field in next(quoted(line, separator), [])]


def quoted(line: str, separator: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader([line], delimiter=separator)
    except csv.Error:
        yield re.split(re.escape(separator), line)
