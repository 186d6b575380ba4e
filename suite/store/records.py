"""Records: one JSON object a line, each written as it is made."""

from __future__ import annotations

import errno
import json
import lzma
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd

from suite.errors import MISFIT, UserError
from suite.store.files import write_atomically


def read_records(path: Path) -> pd.DataFrame:
    """All whole records of a file or of its compressed form, FILE.xz, by idx; none where there is neither.

    UserError where a line is damaged.
    """
    packed = path.with_name(f"{path.name}.xz")
    try:
        text = path.read_text() if path.exists() else lzma.decompress(packed.read_bytes()).decode()
    except FileNotFoundError:
        text = ""
    except (lzma.LZMAError, EOFError, ValueError) as error:
        raise UserError(f"{packed if packed.exists() else path} is damaged: {error}") from error
    lines = text.splitlines(keepends=True)
    records = [record(path, number, line) for number, line in enumerate(lines, start=1) if line.endswith("\n")]
    return pd.DataFrame(records).sort_values("idx", ignore_index=True) if records else pd.DataFrame({"idx": []})


def record(path: Path, number: int, line: str | bytes) -> dict[str, Any]:
    """A line of a file of records; UserError, naming the line, where it is none."""
    try:
        found = json.loads(line)
        content: dict[str, Any] = found | {"idx": int(found["idx"])}
        return content
    except MISFIT as error:
        raise UserError(f"{path}, line {number} is damaged; remove that line to go on") from error


def read_lines(path: Path, begin: int = 0) -> list[dict[str, Any]]:
    """The whole records of a file that is being written, in its order, but for the first ones; none without a file."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return [
        record(path, number, line)
        for number, line in enumerate(lines, start=1)
        if number > begin and line.endswith(b"\n")
    ]


def sort_records(path: Path) -> None:
    """Put whole records into the order of their images; a file that has it is left alone."""
    lines = path.read_bytes().splitlines(keepends=True)
    images = [record(path, number, line)["idx"] for number, line in enumerate(lines, start=1)]
    if images != sorted(images):
        by_image = sorted(zip(images, lines, strict=True), key=lambda pair: pair[0])
        write_atomically(path, b"".join(line for _, line in by_image))


class RecordFile:
    """Records, one JSON object a line, written as they are made.

    Each survives a kill as soon as it is written, a power failure within SYNC_EVERY. Opening the file again drops a
    line that a kill left unfinished; `done` are the `idx` of the whole ones.
    """

    SYNC_EVERY = 0.2  # seconds

    def __init__(self, path: Path):
        self.path = path
        self.done: set[int] = set()
        whole = 0
        for number, line in enumerate(path.open("rb") if path.exists() else (), start=1):
            if not line.endswith(b"\n"):
                break
            self.done.add(record(path, number, line)["idx"])
            whole += len(line)
        self._file = path.open("ab", buffering=0)
        if self._file.tell() != whole:  # leave a whole file alone to the byte, and to its date
            self._file.truncate(whole)
        self._synced = time.monotonic()

    def write(self, record: dict[str, Any]) -> None:
        """Append one record. Raises OSError where the disk is full; the records before stay whole."""
        line = (json.dumps(record) + "\n").encode()
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        if time.monotonic() - self._synced > self.SYNC_EVERY:
            self.sync()

    def sync(self) -> None:
        """Have what was written survive a power failure."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sync()
        self._file.close()
