"""Command lines of any kind, made of the commands' real options: each ends well, or in one line that says why."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from helpers.cli import succeed
from helpers.fuzz import NONSENSE, QUICK, VALUES, Watch, assert_no_traceback, call, examples, refuse, restore, snapshot
from helpers.logs import log
from hypothesis import given
from hypothesis import strategies as st

from methods import METHODS
from suite.cli.main import app
from suite.spec.names import section_fields
from suite.spec.sections import PROTOCOLS

pytestmark = pytest.mark.slow

VALID = {
    "--method": list(METHODS.paths()), "--dataset": ["digits", "mnist", "imagenet", "@images"],
    "--runs": ["@store", "@none", "@file"], "--data-root": ["@none", "@folder", "@file"],
    "--config": ["@config", "@run"],
    "--profile": ["demo", "quick", "paper"], "--arch": ["cnn", "resnet8", "lipschitz-small", "cnn-w4"],
    "--sigma": ["0.25", "0.1,0.5", "1"], "--seed": ["0", "1,2"], "--init": ["@checkpoint"],
    "--kind": ["vote", "margin"], "--deployed": ["vote", "pass"], "--kappa": ["1", "4"], "--epochs": ["1", "0.1"],
    "--lr": ["0.1"], "--images": ["10"], "--n0": ["10"], "--n": ["100", "1000"],
    "--protocols": ["all", "certify", "accuracy,lbound", ",".join(PROTOCOLS.paths())], "--alpha": ["0.001"],
    "--sampling": ["fixed", "adaptive"], "--radii": ["0.1,0.2"], "--noise": ["gaussian", "discrete"],
    "--precision": ["fp32", "bf16"], "--device": ["cpu", "auto", "cuda", "meta", "cpu:7"], "--batch-size": ["1", "64"],
    "--format": ["json", "table", "csv", "markdown", "latex", "html", "schema"], "--log-file": ["@new", "@folder"],
    "--checkpoint": ["@checkpoint", "@config"], "--name": ["mine"], "--mean": ["0.5"], "--std": ["0.5", "0"],
    "--search": ["sigma=0.1:0.5", "kappa", "lr=1e-3:1e-1:log", "sigma=0.5:0.1", "arch=cnn,resnet8"],
    "--objective": ["acr", "clean_accuracy", "certified_accuracy@0.25", "seconds"], "--trials": ["1", "2"],
    "--study": ["s"], "--storage": ["sqlite:///@new.db", "@new.log", "postgresql://me@127.0.0.1:1/x", "sqlite://"],
    "--sampler": ["tpe", "gp", "cma-es", "nsga-ii", "random", "grid"], "--pruner": ["median", "none", "halving"],
    "--validation": ["0.2"], "--then": ["run"], "--board-root": ["@boards", "@none", "@file"],
    "--sort": ["acr", "0.25"],
    "--out": ["@new", "@folder", "@none/x", "/dev/null"], "--board": ["cifar10", "digits"],
    "--citation": ["A. B., NeurIPS 2020"], "--trained-sigma": ["0.25"], "--top": ["1", "5"], "--note": ["n"],
    "--host": ["127.0.0.1"], "--port": ["8501"], "RUN": ["@run", "baseline"], "DATASET": ["digits", "cifar10"],
    "FILES": ["@log", "@config"],
}  # fmt: skip
ARGUMENTS = {"run": "RUN", "name": "--method", "dataset": "DATASET", "files": "FILES"}
EXPERIMENTS = ["paper", "authors-cifar10", "@experiment"]
SETTINGS = sorted(
    {
        name
        for kind in METHODS.loadable().values()
        for section, fields in section_fields(kind).items()
        for field in fields
        for name in (field, f"{section}.{field}", section, f"start.{field}", "agreement.against")
    }
)


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*path, name))


TREE = list(commands(typer.main.get_command(app)))
IMAGINED = st.sampled_from(SETTINGS)
SETTING = st.builds(
    lambda name, value: f"{name}={value if isinstance(value, str) else json.dumps(value)}",
    IMAGINED | NONSENSE, VALUES | st.sampled_from(["1", "0.25", "cnn", "vote", "all", "null", "{}", "[]", "1,2"]),
)  # fmt: skip


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command's words: some of its options, with values that are right, nearly right or nonsense."""
    path, command = draw(st.sampled_from(TREE))
    chance = draw(st.sampled_from([0.0, 0.15, 0.5]))
    words = list(path)

    def value(name: str) -> str:
        known = [*VALID.get(name, ()), *(EXPERIMENTS if (name, path) == ("--method", ("experiment",)) else ())]
        if name == "--set" and draw(st.floats(0, 1)) > chance / 2:
            return draw(SETTING)
        return draw(st.sampled_from(known)) if known and draw(st.floats(0, 1)) >= chance else draw(NONSENSE)

    for each in command.params:
        if "--install-completion" in each.opts:  # which writes to the shell's own files, as it is to
            continue
        if each.param_type_name == "argument":
            wanted = 1 if each.required else draw(st.integers(0, 1))
            words += [
                value(ARGUMENTS.get(each.name, each.name)) for _ in range(wanted + draw(st.sampled_from([0, 0, 1])))
            ]
            continue
        usual = each.required or each.opts[0] in ("--method", "--dataset", "--runs", "--checkpoint")
        if (not usual and draw(st.integers(0, 5))) or (usual and draw(st.integers(0, 9)) == 9):
            continue
        option = draw(st.sampled_from([*each.opts, *each.secondary_opts]))
        words += [option] if each.is_flag else [option, value(each.opts[0])]
    names = {name for each in command.params for name in each.opts}
    words += ["--dry-run"] * ("--dry-run" in names and draw(st.integers(0, 9)) > 0)
    words += [draw(NONSENSE)] * (draw(st.floats(0, 1)) < chance / 5)
    if "--board-root" in names and words.count("--board-root") == 0 and path in (("import",), ("publish",)):
        words += ["--board-root", "@boards"]  # and not the package's
    return words


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each that a command line may name, and two folders beneath it to be in."""
    place = tmp_path_factory.mktemp("place")
    runs = place / "runs"
    succeed(*QUICK, "--runs", runs)
    (place / "boards" / "cifar10").mkdir(parents=True)
    (place / "images").mkdir()
    (place / "in" / "here").mkdir(parents=True)
    (place / "file").write_text("text")
    (place / "config.toml").write_text('method = "heat"\ndataset = "digits"\nsigma = [0.1, 0.25]\n')
    (place / "mine.toml").write_text('title = "t"\ndataset = "digits"\nmethods = ["heat"]\nsigmas = [0.25]\n')
    log(place / "resnet8_noise_0.25_sigma_0.25.tsv", *(f"{i}\t1\t1\t0.0\t1\t0.1" for i in range(60)))
    return place


@pytest.fixture(scope="module")
def restricted(place: Path) -> Iterator[None]:
    """Nothing is trained, served, drawn or sent: those parts of commands have tests of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("suite.pipeline.run", refuse)
        patched.setattr("suite.experiments.experiment.run", refuse)
        patched.setattr("suite.tuning.trials.carry_on", lambda *_: None)
        patched.setattr("streamlit.web.cli.main", lambda *_, **__: None)
        patched.setattr("suite.illustrate.illustrate", lambda folder: [folder])
        patched.setattr("suite.store.mlflow.resend.sync", lambda _: (0, 0))
        patched.setattr("suite.tuning.mlflow.StudyLog.__init__", refuse)
        patched.setattr("suite.data.download", refuse, raising=False)
        patched.setenv("HF_HUB_OFFLINE", "1")
        patched.setenv("HOME", str(place))
        yield


def filled(word: str, place: Path) -> str:
    """A word in which @store and the like stand for what is there."""
    [run] = (place / "runs").glob("baseline*")
    there = {
        "@store": place / "runs", "@none": place / "none", "@file": place / "file", "@folder": place / "images",
        "@images": place / "images", "@run": run, "@config": place / "config.toml", "@boards": place / "boards",
        "@checkpoint": run / "model.safetensors", "@new": place / "new", "@experiment": place / "mine.toml",
        "@log": place / "resnet8_noise_0.25_sigma_0.25.tsv",
    }  # fmt: skip
    for name, path in there.items():
        word = word.replace(name, str(path))
    return word


WATCH = Watch()


@pytest.mark.skipif("SUITE_FUZZ" not in os.environ, reason="needs a process of its own: SUITE_FUZZ=1 pytest FILE")
@given(words=lines())
@examples(60)
def test_every_command_line_ends_well_or_in_one_line(place: Path, restricted: None, words: list[str]) -> None:
    before, here = snapshot(place), Path.cwd()
    os.chdir(place / "in" / "here")
    try:
        with WATCH.over(place):
            answer = call(*(filled(word, place) for word in words))
        assert_no_traceback(answer, found=words[:1] in (["verify"], ["sync"]))
    finally:
        os.chdir(here)
        restore(place, before)
        (place / "in" / "here").mkdir(parents=True, exist_ok=True)
