"""A disk that is full, that becomes read-only, or that fails once: at any write, a line; nothing lost; the same command
goes on. The disk is this process's: each of its writes beneath a folder can be told to fail."""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from helpers.chaos import contents, leftovers
from helpers.cli import call

from suite.networks.architectures import build
from suite.statistics.bounds import certified_radius

QUICK = ["--dataset", "digits", "--set", "batch_size=64", "--images", "3", "--n", "50", "--n0", "5", "--no-track"]
RUN = ["run", *QUICK, "--method", "baseline", "--epochs", "0.1"]
CERTIFY = ["certify", "--checkpoint", "c.pt", "--arch", "cnn", "--sigma", "0.2", *QUICK]
IMPORT = ["import", "l.tsv", "--board", "cifar10", "--method", "x", "--citation", "A. 2020", "--few", "--replace"]
IMPORT += ["--arch", "resnet20", "--board-root", "boards"]
NUMBERS = (errno.EIO, errno.ENOSPC, errno.EROFS)
EVERY = int(os.environ.get("SUITE_DISK_EVERY", "0"))  # steps; of a run, a sixth is tried else
NEEDS_SPACE = {"write", "open", "os.mkdir", "os.link"}
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate", "os.utime"}
disk: Disk | None = None  # an audit hook stays for as long as the process: it asks what the disk is now


class Disk:
    """Notes the writes beneath a folder, and fails with an error number at one of them, and from it on unless EIO."""

    def __init__(self, root: Path, number: int = 0, at: int = -1):
        self.root, self.number, self.at = str(root), number, at
        self.steps: list[tuple[str, str]] = []

    def step(self, what: str, path: object) -> None:
        """On a full disk that works which needs no space."""
        if not str(path).startswith(self.root):
            return
        self.steps.append((what, str(path)))
        late = len(self.steps) - 1 - self.at if self.at >= 0 else -1
        full = self.number == errno.ENOSPC and (late == 0 or what in NEEDS_SPACE)
        if late == 0 or (late > 0 and (full or self.number == errno.EROFS)):
            raise OSError(self.number, os.strerror(self.number), str(path))

    def moments(self) -> list[int]:
        """The steps that differ: of the records of a file, the first two and the last."""
        found: dict[tuple[str, str], list[int]] = {}
        for number, step in enumerate(self.steps):
            found.setdefault(step, []).append(number)
        return sorted({number for numbers in found.values() for number in (*numbers[:2], numbers[-1])})


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    if disk and (event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))):
        path = arguments[0]
        disk.step(event, os.path.abspath(path) if isinstance(path, str | os.PathLike) else path)


class Written(io.FileIO):
    """A file whose writes the disk can refuse after half of them."""

    def write(self, content: Any) -> int:
        if disk:
            try:
                disk.step("write", os.path.abspath(str(self.name)))
            except OSError:
                super().write(bytes(content)[: len(content) // 2])
                raise
        return super().write(content)


def open_for_writing(file: Any, mode: str = "r", buffering: int = -1, *more: Any) -> Any:
    if disk is None or mode not in ("wb", "ab"):
        return OPEN(file, mode, buffering, *more)
    raw = Written(file, mode)
    return raw if buffering == 0 else io.BufferedWriter(raw)


def sync(number: int) -> None:
    if disk:
        disk.step("fsync", os.readlink(f"/proc/self/fd/{number}"))
    FSYNC(number)


OPEN, FSYNC = io.open, os.fsync


@pytest.fixture(scope="module", autouse=True)
def watched() -> Iterator[None]:
    """An audit hook cannot be taken away: this one does nothing where there is no disk."""
    sys.addaudithook(watch)
    with patch("io.open", open_for_writing), patch("os.fsync", sync):
        yield


@contextmanager
def on(made: Disk) -> Iterator[Disk]:
    global disk
    disk = made
    try:
        yield made
    finally:
        disk = None


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What commands begin with: a finished run, a checkpoint, boards with older rows."""
    root = tmp_path_factory.mktemp("before")
    torch.save(build("cnn", 10, (1, 8, 8), (0.5,), (0.5,)).state_dict(), root / "c.pt")
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        assert call(*RUN).code == 0
        [finished] = root.glob("runs/baseline*seed0*")
        assert call("publish", finished.name, "--board-root", "boards").code == 0
        kept = root / "boards" / "runs" / finished.name / "result.json"
        kept.write_text(kept.read_text().replace('"date": "2', '"date": "1'))
        for n, sigma in ((1_000, 0.25), (100_000, 1.0)):
            radius = certified_radius(n - 9, n, 0.001, sigma)
            lines = [f"{i}\t{i % 10}\t{i % 10}\t{radius:.6f}\t1\t0.1" for i in range(20)]
            Path("l.tsv").write_text("\n".join(["idx\tlabel\tpredict\tradius\tcorrect\ttime", *lines]) + "\n")
            if n == 1_000:
                assert call(*IMPORT, "--n", "1000", "--sigma", "0.25").code == 0
    return root


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "every"),
    [
        ([*RUN, "--seed", "1"], 11),
        (RUN, 7),
        (CERTIFY, 11),
        ([*IMPORT, "--n", "100000", "--sigma", "1.0"], 1),
        (["publish", "RUN", "--board-root", "boards"], 2),
    ],
    ids=["run", "resume", "certify", "import", "publish"],
)
def test_a_disk_that_fails_loses_nothing(
    before: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], every: int
) -> None:
    start = tmp_path / "start"
    shutil.copytree(before, start)
    [finished] = start.glob("runs/baseline*seed0*")
    words = [finished.name if word == "RUN" else word for word in words]
    if words == RUN:
        (finished / "result.json").unlink()
        for file in finished.glob("*.jsonl"):
            file.write_bytes(file.read_bytes()[:-5])
    old = {file.relative_to(start): file.read_bytes() for file in start.rglob("*") if file.is_file()}
    shutil.copytree(start, tmp_path / "whole")
    monkeypatch.chdir(tmp_path / "whole")
    with on(Disk(tmp_path)) as undisturbed:
        assert call(*words).code == 0
    wanted = contents(tmp_path / "whole")
    for at in undisturbed.moments()[:: EVERY or every]:
        for number in NUMBERS if EVERY else NUMBERS[at % 3 :][:1]:
            folder = tmp_path / "disturbed"
            shutil.copytree(start, folder)
            monkeypatch.chdir(folder)
            with on(Disk(folder, number, at)) as disk:
                code, _, err = call(*words)
            assert len(disk.steps) > at
            about = f"{os.strerror(number)} at step {at}, {disk.steps[at]}"
            said = [line for line in err.splitlines() if line.startswith("suite: ")]
            if code:  # else it was a folder that was there already
                assert (code, len(said), err.splitlines()[-1:]) == (2, 1, said), f"{about}: {code}, {err}"
                assert ("the disk is full" if number == errno.ENOSPC else os.strerror(number)) in said[0], about
            for file, content in old.items():
                whole_lines = content[: content.rfind(b"\n") + 1] if file.suffix == ".jsonl" else content
                there = (folder / file).read_bytes() if (folder / file).exists() else b""
                is_kept = there.startswith(whole_lines)
                assert is_kept or contents(folder).get(str(file)) == wanted.get(str(file)), f"{about}: {file}"
            bury(folder)
            code, _, err = call(*words)
            assert code == 0, f"{about}: {err}"
            assert contents(folder) == wanted, about
            assert not leftovers(folder), about
            shutil.rmtree(folder)


def bury(folder: Path) -> None:
    """What this process left, as if it had died: no process has the number 2²² + 1."""
    own, dead = str(os.getpid()), str(2**22 + 1)
    for left in sorted(folder.rglob(f".{own}@*"), reverse=True):
        left.rename(left.with_name(left.name.replace(f".{own}@", f".{dead}@")))
    for held in folder.rglob(".*.held"):
        held.write_text(held.read_text().replace(own, dead))
