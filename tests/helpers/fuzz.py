"""What fuzzing shares: how many examples, a call of the command line whose streams are a terminal's, a watch on writes.

SUITE_FUZZ multiplies the number of examples. A test that fails prints what reproduces it.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from helpers.cli import Answer
from suite.cli import main as cli
from suite.errors import UserError

TIMES = float(os.environ.get("SUITE_FUZZ", "1"))
QUICK = (
    *("run", "--method", "baseline", "--dataset", "digits", "--profile", "demo", "--epochs", "0.1", "--no-track"),
    *("--sigma", "0.25", "--images", "4", "--n0", "5", "--n", "50"),
)
RESTRICTED = "nothing is trained or served here"
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def examples(few: int) -> settings:
    """Hypothesis's settings for `few` examples, times SUITE_FUZZ: others in every call, without a time limit of each."""
    return settings(
        max_examples=max(1, round(few * TIMES)),
        deadline=None,
        derandomize=False,
        print_blob=True,
        database=None,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def call(*arguments: object, typed: str = "") -> Answer:
    """What the console script's function does with these arguments, with streams of bytes in UTF-8 as a terminal's."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    code: Any = None
    with (
        patch.object(sys, "argv", ["suite", *map(str, arguments)]),
        patch.object(sys, "stdin", io.StringIO(typed)),
        contextlib.redirect_stdout(streams[0]),
        contextlib.redirect_stderr(streams[1]),
    ):
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
    said = []
    for stream in streams:
        stream.flush()
        said.append(stream.buffer.getvalue().decode())  # type: ignore[attr-defined]
    return Answer(int(code or 0), said[0], said[1])


def assert_no_traceback(answer: Answer, *, found: bool = False) -> None:
    """Exit code 0, or 2 with one last line that says something; or 1, where a command says what it `found`."""
    assert answer.code in ((0, 1, 2) if found else (0, 2)), answer
    assert "Traceback" not in answer.err, answer
    if answer.code == 2:
        lines = [line for line in answer.err.splitlines() if line.startswith("suite: ")]
        assert len(lines) == 1, answer
        assert lines[0] == answer.err.splitlines()[-1], answer
        assert len(lines[0].removeprefix("suite: ").strip()) > 5, answer


class Watch:
    """What this process opens to write, makes, renames or removes outside of a folder, while it is on."""

    def __init__(self) -> None:
        self.on, self.inside, self.outside = False, "", list[str]()
        sys.addaudithook(self.hear)

    def hear(self, event: str, words: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            places = [words[0]] if isinstance(words[2], int) and words[2] & WRITES else []
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime"):
            places = [words[0]]
        elif event in ("os.rename", "os.link", "os.symlink"):
            places = [words[1]]
        else:
            return
        for place in places:
            if isinstance(place, str | bytes | os.PathLike):
                path = os.path.realpath(os.fsdecode(place))
                if not path.startswith(self.allowed()):
                    self.outside.append(f"{event} {path}")

    def allowed(self) -> tuple[str, ...]:
        temporary = os.path.join(tempfile.gettempdir(), "tmp")
        return (self.inside, "/dev/", "/proc/", os.environ["SUITE_CACHE"], temporary)

    @contextlib.contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        self.on, self.inside, self.outside = True, os.path.realpath(folder), []
        try:
            yield
        finally:
            self.on = False
        written = [each for each in self.outside if "__pycache__" not in each]
        assert not written, written


def snapshot(folder: Path) -> dict[Path, bytes]:
    """The content of all files beneath a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and not path.is_symlink()}


def restore(folder: Path, before: dict[Path, bytes]) -> None:
    """Make a folder hold what a snapshot of it says, and nothing else."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()) and not any(path in kept.parents for kept in before):
                path.rmdir()
        elif path not in before:
            path.unlink()
    for path, content in before.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def refuse(*_: Any, **__: Any) -> Any:
    """In the place of what takes long."""
    raise UserError(RESTRICTED)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
NONSENSE = st.sampled_from(
    [
        "", " ", "-", "--", "0", "-1", "1e999", "nan", "inf", "-inf", "1e-400", "9" * 400, "10" * 40, "0x10", "1_000",
        "None", "null", "true", "[]", "{}", "[red]", "[/red]", "[bold", "\x1b[31m", "\r\n", "\t", "a\nb", "\u202e", "é",
        "٣", "½", "σ", "🎉", "\udcff", "../..", ".", "/", "~", "*", "a" * 300, "a/" * 2000, "digits/..", "%s", "{x}",
        "$HOME", ",", "1,,2", "0.1,0.2,0.3", "1:2", "=", "a=b", ":", "::", "python:x", "x.py:", "timm:", "torchvision:",
        "file.py:Net", "resnet8-w0", "resnet8-w-1", "cnn-w99999999999999999999", "-w2", "hf://", "hf://a/b", "http://x/y",
    ]
) | TEXT  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | NONSENSE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
