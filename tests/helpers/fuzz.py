"""What fuzzing shares: how many examples, a call of the command line whose streams are a terminal's, a watch on writes.

SUITE_FUZZ multiplies the number of examples. A test that fails prints what reproduces it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
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
    """Hypothesis's settings for `few` examples, the same in every call; with SUITE_FUZZ times as many, and others."""
    return settings(
        max_examples=max(1, round(few * TIMES)),
        deadline=None,
        derandomize="SUITE_FUZZ" not in os.environ,
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


def assert_kept(answer: Answer, row: str, named: str) -> None:
    """A board that has a row of this method, whatever was damaged; and the line that names a file which is left out."""
    assert answer.code == 0, answer
    assert row.replace("-", "") in answer.out.replace("-", "").replace("\\", ""), answer
    assert named in answer.err, answer


class Watch:
    """Refuses, and remembers, what this process writes, makes or removes outside of a folder while it is on."""

    def __init__(self) -> None:
        self.on, self.inside, self.outside = False, "", list[str]()
        sys.addaudithook(self.hear)

    def hear(self, event: str, words: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "open":
            places = [words[0]] if isinstance(words[2], int) and words[2] & WRITES else []
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "sqlite3.connect"):
            places = [words[0]]
        elif event in ("os.rename", "os.link", "os.symlink"):
            places = [words[1]]
        else:
            return
        for place in places:
            if isinstance(place, str | bytes | os.PathLike) and place != ":memory:":
                path = os.path.realpath(os.fsdecode(place))
                if not path.startswith(self.allowed()):
                    self.outside.append(f"{event} {path}")
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    def allowed(self) -> tuple[str, ...]:
        temporary = tuple(os.path.join(tempfile.gettempdir(), name) for name in ("tmp", "torchinductor_"))
        return (self.inside, "/dev/", "/proc/", os.environ["SUITE_CACHE"], *temporary)

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
        "٣", "½", "σ", "🎉", "\udcff", "../..", ".", "~", "*", "a" * 300, "a/" * 2000, "digits/..", "%s", "{x}",
        "$HOME", ",", "1,,2", "0.1,0.2,0.3", "1:2", "=", "a=b", ":", "::", "python:x", "x.py:", "timm:", "torchvision:",
        "file.py:Net", "resnet8-w0", "resnet8-w-1", "cnn-w99999999999999999999", "-w2", "hf://", "hf://a/b", "http://x/y",
    ]
) | TEXT  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | NONSENSE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


OTHER = [b"\xff\xfe", b"<html>", b"[" * 100_000, b"null", b"[]", b"{}", b'{"a":' * 50_000, b"\0" * 512, b"9" * 5000]
OTHER += [b"NaN", b"\n", b'""', b"PK\x03\x04", b"version https:"]


@st.composite
def bytes_changed(draw: st.DrawFn, content: bytes) -> bytes:
    """What a bad disk, a bad copy or an editor makes of a file."""
    size = len(content)
    what = draw(
        st.sampled_from(["flip", "flip", "cut", "behead", "empty", "insert", "double", "zeros", "middle", "other"])
    )
    if what == "flip":
        changed = bytearray(content or b"\0")
        for _ in range(draw(st.integers(1, 4))):
            changed[draw(st.integers(0, len(changed) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    first, last = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    rest = {
        "cut": content[:first], "behead": content[first:], "empty": b"", "double": content + content,
        "insert": content[:first] + draw(st.binary(min_size=1, max_size=9)) + content[first:],
        "zeros": content[:first] + bytes(last - first) + content[last:], "middle": content[:first] + content[last:],
        "other": draw(st.sampled_from(OTHER)),
    }  # fmt: skip
    return rest[what]


RAW = [
    "NaN",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "-0",
    "[" * 5000 + "]" * 5000,
    "1e-400",
    '"\\ud800"',
    '"\\u0000"',
    "0.1e",
]


@st.composite
def json_changed(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON text one of whose values, at any depth, is another one, is not there, or has another name."""
    tree = json.loads(content)
    places = [()]
    for place in places:  # which grows
        inner = at(tree, place)
        if isinstance(inner, dict | list):
            places += [(*place, key) for key in (inner if isinstance(inner, dict) else range(len(inner)))]
    place = draw(st.sampled_from(places))
    marker = "<here>"
    what = draw(st.sampled_from(["value", "value", "raw", "gone", "renamed", "same kind"]))
    if not place:
        return json.dumps(draw(VALUES)).encode(errors="surrogatepass")
    home, key = at(tree, place[:-1]), place[-1]
    if what == "gone":
        del home[key]
    elif what == "renamed" and isinstance(home, dict):
        home[draw(TEXT)] = home.pop(key)
    elif what == "same kind" and isinstance(home[key], int | float):
        home[key] = draw(st.sampled_from([0, -1, 1, 2, 0.5, 1e300, 10**18, 10**30, -0.0, 5e-324]))
    elif what == "raw":
        home[key] = marker
    else:
        home[key] = draw(VALUES)
    return json.dumps(tree).replace(json.dumps(marker), draw(st.sampled_from(RAW))).encode(errors="surrogatepass")


def at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree


@st.composite
def lines_changed(draw: st.DrawFn, content: bytes, inside: Any = json_changed) -> bytes:
    """Lines of which one is changed, doubled, removed, cut or moved."""
    lines = content.splitlines(keepends=True)
    number = draw(st.integers(0, len(lines) - 1))
    what = draw(st.sampled_from(["inside", "inside", "inside", "double", "remove", "cut", "move", "blank"]))
    line = lines[number]
    changed = {
        "inside": lambda: [draw(inside(line)).rstrip(b"\n") + b"\n"],
        "double": lambda: [line, line],
        "remove": lambda: [],
        "cut": lambda: [line[: draw(st.integers(0, len(line)))]],
        "move": lambda: [],
        "blank": lambda: [draw(st.sampled_from([b"\n", b"\r\n", b" \n", b"\0\n"])), line],
    }[what]()
    moved = [line] if what == "move" else []
    return b"".join([*lines[:number], *changed, *lines[number + 1 :], *moved])


def changed(content: bytes, kind: str) -> st.SearchStrategy[bytes]:
    """A file of a kind, changed as bytes or as what it is."""
    own = {"json": json_changed, "jsonl": lines_changed, "toml": toml_changed}.get(kind)
    return bytes_changed(content) | own(content) | own(content) if own else bytes_changed(content)


TOML = [
    "nan",
    "-inf",
    "1e999",
    "9" * 5000,
    '""',
    '"\\u0000"',
    "[]",
    "{}",
    "true",
    "1979-05-27",
    "-1",
    "0",
    "0.5",
    '"vote"',
]
TOML += [
    "[1, 2]",
    '["a"]',
    "{a = 1}",
    "'[red]'",
    '"é"',
    "10000000000000000000000",
    "[" * 2000 + "]" * 2000,
    '"""',
    "= =",
]


@st.composite
def toml_line_changed(draw: st.DrawFn, line: bytes) -> bytes:
    name, equals, _ = line.partition(b"=")
    if draw(st.integers(0, 5)) == 0 or not equals:
        return draw(
            st.sampled_from([b"[x]", b"[[x]]", b"x = 1", b"= 1", b"\xff", name, b'"' + name.strip() + b'".a = 1'])
        )
    return name + b"= " + draw(st.sampled_from(TOML)).encode()


def toml_changed(content: bytes) -> st.SearchStrategy[bytes]:
    return lines_changed(content, toml_line_changed)


FIELDS = [
    "",
    "-1",
    "0",
    "1",
    "9",
    "10",
    "nan",
    "inf",
    "1e999",
    "9" * 400,
    "x",
    "0.5",
    "1e-3",
    "0:00:01",
    "-0",
    "٣",
    "1.",
    "\u202e",
]


@st.composite
def tab_line_changed(draw: st.DrawFn, line: bytes) -> bytes:
    fields = line.rstrip(b"\n").split(b"\t")
    place = draw(st.integers(0, len(fields) - 1))
    own = draw(st.sampled_from(FIELDS)).encode()
    return b"\t".join(
        [*fields[:place], *draw(st.sampled_from([[own], [own], [own], [], [own, own]])), *fields[place + 1 :]]
    )


def tabs_changed(content: bytes) -> st.SearchStrategy[bytes]:
    return lines_changed(content, tab_line_changed)
