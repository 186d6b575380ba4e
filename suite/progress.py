"""What long work says on standard error, and in a log file where one is asked for: lines, bars, the time left."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from suite.errors import UserError

console = Console(stderr=True)
LOG_EVERY = 30.0  # seconds between lines where there is no terminal
FIRST_AFTER = 4.0  # seconds until the first of them that knows a time
SILENCE = 3.0  # seconds after which a command that has said nothing yet says that it is loading
ENOUGH = 0.01  # of the steps are made before a time left is said
COUNTS = {"counts": True}  # marks the lines that a bar takes the place of


class OnConsole(logging.Handler):
    """Lines as they are; yellow where they warn. At level WARNING no bar is shown either."""

    silent = True

    def emit(self, record: logging.LogRecord) -> None:
        self.silent = False
        if not (hasattr(record, "counts") and console.is_terminal):
            style = "yellow" if record.levelno >= logging.WARNING else ""
            console.print(
                visible(self.format(record)), style=style, highlight=False, markup=False, emoji=False, soft_wrap=True
            )


class InFile(logging.FileHandler):
    """Lines in a file. One that takes no more, as on a full disk, is said once and then left alone."""

    def handleError(self, record: logging.LogRecord) -> None:
        logger.removeHandler(self)
        logger.warning(f"the log {self.baseFilename} takes no more: {sys.exc_info()[1]}")


logger = logging.getLogger("suite")
logger.setLevel(logging.DEBUG)
logger.propagate = False
on_console = OnConsole(logging.INFO)
logger.addHandler(on_console)


def _break_silence() -> None:
    if on_console.silent:
        logger.info("loading: libraries, and the images")


@contextmanager
def verbosity(level: int, file: Path | None) -> Iterator[None]:
    """Lines from `level` on are on the console meanwhile; all of them are added to `file`, with their times.

    Raises UserError where it cannot be written.
    """
    try:
        handler = InFile(file, encoding="utf-8", errors="backslashreplace") if file else logging.NullHandler()
    except OSError as error:
        raise UserError(f"cannot write the log {file}: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    on_console.silent = True
    loading = threading.Timer(SILENCE, _break_silence)
    loading.daemon = True
    loading.start()
    logger.addHandler(handler)
    before = on_console.level
    on_console.setLevel(level)
    try:
        yield
    except BaseException as error:
        handler.handle(
            logger.makeRecord("suite", logging.ERROR, "", 0, f"ended: {error or type(error).__name__}", (), None)
        )
        raise
    finally:
        loading.cancel()
        on_console.setLevel(before)
        logger.removeHandler(handler)
        with suppress(OSError):
            handler.close()


@contextmanager
def progress(title: str, total: int, done: int = 0, follows: float = 0.0) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps, `done` of them finished before; the function it gives advances by one, with a remark.

    `follows` is how long the work after it takes, as a multiple of the time that all of its own steps take.
    """
    begun = said = time.monotonic()
    pause, count = FIRST_AFTER, done
    logger.info(f"{title}: {done}/{total}", extra=COUNTS)
    with _bar(title, total, done) as update:

        def advance(remark: str) -> None:
            nonlocal said, pause, count
            count += 1
            now = time.monotonic()
            step = (now - begun) / (count - done)
            left = f", {duration(step * (total - count))} left"
            if (then := step * total * follows) > 1:
                left += f", then {duration(then)}"
            if count - done < max(2, ENOUGH * (total - done)) and count < total:
                left = ""  # the first steps take longer than others
            update(left.removeprefix(", "), remark)
            if now - said > pause or count == total:
                said, pause = now, LOG_EVERY
                logger.info(f"{title}: {count}/{total}{left} {remark}".rstrip(), extra=COUNTS)

        yield advance


@contextmanager
def _bar(title: str, total: int, done: int) -> Iterator[Callable[[str, str], None]]:
    if not console.is_terminal or on_console.level > logging.INFO:
        yield lambda left, remark: None
        return
    columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
    columns += [TextColumn("{task.fields[left]}"), TextColumn("{task.fields[remark]}")]
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(title, total=total, completed=done, left="", remark="")
        yield lambda left, remark: bars.update(task, advance=1, left=left, remark=remark)


def visible(text: str) -> str:
    """A line of text in which characters that control a terminal, or reorder what it shows, are written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def duration(seconds: float) -> str:
    """'40 s', '3 min' or '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def megabytes(size: int) -> str:
    """Bytes as '1.2 MB' or '0.4 kB'."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{size / 1e3:.1f} kB"
