"""One progress bar for all long work, on standard error: the time left, or in a log a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

console = Console(stderr=True)
LOG_EVERY = 30.0  # seconds between lines where there is no terminal


def say(text: str, style: str = "yellow") -> None:
    """A line for the user on standard error, as it is; yellow where it warns."""
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """A bar of `total` steps, `done` of them finished before; the function it gives advances by one, with a remark."""
    bar = _terminal_bar if console.is_terminal else _log_lines
    with bar(title, total, done) as advance:
        yield advance


@contextmanager
def _terminal_bar(title: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=console) as bars:
        task = bars.add_task(title, total=total, completed=done, remark="")

        def advance(remark: str) -> None:
            bars.update(task, advance=1, remark=remark)

        yield advance


@contextmanager
def _log_lines(title: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
    begun = last = time.monotonic()
    count = done

    def advance(remark: str) -> None:
        nonlocal count, last
        count += 1
        now = time.monotonic()
        if now - last > LOG_EVERY or count == total:
            last = now
            left = (now - begun) / (count - done) * (total - count)
            console.print(f"{title}: {count}/{total}, {duration(left)} left {remark}", highlight=False)

    yield advance


def duration(seconds: float) -> str:
    """'40 s', '3 min' or '2.5 h'."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
