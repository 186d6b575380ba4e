"""Experiments: the grid of runs that they are, what is left of it, and that interruptions change nothing."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from helpers.cli import Cli, succeed
from helpers.processes import Command, Moment

from methods import METHODS
from suite import data as datasets
from suite.effort import count_passes
from suite.errors import UserError
from suite.experiments.experiment import carry_out, load_experiment, runs_of
from suite.pipeline import Machine
from suite.store.locks import hold, lock_of
from suite.training import learning_rate

FILE = """
title = "a small one"
methods = ["baseline", "randomized-smoothing", "heat"]
sigmas = [0.25]
seeds = [0, 1]

[settings]
profile = "demo"
"training.epochs" = 0.5
"certify.n" = 100
"certify.images" = 20
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(FILE)
    return path


def test_the_papers_experiment_is_every_method_at_every_sigma_and_seed() -> None:
    specs = runs_of(load_experiment("paper"), "cifar10", profile="quick")
    assert len(specs) == len({spec.name for spec in specs}) == (10 * 2 + 2) * 3
    assert [spec.seed for spec in specs] == [0] * 22 + [1] * 22 + [2] * 22
    assert {spec.method for spec in specs[:12]} == set(METHODS.paths()) - {"checkpoint"}
    assert [spec.sigma for spec in specs[:12]] == [0.1 if spec.certify.kind == "vote" else None for spec in specs[:12]]
    assert all("audit" in spec.protocols and spec.certify.images == 1_000 for spec in specs)


def test_the_experiments_behind_the_cifar10_figures_are_those_of_the_authors_code() -> None:
    baseline, smoothing, smoothadv, heat = runs_of(load_experiment("authors-cifar10"))
    assert {spec.arch for spec in (baseline, smoothing, smoothadv, heat)} == {"resnet34"}
    assert {(spec.sigma, spec.certify.n0, spec.certify.n) for spec in (smoothing, smoothadv, heat)} == {
        (0.1, 100, 10_000)
    }
    ordinary = baseline.training
    assert smoothing.training == smoothadv.training == ordinary
    assert (ordinary.epochs, ordinary.batch_size, ordinary.lr, ordinary.schedule) == (200, 128, 0.1, "steps")
    assert (ordinary.milestones, ordinary.factor) == ((60, 120, 160), 0.2)
    assert (ordinary.momentum, ordinary.nesterov, ordinary.weight_decay) == (0.9, False, 5e-4)
    assert smoothadv.parameters == {
        "epsilon": 127 / 256, "steps": 4, "m": 1, "warmup": 0, "noisy_training": False,
    }  # fmt: skip
    changed = {"epochs": 5 * 200, "batch_size": 100, "weight_decay": 0}
    assert heat.training == ordinary.model_copy(update=changed)
    assert heat.parameters == {
        "kappa": 10, "delta": 0.1, "normalise": "paper", "projections": "gaussian", "weight": 5, "distance": "logits",
        "noisy": 0, "frozen_norm": False, "timesteps": 5, "reinitialise": True, "lambda": "paper",
    }  # fmt: skip
    assert heat.start == baseline.model
    assert heat.agreement.against == smoothing.model


def test_the_experiment_behind_the_imagenet_figures_is_that_of_the_authors_code() -> None:
    """But for the loss, which tests/test_heat.py computes."""
    [heat] = runs_of(load_experiment("authors-imagenet"))
    assert (heat.method, heat.arch, heat.dataset, heat.sigma) == ("heat", "resnet50", "imagenet", 0.25)
    training = heat.training
    assert (training.epochs, training.batch_size, training.weight_decay, training.decay_biases) == (1, 48, 1e-4, False)
    assert (training.momentum, training.nesterov, training.smallest_crop) == (0.9, False, 0.087)
    assert [learning_rate(training, epoch, training.epochs) for epoch in (0, 1, 10)] == pytest.approx(
        [0.01, 0.0091, 0.001]
    )
    assert (heat.certify.top, heat.certify.n0, heat.certify.n, heat.certify.images) == (5, 25, 1_000, 5_000)


def test_a_methods_own_settings_lie_over_the_experiments_and_under_those_given(file: Path) -> None:
    own = "[methods.baseline]\n[methods.heat]\nkappa = 2\nepochs = 3\n[settings]\nepochs = 2\n"
    file.write_text(f'title = "own"\ndataset = "digits"\nsigmas = [0.25]\n{own}')
    experiment = load_experiment(str(file))
    baseline, heat = runs_of(experiment)
    assert (baseline.training.epochs, heat.training.epochs, heat.parameters["kappa"]) == (2, 3, 2)
    [heat] = runs_of(experiment.select(["heat"]), epochs=4)
    assert (heat.training.epochs, heat.parameters["kappa"], heat.dataset) == (4, 2, "digits")
    assert runs_of(experiment, "cifar10")[0].dataset == "cifar10"


def test_an_experiment_of_no_data_set_of_its_own_needs_one(file: Path) -> None:
    with pytest.raises(UserError, match="'a small one' is about no data set of its own: give --dataset"):
        runs_of(load_experiment(str(file)))


def test_some_methods_and_other_seeds_are_selected(file: Path) -> None:
    experiment = load_experiment(str(file)).select(["heat"], seeds=[5])
    [spec] = runs_of(experiment, "digits", kappa=3)
    assert (spec.method, spec.seed, spec.certify.n, spec.parameters["kappa"]) == ("heat", 5, 100, 3)
    with pytest.raises(UserError, match="smoothadv"):
        experiment.select(["smoothadv"])


@pytest.mark.parametrize(
    ("change", "said"),
    [(("seeds", "seedz"), "seedz"), (("methods = [", "methods = 3 # ["), "methods"), (("[settings]", "[settings"), "")],
)
def test_a_file_that_is_no_experiment(file: Path, change: tuple[str, str], said: str) -> None:
    file.write_text(FILE.replace(*change))
    with pytest.raises(UserError, match=f"{file}.*{said}"):
        load_experiment(str(file))


def test_an_experiment_that_is_not_there() -> None:
    with pytest.raises(UserError, match="paper"):
        load_experiment("papr")


def test_the_plan_is_printed_and_nothing_is_run(suite: Cli, file: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    command = ["experiment", str(file), "--dataset", "digits", "--runs", str(runs), "--seed", "1", "--dry-run"]
    code, out, _ = suite(*command, "--format", "json")
    assert (code, runs.exists()) == (0, False)
    entries = json.loads(out)
    assert all(entry.pop("seconds") > 0 for entry in entries)
    assert entries == [
        {"method": method, "variant": "", "arch": "cnn", "sigma": 0.25, "seed": 1}
        for method in ("baseline", "randomized-smoothing", "heat")
    ]
    twice = file.with_name("twice.toml")
    own = file.read_text().replace('methods = ["baseline", "randomized-smoothing", "heat"]\n', "")
    twice.write_text(own + '[methods.heat]\n[methods.baseline]\n[methods.heat-five]\nmethod = "heat"\nkappa = 5\n')
    entries = json.loads(suite(command[0], str(twice), *command[2:], "--seed", "0", "--format", "json")[1])
    found = sorted((entry["seed"], entry["method"], entry["variant"]) for entry in entries)
    own = [("baseline", ""), ("heat", ""), ("heat", "kappa=5")]
    assert found == [(seed, *line) for seed in (0, 1) for line in own]
    assert "method of this experiment 'madry'" in suite.mistake(*command, "--method", "madry")


def test_the_command_of_earlier_versions_says_what_replaced_it(suite: Cli) -> None:
    said = suite.mistake("study", "my file.toml", "--dataset", "digits", "--dry-run")
    assert said.startswith("suite: 'suite study' is now: suite experiment 'my file.toml' --dataset digits --dry-run ")
    assert "study" not in [line.split()[1] for line in suite("--help")[1].splitlines() if line.startswith("│ s")]


def test_what_another_process_is_at_is_left_to_it(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first run is held: the others are made first, and then it is waited for."""
    asked = load_experiment(str(file)).select(["baseline", "randomized-smoothing"])
    specs = [spec.on(datasets.load("digits").fingerprint) for spec in runs_of(asked, "digits")]
    held = threading.Event()

    def hold_first() -> None:
        with hold(lock_of(tmp_path / specs[0].name)):
            held.set()
            while len(list(tmp_path.glob("[!.]*/result.json"))) < len(specs) - 1:
                time.sleep(0.01)
            time.sleep(0.3)

    other = threading.Thread(target=hold_first)
    other.start()
    assert held.wait(10)
    done = [folder.name for folder in carry_out(specs, Machine(runs=tmp_path, track=False))]
    other.join()
    assert done == [spec.name for spec in (*specs[1:], specs[0])]
    said = capsys.readouterr().err
    assert f"is at work on {tmp_path / specs[0].name}; another run meanwhile" in said
    assert f"another process is at work on {tmp_path / specs[0].name}" in said


def test_a_shared_model_is_counted_once(file: Path, tmp_path: Path) -> None:
    """Both start from the same baseline: 15 epochs of 3 passes, as the demo's profile has it."""
    data, machine = datasets.load("digits"), Machine(runs=tmp_path)
    heat, again = runs_of(load_experiment(str(file)).select(["heat"], [0.25, 0.5], [0]), "digits")
    both = count_passes([heat, again], data, machine)
    baseline = 15 * (len(data.train) // 64) * 64 * 3
    assert both == count_passes([heat], data, machine) + count_passes([again], data, machine) - baseline


def test_what_is_trained_already_is_not_counted(file: Path, tmp_path: Path) -> None:
    """A third of the baseline's 15 epochs of 20 steps of 64 images of 3 passes; a damaged checkpoint is none."""
    data, machine = datasets.load("digits"), Machine(runs=tmp_path)
    specs = [spec.on(data.fingerprint) for spec in runs_of(load_experiment(str(file)).select(["baseline"]), "digits")]
    whole = count_passes(specs, data, machine)
    folder = tmp_path / "models" / specs[0].model.name
    folder.mkdir(parents=True)
    torch.save({"step": 5 * 20, "model": {"weight": torch.zeros(3)}}, folder / "training.pt")
    assert count_passes(specs, data, machine) == pytest.approx(whole - 5 * 20 * 64 * 3)
    (folder / "training.pt").write_bytes(b"no checkpoint")
    assert count_passes(specs, data, machine) == whole


def test_one_failing_run_does_not_keep_the_others(file: Path, tmp_path: Path) -> None:
    experiment = load_experiment(str(file)).select(["baseline"])
    specs = runs_of(experiment, "digits")
    machine = Machine(runs=tmp_path / "runs", track=False)
    first = specs[0].on(datasets.load("digits").fingerprint)
    broken = machine.runs / first.name / f"certify-{first.records_digest('certify')}.jsonl"
    broken.parent.mkdir(parents=True)
    broken.write_text("no record\n")
    done = carry_out(specs, machine)
    with pytest.raises(UserError, match=r"1 of 2 runs failed: .*seed0.*finished"):
        list(done)
    assert len(list(machine.runs.glob("*seed1*/result.json"))) == 1
    assert "no record" in broken.read_text()


def test_a_failing_run_costs_the_others_neither_report_nor_list(file: Path, tmp_path: Path, suite: Cli) -> None:
    runs = tmp_path / "runs"
    words = ["experiment", str(file), "--dataset", "digits", "--runs", str(runs), "--no-track"]
    words += ["--method", "baseline", "--method", "randomized-smoothing"]
    assert suite(*words)[0] == 0
    first, *others = sorted(runs.glob("*/certify-*.jsonl"))
    first.write_text("no record\n")
    (first.parent / "result.json").unlink()
    for report in runs.glob("report-*"):
        report.unlink()
    code, out, err = suite(*words, "--format", "json")
    assert (code, sorted(json.loads(out))) == (2, [str(other.parent) for other in others])
    assert "1 of 4 runs failed" in err
    assert {report.suffix for report in runs.glob("report-*")} == {".md", ".html"}


# in the order in which the study comes by: each time it goes on from the one before
MOMENTS = [
    Moment("*/models/baseline-*-seed0-*/training.pt", 2),
    Moment("*/baseline-*-seed0-*/certify-*.jsonl", 7, "halfway"),
    Moment("*/randomized-smoothing-*-seed0-*/result.json", what=signal.SIGINT),
    Moment("*/models/heat-*-seed0-*/training.pt", 2, "before"),
    Moment("*/heat-*-seed0-*/certify-*.jsonl", 3, what=signal.SIGINT),
]


@pytest.mark.slow
def test_interrupting_it_five_times_changes_nothing(file: Path, tmp_path: Path) -> None:
    """Killed and begun again: records, weights and results as of an undisturbed experiment."""
    listed = 'methods = ["baseline", "randomized-smoothing", "heat"]\n'
    tables = '[methods.baseline]\n[methods.randomized-smoothing]\n[methods.heat]\n"start.training.epochs" = 1\n\n'
    small = (
        FILE.replace(listed, "").replace("[settings]", f"{tables}[settings]").replace('epochs" = 0.5', 'epochs" = 0.2')
    )
    file.write_text(small.replace("seeds = [0, 1]", "seeds = [0]"))

    def command(runs: Path) -> list[str]:
        return ["experiment", str(file), "--dataset", "digits", "--no-track", "--runs", str(runs)]

    succeed(*command(tmp_path / "whole"))
    for moment in MOMENTS:
        code, _, said = Command(tmp_path, *command(tmp_path / "torn"), moment=moment).wait()
        assert code == (130 if moment.what == signal.SIGINT else -signal.SIGKILL), said
    Command(tmp_path, *command(tmp_path / "torn")).succeed()

    def content(runs: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted(runs.glob("*/*.jsonl")):
            lines = [json.loads(line) | {"time": 0} for line in path.read_text().splitlines()]
            found[os.fspath(path.relative_to(runs))] = sorted(lines, key=lambda line: line["idx"])
        for path in sorted(runs.glob("models/*/model.safetensors")):
            found[os.fspath(path.relative_to(runs))] = path.read_bytes()
        return found

    whole = content(tmp_path / "whole")
    assert len(whole) == 3 * 2 + 3 + 1  # heat starts from a baseline by its own recipe
    assert content(tmp_path / "torn") == whole
