"""The command line: what it prints, and what it says to mistakes: one line, exit code 2, nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.cli import Cli, call, tiny
from helpers.first import first_rows
from helpers.known import records_file

from suite import data as datasets
from suite.cli.main import interrupt_again
from suite.errors import UserError

LIBRARIES = {"torch", "numpy", "pandas", "scipy", "mlflow", "optuna", "streamlit"}
FEW = ("--epochs", "0.1", "--n", "20", "--images", "1", "--no-track")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said", "heavy"),
    [
        (("--help",), "leaderboard", LIBRARIES),
        (("leaderboard", "imagenet", "--format", "csv"), "randomized-smoothing", {"torch", "scipy.stats", "mlflow"}),
        (("run", "--method", "baseline", "--dataset", "digits", *FEW), "baseline-digits", {"torch._dynamo", "mlflow"}),
    ],
    ids=["help", "leaderboard", "run"],
)
def test_what_a_command_does_not_import(words: tuple[str, ...], said: str, heavy: set[str], tmp_path: Path) -> None:
    """Seconds of its time hang on that; a busy machine tells nothing about the time itself."""
    program = f"import sys; from suite.cli.main import main; sys.argv = {['suite', *words]}\n"
    told = "try: main()\nfinally: print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program + told], capture_output=True, text=True, cwd=tmp_path)
    assert said in ran.stdout, ran.stderr
    assert heavy.isdisjoint(ran.stdout.split())


@pytest.mark.slow
def test_a_run_prints_its_row_and_where_to_look(suite: Cli, finished: Path) -> None:
    code, out, _ = suite(*tiny(finished))
    assert code == 0
    assert "certified accuracy at r = 0.1" in out
    assert "suite leaderboard digits" in out
    code, out, _ = suite(*tiny(finished), "--format", "json")
    row = json.loads(out)
    assert (code, row["method"], row["images"], row["n"]) == (0, "heat", 30, 100)
    assert records_file(Path(row["folder"]), "certify").read_text().count("\n") == 30


def test_the_leaderboard_prints_and_exports(suite: Cli, finished: Path) -> None:
    code, out, _ = suite("leaderboard", "digits", "--runs", str(finished))
    assert code == 0
    assert "heat" in out
    assert "abstentions wrong" in out
    code, out, _ = suite("leaderboard", "digits", "--runs", str(finished), "--format", "json")
    [row] = json.loads(out)["rows"]
    assert (row["method"], row["seeds"]) == ("heat", [0])
    assert "no finished run" in suite.mistake("leaderboard", "svhn", "--runs", str(finished))
    assert "no finished run" in suite.mistake("leaderboard", "cifar10", "--no-published", "--runs", str(finished))


@pytest.mark.slow
def test_boards_are_written_filtered_and_sorted(suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("leaderboards.published.PUBLISHED", tmp_path / "none")
    root = ["--board-root", str(first_rows(tmp_path))]
    board, file = ["leaderboard", "cifar10", "--runs", str(tmp_path), *root], tmp_path / "board.csv"
    for form in ("json", "csv", "markdown", "latex", "html"):
        assert suite(*board, "--format", form, "--out", str(file)) == (0, "", "")
        assert "randomized-smoothing" in file.read_text()
    code, out, _ = suite(*board, "--sigma", "0.5", "--method", "smoothadv", "--sort", "0.25")
    assert (code, out.count("resnet110")) == (0, 1)
    assert "\n2 smoothadv" in out  # second among all comparable rows
    assert "smoothadv, stability; sigma: 0.1, 0.12" in suite.mistake(*board, "--method", "smothadv")
    assert "there are: acr, p_a, clean, 0.05" in suite.mistake(*board, "--sort", "0.3")
    assert "besides table" in suite.mistake(*board, "--out", str(file))
    assert "cannot be written" in suite.mistake(*board, "--format", "csv", "--out", str(tmp_path / "no" / "file"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "result.json").write_text("{")
    code, out, err = suite(*board)
    assert (code, out.count("resnet110"), err.count("\n")) == (0, 9, 1)
    assert "mine/result.json is damaged" in err


def test_published_logs_are_imported_and_shown(suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, root = tmp_path / "cnn_noise_0.25_sigma_0.25.tsv", tmp_path / "boards"
    label = int(datasets.load("digits").test.labels[0])

    def write(said: int) -> None:
        log.write_text(f"idx\tlabel\tpredict\tradius\tcorrect\ttime\n0\t{said}\t{said}\t0.953\t1\t0:00:14.5\n")

    write(label)
    reference = ["--method", "mine", "--citation", "A. Author. A Title. A Venue, 2021.", "--board-root", str(root)]
    assert "has 1 images" in suite.mistake("import", str(log), "--board", "digits", *reference)
    command = ["import", str(log), "--board", "digits", "--few", *reference]
    assert "alpha = 0.001 fits every radius" in suite.mistake(*command, "--alpha", "0.05")
    code, out, _ = suite(*command)
    assert (code, "mine-cnn_noise_0.25_sigma_0.25: 1 images" in out) == (0, True)
    assert "radii too coarse to check" in out
    assert "labels as in scikit-learn's load_digits" in out
    write((label + 1) % 10)
    assert f"line 2: label {(label + 1) % 10} of image 0, whose label is {label} in" in suite.mistake(*command)
    write(label)
    [again] = json.loads(suite(*command, "--format", "json")[1])
    assert (again["images"], again["new"]) == (1, False)
    board = ["leaderboard", "digits", "--runs", str(tmp_path), "--board-root", str(root)]
    [row] = json.loads(suite(*board, "--format", "json")[1])["rows"]
    assert (row["source"], row["n"], row["alpha"], row["acr"]) == ("published", 100_000, 0.001, 0.953)
    assert (row["seeds"], row["clean_accuracy"]) == ([], None)
    monkeypatch.chdir(tmp_path)
    [same] = json.loads(suite(*shlex.split(row["command"])[1:], "--board-root", str(root), "--format", "json")[1])
    assert not same["new"]
    assert "[1] the log stops at image 0 of 500" in suite(*board)[1]
    assert "no finished run" in suite.mistake(*board, "--no-published")


def test_the_board_of_a_fresh_clone_has_the_published_rows(suite: Cli, tmp_path: Path) -> None:
    for dataset, logs, runs in (("cifar10", 113, 41), ("imagenet", 43, 0)):
        code, out, _ = suite("leaderboard", dataset, "--runs", str(tmp_path / "none"))
        recorded = out.partition("figures typed from papers")[0]
        own = re.findall(r"(?:airbench|airbench-w32|lipschitz-small|lipschitz-medium) +(?:vote|margin) ", recorded)
        assert (code, recorded.count("resnet"), len(own)) == (0, logs, runs)
        assert "Certified Adversarial Robustness via Randomized Smoothing" in out


def test_lists(suite: Cli) -> None:
    assert {entry["name"] for entry in json.loads(suite("methods", "--format", "json")[1])} >= {"baseline", "heat"}
    assert {entry["name"] for entry in json.loads(suite("datasets", "--format", "json")[1])} >= {"digits", "cifar10"}
    assert "kappa=10" in suite("methods")[1]
    deployed = {entry["name"]: entry["deployed"] for entry in json.loads(suite("methods", "--format", "json")[1])}
    assert (deployed["heat"], deployed["smoothadv"]) == ("pass", "vote")


def test_architectures_say_their_width_and_whether_they_have_a_bound(suite: Cli) -> None:
    found = {entry["name"]: entry for entry in json.loads(suite("architectures", "--format", "json")[1])}
    assert found.keys() >= {"cnn", "airbench", "resnet{D}", "wide-resnet-{D}-{K}", "resnet50", "lipschitz-small"}
    known = {"cnn": (None, False), "resnet{D}": (16, False), "airbench": (64, False), "lipschitz-medium": (48, True)}
    assert {name: (found[name]["width"], found[name]["lipschitz"]) for name in known} == known
    assert "He et al. 2016" in found["resnet{D}"]["summary"]
    line = next(line for line in suite("architectures")[1].splitlines() if "lipschitz-large" in line)
    assert line.split()[-2:] == ["96", "yes"]
    assert "see 'suite architectures'" in " ".join(suite("run", "--help")[1].replace("│", " ").split())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"method": "haet"}, "did you mean 'heat'?"),
        ({"dataset": "cifar11"}, "did you mean 'cifar10"),
        ({"kapa": 3}, "did you mean 'kappa'?"),
        ({"training.momentun": 0.5}, "did you mean 'momentum'?"),
        ({"start.training.epoch": 1}, "did you mean 'epochs'?"),
        ({"method": "baseline"}, "'start.training.epochs': baseline starts from no other model"),
        ({"trainin.lr": 1}, "unknown setting 'trainin.lr'"),
        ({"arch": "resnet9"}, "a depth of 6n + 2, from 8"),
        ({"profile": "quik"}, "did you mean 'quick'?"),
        ({"protocols": "certfy"}, "did you mean 'certify'?"),
        ({"sigma": -1}, "sigma"),
        ({"sigma": "nan"}, "sigma"),
        ({"alpha": 1}, "alpha"),
        ({"n": 9}, "the smallest n that works is 10"),
        ({"n": "many"}, "'--n'"),
        ({"kappa": 0}, "kappa"),
        ({"epochs": 0}, "epochs"),
        ({"augmentation": "cutmix"}, "unknown augmentation"),
        ({"top": 10}, "top-10 rule"),
    ],
)
def test_mistaken_settings(suite: Cli, tmp_path: Path, changed: dict[str, Any], said: str) -> None:
    assert said in suite.mistake(*tiny(tmp_path, **changed))


def test_other_mistakes(suite: Cli, tmp_path: Path) -> None:
    assert "did you mean" in suite.mistake("rnu").lower()
    assert "--method" in suite.mistake("run", "--dataset", "digits")
    assert "KEY=VALUE" in suite.mistake(*tiny(tmp_path), "--set", "kappa")
    assert "is not available" in suite.mistake(*tiny(tmp_path), "--device", "tpu9")


def test_absent_data_names_the_places_and_layouts(suite: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    import torchvision

    def offline(*arguments: Any, **named: Any) -> None:
        raise URLError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", offline)
    monkeypatch.setattr(torchvision.datasets.cifar, "download_and_extract_archive", offline)
    said = suite.mistake("run", "--method", "baseline", "--dataset", "cifar10", "--data-root", str(tmp_path))
    assert str(tmp_path) in said
    for layout in ("cifar-10-batches-py", "parquet", "train"):
        assert layout in said


def test_a_folder_that_belongs_to_another_spec(suite: Cli, finished: Path, tmp_path: Path) -> None:
    import shutil

    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    [spec] = runs.glob("heat-*/spec.json")
    spec.write_text(spec.read_text().replace('"seed": 0', '"seed": 7', 1))
    said = suite.mistake(*tiny(runs))
    assert "belongs to another spec (seed: 7 there, 0 here)" in said
    [records] = runs.glob("heat-*/certify-*.jsonl")
    assert records.read_text().count("\n") == 30


@pytest.mark.parametrize("kind", ["damaged", "rubbish", "code", "other architecture"])
def test_a_checkpoint_that_is_none(suite: Cli, finished: Path, tmp_path: Path, kind: str) -> None:
    import shutil

    from safetensors.torch import save_file

    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    [checkpoint] = runs.glob("heat-*/model.safetensors")
    whole = checkpoint.read_bytes()
    if kind == "damaged":
        checkpoint.write_bytes(whole[: len(whole) // 2])
    elif kind == "rubbish":
        checkpoint.write_bytes(b"not a checkpoint at all")
    elif kind == "code":
        checkpoint.write_bytes(pickle.dumps({"state_dict": Code()}))
    else:
        save_file({"weight": torch.zeros(3)}, checkpoint)
    said = suite.mistake(*tiny(runs))
    assert str(checkpoint) in said
    assert "remove the file and run the same command again" in said
    assert not (tmp_path / "executed").exists()
    [records] = runs.glob("heat-*/certify-*.jsonl")
    assert records.read_text().count("\n") == 30


def test_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(suite: Cli, tmp_path: Path) -> None:
    said = suite.mistake(*tiny(tmp_path, **{"start.training.lr": 1e20}))
    assert "diverged" in said
    assert "try a lower lr than 1e+20" in said
    [checkpoint] = tmp_path.glob("models/baseline-*/training.pt")
    state = torch.load(checkpoint, weights_only=True)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in state["model"].values())


@pytest.mark.slow
def test_a_full_disk(suite: Cli, tmp_path: Path) -> None:
    """On a small file system of its own, filled up."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this needs the right to mount a file system")
    try:
        suite.capsys.readouterr()
        first = [*tiny(disk, images=5), "--format", "json"]
        assert suite(*first)[0] == 0
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            for _ in range(3 * 2**20 // 4096):
                file.write(b"x" * 4096)
        said = suite.mistake(*tiny(disk, images=500))
        assert "the disk is full" in said
        assert "run the same command again" in said
        filler.unlink()
        assert suite(*tiny(disk, images=500))[0] == 0
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_an_interrupt_within_a_destructor_is_not_lost(capsys: pytest.CaptureFixture[str]) -> None:
    """Python would print a traceback of it and go on."""

    class Interrupted:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    class Broken:
        def __del__(self) -> None:
            raise ValueError("broken")

    def collect(kind: type, seconds: float = 0.0) -> None:
        kind()
        time.sleep(seconds)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which processes of the tests may ignore
    before, sys.unraisablehook = sys.unraisablehook, interrupt_again
    begun = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            collect(Interrupted, seconds=30)
        assert time.monotonic() - begun < 10
        assert capsys.readouterr().err == ""
        collect(Broken)
        assert "ValueError: broken" in capsys.readouterr().err
    finally:
        sys.unraisablehook = before
        signal.signal(signal.SIGINT, handler)


def test_ctrl_c_in_a_database_is_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that is interrupted in the middle of a question may fail to clean up after it, with another error."""

    def command(*arguments: object, **options: object) -> None:
        try:
            try:
                raise KeyboardInterrupt
            finally:
                raise ValueError("can't change 'autocommit' now: connection in transaction status ACTIVE")
        except ValueError as error:
            raise UserError("cannot use the storage") from error

    monkeypatch.setattr("suite.cli.main.app", command)
    assert call("tune") == (130, "", "interrupted; the same command goes on from here\n")


def test_ctrl_c_in_mlflow_is_no_run_that_was_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def log(*_: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise ValueError("can't change 'autocommit' now: connection in transaction status ACTIVE")

    pytest.importorskip("mlflow")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text("{}")
    monkeypatch.setattr("suite.store.mlflow.send.log", log)
    assert call("sync", "--runs", str(tmp_path)) == (130, "", "interrupted; the same command goes on from here\n")
