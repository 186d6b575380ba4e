"""Several runs from one command, settings from a file, the plan of what is to be done, and what long work says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from time import sleep
from typing import Any

import pytest
import torch
from helpers.cli import TINY, Cli, options
from safetensors.torch import save_file

from suite import data as datasets
from suite import progress as module
from suite.cli.about import values_of
from suite.errors import UserError
from suite.networks.architectures import build
from suite.networks.weights import file_digest
from suite.progress import logger, progress, verbosity
from suite.spec.run_spec import RunSpec

QUICK = {"method": "baseline", "dataset": "digits", "profile": "demo", "epochs": 0.2, "n": 20, "images": 2}
PLAN = ("--dry-run", "--format", "json")


def planned(suite: Cli, *words: object) -> list[dict[str, Any]]:
    code, out, err = suite("run", *words, *PLAN)
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_a_run_for_each_seed_and_sigma(suite: Cli) -> None:
    given = {"method": "heat", "dataset": "digits"}
    plans = planned(suite, *options(given), "--seed", "0,1", "--sigma", "0.1,0.25", "--seed", "7")
    found = [(plan["spec"]["seed"], plan["spec"]["sigma"]) for plan in plans]
    assert found == [(seed, sigma) for seed in (0, 1, 7) for sigma in (0.1, 0.25)]


@pytest.mark.slow
def test_their_rows_come_as_they_finish_and_share_a_model(suite: Cli, tmp_path: Path) -> None:
    words = ["run", *options(QUICK), "--sigma", "0.1,0.25", "--runs", str(tmp_path), "--no-track", "--format", "json"]
    code, out, err = suite(*words)
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["sigma"] for row in rows] == [0.1, 0.25]
    assert len(list((tmp_path / "models").glob("baseline-*/model.safetensors"))) == 1
    assert "run 2 of 2" in err
    assert planned(suite, *options(QUICK), "--sigma", "0.25", "--runs", tmp_path)[0]["seconds"] == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seed", "0,x"], "--seed takes whole numbers, several with commas, not '0,x'"),
        (["--sigma", "0.1;0.2"], "--sigma takes numbers, several with commas, not '0.1;0.2'"),
        (["--sigma", "0.1,-1"], "sigma: Input should be greater than 0"),
        (["--seed", "1.5"], "--seed takes whole numbers"),
    ],
)
def test_lists_that_are_none(suite: Cli, words: list[str], said: str) -> None:
    assert said in suite.mistake("run", "--method", "heat", "--dataset", "digits", *words)


CONFIG = """
method = "heat"
dataset = "digits"
sigma = [0.1, 0.25]
lr = 0.02
training.epochs = 2
[certify]
n = 200
"""


def test_settings_come_from_a_file_and_options_go_before_them(suite: Cli, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text(CONFIG)
    plans = planned(suite, "--config", tmp_path / "my.toml", "--set", "training.lr=0.03", "--n", "150")
    specs = [RunSpec.from_json(plan["spec"]) for plan in plans]
    assert [spec.sigma for spec in specs] == [0.1, 0.25]
    assert {(spec.training.lr, spec.training.epochs, spec.certify.n) for spec in specs} == {(0.03, 2, 150)}
    alone = planned(suite, "--config", tmp_path / "my.toml", "--sigma", "0.5", "--method", "average")
    assert [(plan["spec"]["method"], plan["spec"]["sigma"]) for plan in alone] == [("average", 0.5)]


@pytest.mark.parametrize("given", [{}, {"kappa": 3, "n": 50}, {"start.training.epochs": 3}])
def test_the_settings_of_another_run_make_it_again(suite: Cli, tmp_path: Path, given: dict[str, Any]) -> None:
    spec = RunSpec(**TINY | {"seed": 4} | given).on(datasets.load("digits").fingerprint)
    (tmp_path / "spec.json").write_text(json.dumps(spec.to_json()))
    for file in (tmp_path / "spec.json", tmp_path):
        (plan,) = planned(suite, "--config", file)
        assert RunSpec.from_json(plan["spec"]) == spec
    (changed,) = planned(suite, "--config", tmp_path, "--sigma", "0.4")
    sigmas = changed["spec"]["sigma"], changed["spec"]["agreement"]["against"]["sigma"]
    assert sigmas == (0.4, 0.4)  # what follows from σ follows from the new one


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('method = "heat', "is neither TOML nor the spec.json of a run"),
        ('dataset = "digits"', "a run needs a method: --method NAME"),
        ('method = "heat"\ndataset = "digits"\nepoch = 3', "unknown setting 'epoch': did you mean 'epochs'?"),
        ('method = "heat"\ndataset = "digits"\n[training]\nlrr = 3', "unknown setting 'training.lrr'"),
        ('method = "het"\ndataset = "digits"', "unknown method 'het'"),
    ],
)
def test_a_file_without_settings(suite: Cli, tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "my.toml").write_text(content)
    assert said in suite.mistake("run", "--config", tmp_path / "my.toml")


def test_a_file_that_is_not_there(suite: Cli, tmp_path: Path) -> None:
    for name in ("no.toml", "spec.json"):
        assert f"cannot read {tmp_path / name}" in suite.mistake("run", "--config", tmp_path / name)
    (tmp_path / "spec.json").write_text("{}")
    assert "is not the spec of a run" in suite.mistake("run", "--config", tmp_path / "spec.json")


def test_a_dry_run_makes_nothing_and_says_what_and_how_long(suite: Cli, tmp_path: Path) -> None:
    code, out, _ = suite("run", *options(TINY), "--runs", tmp_path / "runs", "--dry-run")
    assert (code, (tmp_path / "runs").exists()) == (0, False)
    assert f"{tmp_path}/runs/heat-digits-cnn-sigma0.25-seed0-" in out
    assert re.search(r"^  certify: .*n=100 .*images=30", out, re.MULTILINE)
    assert "attack:" not in out  # it does not go through that
    assert re.search(r"about \d+ s: heat-\S+ \d+ s, baseline-\S+ \d+ s, accuracy \d+ s, certify \d+ s", out)


def test_a_dry_run_refuses_what_the_run_would_refuse(suite: Cli, tmp_path: Path) -> None:
    words = ("--dataset", "digits", "--method", "checkpoint", "--set", f"file={tmp_path / 'none.pt'}", "--dry-run")
    assert "none.pt" in suite.mistake("run", *words)
    code, out, err = suite("run", "--method", "heat", "--dataset", "cifar10", "--data-root", tmp_path, "--dry-run")
    assert (code, "cifar10 is not here" in err, "command: suite run" in out, "about" in out) == (0, True, True, False)


def test_a_method_says_all_of_itself(suite: Cli) -> None:
    shown = json.loads(suite("methods", "heat", "--format", "json")[1])
    settings = {entry["setting"]: entry for entry in shown["settings"]}
    assert settings["kappa"] == {
        "setting": "kappa", "default": 10, "values": "whole number, ≥ 1, ≤ 10,000",
        "what it is": "κ, random projections per image",
    }  # fmt: skip
    assert settings["delta"]["values"] == "number, > 0, ≤ 10"
    assert settings["distance"]["values"] == "softmax, logits"
    assert (shown["starts from"], shown["uses labels"], shown["deployed"]) == ("baseline", False, "pass")
    assert shown["recipe quick"]["parameters.kappa"] == 1
    assert "f_{k+1} = argmin_v" in suite("methods", "heat")[1]
    assert "unknown method 'het'" in suite.mistake("methods", "het")


def test_a_protocol_says_all_of_itself(suite: Cli) -> None:
    shown = json.loads(suite("protocols", "certify", "--format", "json")[1])
    assert {"setting": "alpha", "default": 0.001, "values": "number, > 0, < 1", "what it is": "failure probability of "
            "each certificate"} in shown["settings"]  # fmt: skip
    assert shown["columns"]["ACR"] == "average certified radius: mean of R where correct, 0 elsewhere"


def test_the_values_of_a_setting() -> None:
    assert values_of({"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}) == "several: number, > 0"
    assert values_of({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]}) == "a, b or none"


COMPLETIONS = {"run --method lipschitz-": ["lipschitz-heat"], "methods sta": ["stability"], "show he": ["heat-of-mine"]}


@pytest.mark.parametrize("words", COMPLETIONS)
def test_the_shell_completes(suite: Cli, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "runs" / "heat-of-mine"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("_SUITE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"suite {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    assert suite()[1].split() == COMPLETIONS[words]


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_time_left_is_that_of_the_work_done_so_far(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of 100 steps takes 3 s, 20 of them were done before, and what follows takes half as long as all 100."""
    with progress("train", 100, 20, follows=0.5) as advance:
        for _ in range(80):
            clock.now += 3
            advance("loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "train: 20/100"
    assert lines[1] == "train: 22/100, 4 min left, then 2 min loss 1"  # after 6 s; all 100 take 300 s
    assert lines[-1] == "train: 100/100, 0 s left, then 2 min loss 1"
    assert len(lines) == 2 + (240 - 6) // 33 + 1  # and then one in thirty seconds, or in the next step after these


def test_what_is_said_on_the_console_and_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "log.txt"
    for level in (10, 20, 30):
        with verbosity(level, file):
            logger.debug("a detail")
            logger.info("a step")
            logger.warning("a warning")
    said = capsys.readouterr().err.splitlines()
    assert said == ["a detail", "a step", "a warning", "a step", "a warning", "a warning"]
    lines = file.read_text().splitlines()
    assert len(lines) == 9
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING a warning", lines[-1])
    with pytest.raises(UserError, match="cannot write the log"), verbosity(20, tmp_path / "none" / "log.txt"):
        pass


def test_a_command_that_loads_for_long_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "SILENCE", 0.05)
    with verbosity(20, None):
        sleep(0.3)
    with verbosity(20, None):
        logger.info("a step")
        sleep(0.3)
    with verbosity(30, None):
        sleep(0.3)
    assert capsys.readouterr().err.splitlines() == ["loading: libraries, and the images", "a step"]


@pytest.mark.slow
def test_quiet_verbose_and_a_log_file(suite: Cli, tmp_path: Path) -> None:
    words = ["run", *options(QUICK), "--no-track", "--runs", tmp_path / "runs"]
    code, _, err = suite(*words, "-q", "--log-file", tmp_path / "log.txt")
    assert (code, err) == (0, "")
    log = (tmp_path / "log.txt").read_text()
    assert "INFO train baseline: 4/4" in log
    assert f"DEBUG row written: {tmp_path / 'runs'}" in log
    err = suite(*words, "-v")[2]
    assert "certify: all 2 records are there" in err
    assert len((tmp_path / "log.txt").read_text()) == len(log)


WRONG_KINDS = [
    "start=5", "start=[1]", "start.start=5", "start.training=5", "start.parameters=5", "start.method=5", "start=abc",
    "certify=5", "certify=null", "attack=null", "agreement.against=5", "protocols=null", "protocols=5", "protocols=[]",
    "protocols={}", "method=5", "method=[1]", "method=null", "dataset=5", "dataset=null", "profile=5", "arch=5",
    "arch=null", "arch=[1]", "init=5", "init=[1]", "training=1", "training=[1]", "parameters=abc", "sigma=true",
    "seed=true", "seed=[]", "sigma=[]", "profile=", "init=", "start=" + "[" * 5000, "milestones=[[1]]", "milestones=x",
    "epochs=inf", "epochs=null", "lr=nan", "kappa=1e30", "kappa=null", "sigma={}", "n=[1,2]", "images=-1",
]  # fmt: skip


@pytest.mark.parametrize("setting", WRONG_KINDS, ids=lambda text: text[:20])
def test_settings_of_a_wrong_kind_are_said_in_a_line(suite: Cli, setting: str) -> None:
    said = suite.mistake("run", "--method", "heat", "--dataset", "digits", "--set", setting, "--dry-run")
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("line", ["training = 1", "start = 1979-05-27", "[[start]]", "method = 5", "a = " + "[" * 5000])
def test_a_config_of_a_wrong_kind(suite: Cli, tmp_path: Path, line: str) -> None:
    first = "" if line.startswith("method") else 'method = "heat"\n'
    (tmp_path / "my.toml").write_text(f'{first}dataset = "digits"\n{line}\n')
    suite.mistake("run", "--config", str(tmp_path / "my.toml"), "--dry-run")


def test_a_config_with_a_byte_order_mark(suite: Cli, tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(b"\xef\xbb\xbfmethod = 'heat'\ndataset = 'digits'\n")
    assert planned(suite, "--config", str(tmp_path / "my.toml"))[0]["spec"]["method"] == "heat"


def save_network(file: Path) -> None:
    """A network for the digits, at random weights."""
    state = build("cnn", 10, (1, 8, 8), (0.5,), (0.5,)).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, file)


def test_another_file_than_the_configs_has_another_digest(suite: Cli, tmp_path: Path) -> None:
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, file in enumerate(files):
        torch.manual_seed(seed)
        save_network(file)
    given = {"dataset": "digits", "profile": "demo", "arch": "cnn"}
    first = RunSpec(method="checkpoint", file=str(files[0]), **given)
    begun = RunSpec(method="heat", init=str(files[0]), **given)
    for spec, option in ((first, ("--set", f"file={files[1]}")), (begun, ("--init", str(files[1])))):
        (tmp_path / "spec.json").write_text(json.dumps(spec.to_json()))
        (plan,) = planned(suite, "--config", str(tmp_path), *option)
        found = plan["spec"]["parameters"] if spec is first else plan["spec"]["start"]["parameters"]
        assert (found["file"], found["sha256"]) == (str(files[1]), file_digest(files[1]))


def test_a_dry_run_without_the_images_refuses_what_needs_none(suite: Cli, tmp_path: Path) -> None:
    file = tmp_path / "digits.safetensors"
    save_network(file)
    words = ["run", "--method", "checkpoint", "--dataset", "cifar10", "--arch", "cnn", "--set", f"file={file}"]
    assert "does not fit" in suite.mistake(*words, "--data-root", str(tmp_path), "--dry-run")


def test_a_protocol_of_a_run_without_its_model_is_refused_before_anything_is_made(suite: Cli, tmp_path: Path) -> None:
    spec = RunSpec(**QUICK).on(datasets.load("digits").fingerprint)
    (tmp_path / spec.name).mkdir()
    (tmp_path / spec.name / "spec.json").write_text(json.dumps(spec.to_json()))
    for more in (("--dry-run",), ()):
        said = suite.mistake("certify", spec.name, "--n", "30", "--runs", str(tmp_path), *more)
        assert "is neither in its folder nor in" in said
        assert "suite run --method baseline" in said
    assert [path.name for path in (tmp_path / spec.name).iterdir()] == ["spec.json"]


def test_a_name_with_markup_and_emoji_is_printed_as_it_is(suite: Cli, tmp_path: Path) -> None:
    runs = tmp_path / "r[b]:car:[/red] x"
    code, out, _ = suite("run", *options(QUICK), "--runs", str(runs), "--no-track")
    assert code == 0
    assert f"model and environment: {runs}/baseline-digits" in out
    assert f"next: suite leaderboard digits --runs '{runs}'" in out


def test_a_log_that_takes_no_more_is_said_once(suite: Cli, tmp_path: Path) -> None:
    code, _, err = suite("run", *options(QUICK), "--runs", str(tmp_path), "--no-track", "--log-file", "/dev/full")
    assert (code, err.count("the log /dev/full takes no more")) == (0, 1)
    assert "Traceback" not in err


def test_what_ended_a_command_is_in_its_log_and_said_when_quiet(suite: Cli, tmp_path: Path) -> None:
    words = ["run", *options(QUICK), "--set", "lr=1e30", "--seed", "0,1", "--runs", str(tmp_path), "--no-track"]
    code, _, said = suite(*words, "-q", "--log-file", str(tmp_path / "log.txt"))
    assert (code, said.count("diverged")) == (2, 2)
    assert "2 of 2 runs failed" in said
    assert "the others are finished" not in said
    log = (tmp_path / "log.txt").read_text().splitlines()
    assert "DEBUG command: suite run --method baseline" in log[0]
    assert "ERROR ended: 2 of 2 runs failed" in log[-1]
    assert "contradict" in suite.mistake("run", *options(QUICK), "-q", "-v")


def test_the_time_left_of_work_taken_up_again_counts_all_that_follows(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of 100 steps of 2 s is done; what follows takes as long as all of them, 200 s."""
    with progress("train", 100, 50, follows=1.0) as advance:
        for _ in range(50):
            clock.now += 2
            advance("")
    assert "train: 53/100, 2 min left, then 3 min" in capsys.readouterr().err
