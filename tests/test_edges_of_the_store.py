"""What a kill, a device in the place of a file, or a full disk must not do to what is kept."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import Cli

from leaderboards.published import published_rows
from leaderboards.published.kept import keep
from leaderboards.published.store import import_logs
from leaderboards.render.export import defused
from suite import RunSpec, run
from suite.errors import UserError
from suite.pipeline import Machine, memory_explained
from suite.progress import visible
from suite.statistics.bounds import certified_radius
from suite.store import files
from suite.store.files import exchange, replace_folder, write_atomically
from suite.store.inventory import unused

QUICK = {"method": "baseline", "dataset": "digits", "epochs": 0.2, "images": 4, "n": 50, "n0": 5}


class Killed(BaseException):
    """What no handler of the code catches, as SIGKILL."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    run(RunSpec(**QUICK), Machine(runs=tmp_path / "runs", track=False))
    return tmp_path / "runs"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


class Crashes:
    """Counts the calls of functions, and kills at the one of a number, before it or after it."""

    def __init__(self, at: int):
        self.at, self.calls = at, 0

    def count(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            raise Killed

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            self.count()
            found = real(*words, **more)
            self.count()
            return found

        return call


def test_a_kept_run_is_the_old_one_or_the_new_one_at_every_moment(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = next(store.glob("baseline*"))
    place, new = keep(folder, tmp_path / "root")
    assert new
    old = contents(place)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | {"note": "again"}))
    whole = old | {"result.json": (folder / "result.json").read_bytes()}
    names = ((Path, "replace"), (Path, "rename"), (Path, "mkdir"), (files, "exchange"), (files, "write_atomically"))
    for at in range(1, 100):
        shutil.rmtree(place)
        replace_folder(place, old)
        crashes = Crashes(at)
        with monkeypatch.context() as patched, suppress(Killed):
            for owner, name in names:
                patched.setattr(owner, name, crashes.wrap(getattr(owner, name)))
            keep(folder, tmp_path / "root")
        assert contents(place) in (old, whole), f"killed at call {at}"
        if crashes.calls < at:
            break
    assert at > 20
    assert contents(place) == whole


def test_two_folders_change_places_at_once_or_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "one", tmp_path / "other")
    assert ((tmp_path / "one" / "other").exists(), (tmp_path / "other" / "one").exists()) == (True, True)
    monkeypatch.setattr(files.ctypes, "CDLL", lambda *_, **__: object())
    exchange(tmp_path / "one", tmp_path / "other")
    assert ((tmp_path / "one" / "one").exists(), (tmp_path / "other" / "other").exists()) == (True, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "other"]


def test_an_environment_that_a_kill_prevented_is_made_by_the_next_run(store: Path) -> None:
    folder = next(store.glob("baseline*"))
    (folder / "environment.json").unlink()
    (folder / "result.json").unlink()
    run(RunSpec(**QUICK), Machine(runs=store, track=False))
    assert json.loads((folder / "environment.json").read_text())["data"]["title"] == "Digits"


def test_a_finished_run_is_left_alone_to_the_byte(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = next(store.glob("baseline*"))
    file = folder / "result.json"
    file.write_text(file.read_text().replace(json.loads(file.read_text())["date"], "2020-02-02"))
    before = contents(folder), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    run(RunSpec(**QUICK), Machine(runs=store, track=False))
    assert (contents(folder), {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}) == before
    run(RunSpec(**QUICK, protocols="accuracy,certify,attack", attack={"images": 1}), Machine(runs=store, track=False))
    assert json.loads(file.read_text())["date"] > "2026"  # it has a measurement of today


def test_a_link_is_followed_and_a_pipe_is_written_into(suite: Cli, store: Path, tmp_path: Path) -> None:
    target, link, pipe = tmp_path / "target.csv", tmp_path / "link.csv", tmp_path / "pipe"
    target.write_text("old")
    link.symlink_to(target)
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    for place in (link, pipe):
        code, _, err = suite("leaderboard", "digits", "--runs", store, "--format", "csv", "--out", place)
        assert code == 0, err
    assert link.is_symlink()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    text = target.read_bytes()
    assert b"baseline" in text
    assert os.read(reader, 10**6) == text
    os.close(reader)


def test_a_device_stays_one(tmp_path: Path) -> None:
    place = tmp_path / "null"
    try:
        os.mknod(place, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root may make a device")
    write_atomically(place, b"text")
    assert stat.S_ISCHR(place.stat().st_mode)


def test_a_folder_half_made_is_no_run_and_is_cleaned(store: Path) -> None:
    folder = next(store.glob("baseline*"))
    shutil.copytree(folder, store / f".123-{folder.name}.part")
    assert [path.name for path, _ in unused(store)] == [f".123-{folder.name}.part"]


LONG = "x" * 300
RUN = ("run", "--method", "baseline", "--dataset", "digits", "--epochs", 0.1, "--images", 2, "--n", 50, "--no-track")


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, "--runs", "/proc/x"),
        (*RUN, "--runs", "file"),
        ("experiment", "paper", "--dataset", "digits", "--method", "baseline", "--runs", "file"),
        ("certify", LONG),
        ("publish", LONG),
        ("show", LONG),
        ("sync", "--runs", LONG),
        ("report", "digits", "--runs", LONG),
        ("leaderboard", "digits", "--format", "json", "--out", "file/x.json"),
        ("leaderboard", "digits", "--format", "json", "--out", "."),
        ("illustrate", "--out", "file"),
        ("certify", "--checkpoint", f"{LONG}.pt", "--arch", "cnn", "--dataset", "digits", "--sigma", "0.2"),
        ("run", "--config", LONG),
        ("run", "--method", "baseline", "--dataset", f"./{LONG}"),
    ],
    ids=lambda words: " ".join(str(word)[:12] for word in words[:1] + words[-2:]),
)
def test_what_the_system_refuses_is_said_in_a_line(
    suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[object, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    said = suite.mistake(*words)
    assert len(said.strip().splitlines()) == 1, said


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ENOLCK, errno.EOPNOTSUPP, errno.EACCES])
def test_a_lock_or_a_disk_that_fails_is_said_in_a_line(
    suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), str(tmp_path / "runs" / "spec.json"))

    monkeypatch.setattr("suite.store.files.os.fsync", fail)
    said = suite.mistake(*RUN, "--runs", tmp_path / "runs")
    assert said == f"suite: {tmp_path / 'runs' / 'spec.json'}: {os.strerror(number)}"


@pytest.mark.parametrize(
    "said", ["CUDA out of memory. Tried to allocate 2 GiB", "DefaultCPUAllocator: can't allocate memory"]
)
def test_too_little_memory_names_the_batches_and_ends_one_run(
    suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr("suite.pipeline.measure", fail)
    error = suite.mistake(*map(str, RUN), "--runs", str(tmp_path), "--batch-size", "77")
    assert "not enough memory for baseline-digits" in error
    assert "lower --batch-size (now 77) or, if it was training, batch_size (now 64)" in error
    with pytest.raises(RuntimeError, match="another"), memory_explained(RunSpec(**QUICK), Machine()):
        raise RuntimeError("another error")


def test_names_with_characters_that_nobody_sees_are_refused(suite: Cli, tmp_path: Path) -> None:
    for hidden in ("\u202e", "\x1b[31m", "\n", "\u200b"):
        with pytest.raises(UserError, match=rf"U\+{ord(hidden[0]):04X} cannot be seen"):
            RunSpec(**QUICK | {"dataset": f"./mine{hidden}"})
    log = tmp_path / "resnet20_noise_0.25_sigma_0.25.tsv"
    log.write_text("idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t1\t1\t0.5\t1\t0:0:1\n")
    words = ["import", str(log), "--board", "cifar10", "--method", "x", "--citation", "A. \u202e 2020"]
    assert "citation: the character U+202E cannot be seen" in suite.mistake(*words, "--board-root", str(tmp_path))


def test_a_message_shows_what_would_control_the_terminal() -> None:
    assert visible("a\x1b[31m\nσ ℓ₂ …") == "a\\x1b[31m\\nσ ℓ₂ …"


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\tx", "\rx"])
def test_a_spreadsheet_computes_nothing(cell: str) -> None:
    assert defused(cell) == f"'{cell}"
    assert (defused("heat"), defused(-1.0), defused(None)) == ("heat", -1.0, None)


def test_a_terminal_that_is_not_utf8_gets_ascii(store: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-m", "suite", "leaderboard", "digits", "--runs", str(store)]
    ran = subprocess.run(command, capture_output=True, env=environment)
    assert (ran.returncode, ran.stderr) == (0, b"")
    text = ran.stdout.decode("ascii")
    assert "sigma = 0.25" in text
    assert "?" not in text


def test_a_row_is_the_old_one_or_the_new_one_wherever_an_import_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of n = 1,000 at σ = 0.25, or of n = 100,000 at σ = 1: no row has settings of one and radii of the other."""
    log, root = tmp_path / "l.tsv", tmp_path / "boards"

    def import_log(n: int, sigma: float) -> None:
        radius = float(certified_radius(n - 10, n, 0.001, sigma))
        lines = [f"{i}\t{i % 10}\t{i % 10}\t{radius:.6f}\t1\t0.1" for i in range(20)]
        log.write_text("\n".join(["idx\tlabel\tpredict\tradius\tcorrect\ttime", *lines]) + "\n")
        given = {"method": "x", "citation": "A. 2020", "arch": "resnet20", "top": 1}
        import_logs([log], "cifar10", root, replace=True, few=True, n=n, sigma=sigma, **given)

    def row() -> tuple[int | None, float]:
        [found] = published_rows("cifar10", root)
        return found.n, round(found.acr or 0.0, 4)

    import_log(1_000, 0.25)
    old = row()
    import_log(100_000, 1.0)
    new = row()
    assert (old[0], new[0]) == (1_000, 100_000)
    seen = set()
    for at in range(1, 40):
        import_log(1_000, 0.25)
        crashes = Crashes(at)
        with monkeypatch.context() as patched, suppress(Killed):
            for name in ("replace", "unlink", "mkdir"):
                patched.setattr(Path, name, crashes.wrap(getattr(Path, name)))
            import_log(100_000, 1.0)
        seen.add(row())
        if crashes.calls < at:
            break
    assert seen == {old, new}
    assert len(list((root / "cifar10").iterdir())) == 1


def test_what_a_shell_redirects_gets_the_content_after_what_it_has(tmp_path: Path) -> None:
    """`--out /dev/stdout >> all.csv`, `--out /dev/stdout | cat` and `--out >(cat)`."""
    program = (
        "from pathlib import Path; from suite.store.files import write_atomically as w; w(Path('/dev/stdout'), b'x')"
    )
    python = f'PYTHONPATH={Path(__file__).parents[1]} {sys.executable} -c "{program}"'
    (tmp_path / "all.csv").write_text("before ")
    for line in (f"{python} >> all.csv", f"{python} | cat > piped", f"{python} > fresh"):
        subprocess.run(["bash", "-c", line], cwd=tmp_path, check=True)
    assert [(tmp_path / name).read_text() for name in ("all.csv", "piped", "fresh")] == ["before x", "x", "x"]


def test_a_file_keeps_its_mode_and_a_loop_of_links_is_an_error(tmp_path: Path) -> None:
    file, loop = tmp_path / "file", tmp_path / "loop"
    file.touch()
    file.chmod(0o600)
    write_atomically(file, b"x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="symbolic link"):
        write_atomically(loop, b"x")
