"""Studies: what they measure and on which images, and how they choose."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from statistics import NormalDist
from typing import Any

import optuna
import pandas as pd
import pytest
import torch
from helpers.cli import TINY, Cli
from helpers.studying import COMMAND, GIVEN, search
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import Trial, TrialState

from suite import certify
from suite import data as datasets
from suite.data.validation import validation
from suite.errors import UserError
from suite.networks.architectures import build
from suite.pipeline import Machine, run
from suite.smoothing.certificates import certificates
from suite.spec.run_spec import RunSpec
from suite.training import train
from suite.tuning import trials as tuning
from suite.tuning.definition import StudyDefinition, definition_of
from suite.tuning.objectives import clean_accuracy, find_objective
from suite.tuning.results import best_trials, open_study, report


@pytest.fixture
def closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials that cost nothing: their value is −(σ − 0.3)², best at σ = 0.3."""

    def attempt(work: tuning.Work, trial: Trial) -> bool:
        work.study.tell(trial, [-((trial.params["sigma"] - 0.3) ** 2)] * len(work.objectives))
        return True

    monkeypatch.setattr(tuning, "attempt", attempt)


# on which images, and for what


def test_a_search_of_sigma_says_which_radii_count_for_the_larger_ones_alone() -> None:
    """When all n votes agree the bound on p_A is α^(1/n), and the radius σΦ⁻¹ of it: 2.46σ for 1,000 at α = 0.001."""
    study = StudyDefinition(
        method="heat", dataset="cifar10", settings={"profile": "quick"}, search={"sigma": "0.15:0.4"}
    )
    said = study.explain_reach(FloatDistribution(0.15, 0.4))
    reach = NormalDist().inv_cdf(0.001 ** (1 / 1_000))
    assert said.startswith(
        f"1,000 draws certify no radius above {reach:.2f}σ, so radii count from a σ on: 0.5 from 0.20 on,"
    )
    assert f"0.75 from {0.75 / reach:.2f} on" in said
    assert study.explain_reach(FloatDistribution(0.45, 0.5)) == ""  # 1.0, the board's largest, is within 2.46 · 0.45
    assert study.explain_reach(CategoricalDistribution((0.5, 0.45))) == ""
    assert f" 0.25 from {0.25 / reach:.2f} on" in study.explain_reach(CategoricalDistribution((0.5, 0.1)))


def test_the_validation_split_is_of_the_training_images_alone() -> None:
    whole = datasets.load("digits")
    view = validation(whole, 0.2)
    train, held_out = view.train.indices, view.test.indices  # type: ignore[attr-defined]
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(len(whole.train)))
    assert view.train.whole is view.test.whole is whole.train  # type: ignore[attr-defined]
    for label in range(10):
        assert int((view.test.labels == label).sum()) == round(0.2 * int((whole.train.labels == label).sum()))
    some = torch.tensor([5, 0, 17])
    assert torch.equal(view.test[some], whole.train[held_out[some]])
    assert torch.equal(next(view.test.batches([some])), whole.train[held_out[some]])
    assert torch.equal(view.test.labels[some], whole.train.labels[held_out[some]])
    assert torch.equal(validation(whole, 0.2).test.indices, held_out)  # type: ignore[attr-defined]
    prints = {whole.fingerprint, view.fingerprint, validation(whole, 0.1).fingerprint}
    assert len(prints) == 3
    spec = RunSpec(**TINY)
    assert len({spec.on(each).model.digest for each in prints}) == 3


class Poison:
    """A split that cannot be looked at."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test set was touched: {name}")

    def __len__(self) -> int:
        raise AssertionError("the test set was touched")


@pytest.mark.slow
def test_no_test_image_reaches_an_objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study on a data set whose test split ends whatever touches it; a run on it does end."""
    from dataclasses import replace

    from suite.data import digits

    poisoned = replace(datasets.load("digits"), test=Poison())  # type: ignore[arg-type]
    monkeypatch.setattr(digits, "load", lambda root, download: poisoned)
    with pytest.raises(AssertionError, match="the test set was touched"):
        run(RunSpec(**TINY), Machine(runs=tmp_path / "run", track=False))
    for name in ("certified_accuracy", "seconds"):
        study = search(GIVEN | {"objectives": [name]}, 1, tmp_path / name)
        assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]


def test_objectives_of_certificates_that_were_worked_out_by_hand() -> None:
    """Four images: right at 0.3, right at 0.1, wrong at 0.5, and abstained on with the right class leading."""
    rows = [(1, 1, 0.3, [1]), (2, 2, 0.1, [2]), (3, 0, 0.5, [0]), (4, -1, 0.0, [4])]
    frame = pd.DataFrame(rows, columns=["label", "predict", "radius", "chosen"])
    frame["correct"] = (frame["label"] == frame["predict"]).astype(int)

    def value(name: str) -> float:
        return find_objective(name, (0.1, 0.2, 0.4)).value(frame, {"timing": {"deployed": 0.25}})

    assert value("acr") == pytest.approx(0.1)
    assert value("certified_accuracy") == pytest.approx((0.5 + 0.25 + 0) / 3)
    assert value("certified_accuracy@0.3") == 0.25
    assert value("clean_accuracy") == clean_accuracy(frame) == 0.75
    assert (value("seconds"), find_objective("seconds", ()).direction) == (0.25, "minimize")


@pytest.mark.slow
def test_the_objective_of_a_trial_is_that_of_its_model_on_the_validation_images(tmp_path: Path) -> None:
    """Trained and certified again by hand, with every one of the n draws."""
    study = search(GIVEN | {"objectives": ["acr"], "search": ["sigma=0.2,0.21"]}, 1, tmp_path)
    [trial] = study.trials
    view = validation(datasets.load("digits"), 0.1)
    spec = RunSpec(**{**TINY, **trial.params}).on(view.fingerprint)
    machine = Machine(runs=tmp_path / "other", track=False)
    run(spec, machine, data=view)
    model = build(spec.arch, 10, view.shape, view.mean, view.std)
    from safetensors.torch import load_file

    model.load_state_dict(load_file(machine.runs / spec.name / "model.safetensors"))
    first = torch.arange(30)
    images, labels = view.test[first], view.test.labels[first]
    frame = certify(model, images, labels, sigma=spec.sigma or 0, n=100, deterministic=True)
    assert trial.value == pytest.approx(float((frame["radius"] * frame["correct"]).mean()), abs=1e-12)


def test_looking_at_a_model_during_training_changes_no_weight(tmp_path: Path) -> None:
    data = validation(datasets.load("digits"), 0.2)
    settings = {"method": "randomized-smoothing", "dataset": "digits", "profile": "demo", "epochs": 0.5}
    spec = RunSpec(**settings).model
    weights, steps = [], []

    def look(step: int, total: int, model: torch.nn.Module) -> None:
        steps.append((step, total))
        image = data.test[torch.arange(1)][0].float() / 255
        list(certificates(model, [(0, image, 0)], sigma=0.25, n0=10, n=20, alpha=0.01))

    for watch in (None, look):
        torch.manual_seed(0)
        model = build(spec.arch, 10, data.shape, data.mean, data.std)
        method = spec.build_method()
        method.begin(model)
        train(model, method, data, spec, checkpoint=tmp_path / f"{watch}.pt", device=torch.device("cpu"), watch=watch)
        weights.append(model.state_dict())
    assert steps == [(step, 8) for step in range(1, 9)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


# how


@pytest.mark.slow
@pytest.mark.usefixtures("closed_form")
def test_a_study_goes_on_by_its_name_and_only_as_it_was_begun(suite: Cli, tmp_path: Path) -> None:
    begun = [*COMMAND, "--search", "sigma=0.1:0.5", "--study", "mine", "--runs", str(tmp_path), "--no-track"]
    assert suite(*begun, "--trials", "2")[0] == 0
    again = ["tune", "--study", "mine", "--runs", str(tmp_path), "--no-track", "--trials", "3"]
    assert "3 trials finished" in suite(*again)[1]
    other = ["--search", "sigma=0.1:0.6"]
    assert '"sigma": "0.1:0.5"} there, {"sigma": "0.1:0.6"} here' in suite.mistake(*again, *other)
    assert 'objectives: ["certified_accuracy"] there, ["acr"] here' in suite.mistake(*again, "--objective", "acr")
    assert 'method: "heat" there, "madry" here' in suite.mistake(*again, "--method", "madry")
    assert "a new study needs a method" in suite.mistake("tune", "--study", "other", "--runs", str(tmp_path))
    assert "did you mean 'mine'?" in suite.mistake("studies", "show", "mien", "--runs", str(tmp_path))


@pytest.mark.slow
@pytest.mark.usefixtures("closed_form")
@pytest.mark.parametrize("sampler", ["tpe", "gp", "cma-es", "nsga-ii", "random"])
def test_samplers_are_seeded_and_do_not_depend_on_the_process(sampler: str, tmp_path: Path) -> None:
    given = GIVEN | {"sampler": sampler, "search": ["sigma=0.05:0.5 lr=1e-3:0.1:log"], "settings": {"profile": "demo"}}
    whole = search(given, 14, tmp_path / "whole")
    for trials in (3, 14):
        parts = search(given, trials, tmp_path / "parts")
    other = search(given | {"seed": 1}, 4, tmp_path / "other")
    found = [trial.params for trial in whole.trials]
    assert [trial.params for trial in parts.trials] == found
    assert found[0] == {"sigma": 0.25, "lr": 0.01}  # the method's recipe
    assert other.trials[3].params != found[3]
    assert all(0.05 <= each["sigma"] <= 0.5 and 1e-3 <= each["lr"] <= 0.1 for each in found)
    assert len({each["sigma"] for each in found}) == 14
    if sampler in ("tpe", "gp"):
        assert abs(whole.best_params["sigma"] - 0.3) < 0.03


@pytest.mark.slow
@pytest.mark.usefixtures("closed_form")
def test_a_study_that_an_earlier_version_stored_is_read_and_goes_on(suite: Cli, tmp_path: Path) -> None:
    """Version 0.1 kept this JSON, and named a study by its digest."""
    about = {
        "settings": {"profile": "demo", "epochs": 0.5}, "objectives": ["certified_accuracy"], "sampler": "tpe",
        "pruner": "quartile", "seed": 0, "validation": 0.1, "n": 100, "images": 30, "method": "heat",
        "dataset": "digits", "search": {"sigma": "0.1:0.5", "kappa": "1:4"},
    }  # fmt: skip
    name, storage = "heat-digits-011d3a97", f"sqlite:///{tmp_path}/studies.db"
    stored = optuna.create_study(storage=storage, study_name=name, directions=["maximize"])
    stored.set_user_attr("suite", about)
    stored.set_metric_names(["certified_accuracy"])
    space = {"sigma": FloatDistribution(0.1, 0.5), "kappa": IntDistribution(1, 4)}
    stored.add_trial(optuna.create_trial(value=0.5, params={"sigma": 0.2, "kappa": 3}, distributions=space))

    definition = definition_of(open_study(name, storage))
    assert definition.to_json() == about
    assert definition == StudyDefinition(
        method="heat", dataset="digits", settings={"profile": "demo", "epochs": 0.5}, validation=0.1, n=100, images=30,
        search={"sigma": "0.1:0.5", "kappa": "1:4"},
    )  # fmt: skip
    [listed] = json.loads(suite("studies", "--runs", str(tmp_path), "--format", "json")[1])
    assert (listed["study"], listed["finished"], listed["best"]) == (name, 1, 0.5)
    given = ["--method", "heat", "--dataset", "digits", "--search", "sigma=0.1:0.5 kappa=1:4", "--validation", "0.1"]
    given += ["--n", "100", "--images", "30", "--set", "epochs=0.5"]
    code, out, _ = suite("tune", *given, "--trials", "2", "--runs", str(tmp_path), "--no-track")
    assert code == 0
    assert out.startswith(f"{name}: heat on digits")
    assert [trial.state for trial in open_study(name, storage).trials] == [TrialState.COMPLETE] * 2
    assert open_study(name, storage).user_attrs["suite"] == about


def test_a_definition_that_cannot_be_read_is_one_line(suite: Cli, tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/studies.db", study_name="odd")
    study.set_user_attr("suite", {"method": "heat", "dataset": "digits", "search": {}, "colour": "red"})
    said = suite.mistake("studies", "show", "odd", "--runs", str(tmp_path))
    assert "the study 'odd' has a definition that cannot be read: colour: Extra inputs" in said


@pytest.mark.slow
@pytest.mark.usefixtures("closed_form")
def test_a_grid_is_gone_through_once(tmp_path: Path) -> None:
    given = GIVEN | {"sampler": "grid", "search": ["sigma=0.1:0.5:5 distance=softmax,logits"]}
    study = search(given, 4, tmp_path)
    assert len(study.trials) == 10  # six of them waiting
    study = search(given, 30, tmp_path)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    tried = {(round(trial.params["sigma"], 9), trial.params["distance"]) for trial in study.trials}
    assert tried == {(sigma, distance) for sigma in (0.1, 0.2, 0.3, 0.4, 0.5) for distance in ("softmax", "logits")}
    assert len(study.trials) == 10


@pytest.mark.slow
def test_a_trial_that_others_are_ahead_of_is_pruned_and_one_that_diverges_is_too(tmp_path: Path) -> None:
    study = search(GIVEN, 1, tmp_path)
    space = study.trials[0].distributions
    for _ in range(5):
        ahead = {25: 2.0, 50: 2.0, 75: 2.0}
        params = {"sigma": 0.3, "kappa": 2}
        study.add_trial(optuna.create_trial(value=2.0, params=params, distributions=space, intermediate_values=ahead))
    study = search(GIVEN, 7, tmp_path)
    assert [trial.state for trial in study.trials][6:] == [TrialState.PRUNED]
    assert list(study.trials[6].intermediate_values) == [25]
    assert not list((tmp_path / "studies").glob("models/heat-*"))
    assert list((tmp_path / "studies").glob("models/baseline-*/model.safetensors"))

    wild = search(GIVEN | {"search": ["lr=1e19:1e20"], "pruner": "none"}, 2, tmp_path, "wild")
    assert [trial.state for trial in wild.trials] == [TrialState.PRUNED] * 2
    assert "diverged" in wild.trials[0].user_attrs["error"]
    assert "no trial" not in report(wild).summary.study
    assert best_trials(wild) == []


@pytest.mark.slow
def test_trials_that_fail_do_not_count_and_end_the_process_when_they_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter([RuntimeError("out of memory"), None, UserError("no"), UserError("no"), UserError("no more")])

    def sometimes(*given: Any, **named: Any) -> Any:
        error = next(calls)
        if error:
            raise error
        return run(*given, **named)

    monkeypatch.setattr(tuning, "run", sometimes)
    with pytest.raises(UserError, match="3 trials in a row failed, the last: no more"):
        search(GIVEN, 2, tmp_path)
    study = open_study("s", f"sqlite:///{tmp_path}/studies.db")
    failed = TrialState.FAIL
    assert [trial.state for trial in study.trials] == [failed, TrialState.COMPLETE, failed, failed, failed]
    assert study.trials[0].user_attrs["error"] == "out of memory"


@pytest.mark.slow
def test_an_interrupted_trial_waits_to_be_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*given: Any, **named: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tuning, "run", interrupt)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                search(GIVEN, 1, tmp_path)
    study = search(GIVEN, 1, tmp_path)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * 3 + [TrialState.COMPLETE]
    assert study.trials[3].params == study.trials[0].params


def test_an_interrupt_in_the_midst_of_a_transaction_does_not_lock_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection lives as long as the frame that the exception came from."""

    def interrupt(work: tuning.Work, trial: Trial) -> bool:
        connection = sqlite3.connect(tmp_path / "studies.db", isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        raise KeyboardInterrupt

    monkeypatch.setattr(tuning, "attempt", interrupt)
    with pytest.raises(KeyboardInterrupt):
        search(GIVEN, 1, tmp_path)
    [trial] = open_study("s", f"sqlite:///{tmp_path}/studies.db").trials
    assert (trial.state, trial.user_attrs["lost"]) == (TrialState.FAIL, {})
