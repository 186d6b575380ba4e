"""Specs: what fills them in, what tells them apart, what they share."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from suite import RunSpec, UserError
from suite.boards.board import load_board
from suite.experiments.experiment import load_experiment, runs_of
from suite.spec.run_spec import refuse_noise
from suite.spec.shell_line import command


def test_profile_then_recipe_then_what_is_given() -> None:
    spec = RunSpec(method="baseline", dataset="cifar10", profile="paper")
    assert (spec.arch, spec.sigma, spec.certify.n, spec.certify.n0) == ("resnet34", 0.1, 10_000, 100)
    t = spec.training
    assert (t.epochs, t.batch_size, t.lr, t.milestones, t.factor) == (200, 128, 0.1, (60, 120, 160), 0.2)
    changed = RunSpec(method="baseline", dataset="cifar10", profile="paper", lr=0.3, certify={"n": 500})
    assert (changed.training.lr, changed.training.epochs, changed.certify.n) == (0.3, 200, 500)
    assert RunSpec(method="randomized-smoothing", dataset="cifar10", profile="paper").arch == "resnet110"
    imagenet = RunSpec(method="heat", dataset="imagenet", profile="paper")
    assert (imagenet.sigma, imagenet.certify.n0, imagenet.certify.n, imagenet.certify.top) == (0.25, 25, 1_000, 5)
    assert (imagenet.training.epochs, imagenet.training.lr, imagenet.training.schedule) == (1, 0.01, "constant")
    assert imagenet.parameters["kappa"] == 10
    assert imagenet.parameters["delta"] == 0.1


def test_precision_auto_is_what_the_machine_multiplies_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in ("fp32", "bf16"):
        monkeypatch.setattr("suite.spec.fill_in.fast_precision", lambda has=has: has)
        spec = RunSpec(method="heat", dataset="cifar10", profile="quick")
        assert spec.training.precision == has
        assert spec.start is not None
        assert spec.start.training.precision == has
        assert RunSpec(method="heat", dataset="cifar10", profile="quick", precision="bf16").training.precision == "bf16"


def test_a_spec_survives_json_and_is_frozen() -> None:
    spec = RunSpec(method="heat", dataset="cifar10", profile="quick", kappa=3)
    assert RunSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValueError, match="frozen"):
        spec.seed = 5  # type: ignore[misc]


def test_the_digest_tells_runs_apart_by_all_that_matters() -> None:
    def digest(**given: object) -> str:
        return RunSpec(**{"method": "heat", "dataset": "digits", **given}).digest

    same = {digest(), digest(kappa=10), digest(**{"parameters.kappa": 10}), digest(profile="demo")}
    assert len(same) == 1
    changes: list[dict[str, object]] = [
        {}, {"seed": 1}, {"sigma": 0.3}, {"kappa": 9}, {"n": 999}, {"lr": 0.02}, {"start.training.epochs": 3},
    ]  # fmt: skip
    assert len({digest(**change) for change in changes}) == len(changes)
    spec = RunSpec(method="heat", dataset="digits")
    assert spec.on("0123456789abcdef").digest != spec.digest


def test_runs_share_the_models_that_do_not_differ() -> None:
    heat = RunSpec(method="heat", dataset="cifar10", sigma=0.1)
    baseline = RunSpec(method="baseline", dataset="cifar10", sigma=0.25, n=500)
    assert heat.start is not None
    assert heat.start.digest == baseline.model.digest
    assert heat.start.name == baseline.model.name
    assert heat.model.digest != RunSpec(method="heat", dataset="cifar10", sigma=0.25).model.digest
    assert heat.model.digest == RunSpec(method="heat", dataset="cifar10", sigma=0.1, n=500).model.digest


def test_every_registered_method_and_profile_makes_a_spec() -> None:
    from methods import METHODS

    for method in (name for name in METHODS.paths() if METHODS.get(name).trains):
        for profile, dataset in (("demo", "digits"), ("quick", "cifar10"), ("paper", "cifar10"), ("paper", "imagenet")):
            assert RunSpec(method=method, dataset=dataset, profile=profile).build_method()


def test_from_python_too_mistakes_are_said() -> None:
    with pytest.raises(UserError, match="did you mean 'heat'"):
        RunSpec(method="haet", dataset="digits")
    with pytest.raises(UserError, match="n = 3 draws can certify nothing"):
        RunSpec(method="heat", dataset="digits", n=3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sigma": 63.75}, r"sigma: at most 10, .*0\.\.255, give 0\.25 \(got 63\.75\)"),
        ({"sigma": 1e9}, r"sigma: at most 10, with pixels in \[0,1\] \(got"),  # no 0..255 either
        ({"method": "madry", "epsilon": 128}, "epsilon: at most 20, .*give 0.502"),
        ({"method": "smoothadv", "epsilon": 64}, "epsilon: at most 20, .*give 0.251"),
        ({"attack.max_norm": 1020}, r"attack\.max_norm: at most 400, .*give 4 "),
        ({"delta": 25.5}, "delta: at most 10, .*give 0.1 "),
        ({"sigma": math.inf}, "sigma: .*finite"),
        ({"epochs": math.inf}, r"training\.epochs: .*finite"),
        ({"epochs": 10**9}, r"training\.epochs: .*100000"),
        ({"start.training.epochs": math.inf}, r"start\.training\.epochs: .*finite"),
        ({"agreement.against.training.epochs": math.inf}, r"agreement\.against\.training\.epochs: .*finite"),
        ({"weight": math.nan}, "weight: .*finite"),
        ({"lr": math.nan}, r"training\.lr: .*finite"),
        ({"training.clip": math.inf}, r"training\.clip: .*finite"),
        ({"batch_size": 10**7}, r"training\.batch_size"),
        ({"kappa": 10**6}, "kappa"),
        ({"timesteps": 10**5}, "timesteps"),
        ({"n": 10**30}, r"certify\.n"),
        ({"n0": 10**12}, r"certify\.n0"),
        ({"images": 10**12}, r"certify\.images"),
        ({"lbound.draws": 10**12}, r"lbound\.draws"),
        ({"attack.steps": 10**9}, r"attack\.steps"),
        ({"audit.n": 10**12}, r"audit\.n"),
        ({"audit.restarts": 10**6}, r"audit\.restarts"),
        ({"timing.batch": 10**9}, r"timing\.batch"),
    ],
    ids=str,
)
def test_settings_that_make_the_work_worthless_are_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        RunSpec(**{"method": "heat", "dataset": "digits", **given})
    assert "\n" not in str(error.value)


def test_a_study_with_such_a_setting_has_no_runs(tmp_path: Path) -> None:
    file = tmp_path / "grid.toml"
    file.write_text('title = "t"\nmethods = ["baseline"]\nsigmas = [0.25, 63.75]\n')
    with pytest.raises(UserError, match=r"give 0\.25"):
        runs_of(load_experiment(str(file)), "digits")


def test_agreement_needs_a_method_to_compare_with() -> None:
    """heat stands for one; madry for none, unless one is named."""
    against = {"agreement.against.seed": 3}
    assert RunSpec(method="heat", dataset="digits", **against).agreement.against.seed == 3
    with pytest.raises(UserError, match="needs a method"):
        RunSpec(method="madry", dataset="digits", **against)
    named = RunSpec(method="madry", dataset="digits", **{"agreement.against.method": "randomized-smoothing"})
    assert named.agreement.against.method == "randomized-smoothing"
    assert named.agreement.against.training.epochs > 0


def test_the_radii_of_adaptive_sampling_are_the_runs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(method="baseline", dataset="digits", sampling="adaptive")
    assert spec.certify.radii == load_board("digits").radii
    changed = replace(load_board("digits"), radii=(0.1, 0.33))
    monkeypatch.setattr("suite.protocols.certify.load_board", lambda dataset: changed)
    assert RunSpec(**spec.model_dump(mode="json")) == spec
    assert RunSpec(method="baseline", dataset="digits", sampling="adaptive").digest != spec.digest
    assert "--radii 0.1,0.2,0.3" in command(spec, spec.protocols)
    given = RunSpec(method="baseline", dataset="digits", sampling="adaptive", radii=[0.3, 0.1, 0.3])
    assert given.certify.radii == (0.1, 0.3)
    assert RunSpec(method="baseline", dataset="digits").certify.radii == ()


def test_a_start_without_a_bound_names_the_setting_of_its_own_architecture() -> None:
    """A teacher has an architecture of its own; the start of any other method has that of the run."""
    for method, said in (("lipschitz-heat", "--set start.arch=lipschitz-small"), ("heat", "--arch lipschitz-small")):
        with pytest.raises(UserError, match="lipschitz trains a network with a Lipschitz bound, and cnn") as error:
            RunSpec(method=method, dataset="digits", **{"start.method": "lipschitz", "start.arch": "cnn"})
        assert str(error.value).endswith(said)
        assert ("teacher" in str(error.value)) == (method == "lipschitz-heat")


def test_noise_that_a_margin_would_drop_is_refused_wherever_it_is_named() -> None:
    margin = RunSpec(method="lipschitz", dataset="digits")
    for asked, missing in (({"n": 100}, "n"), ({"certify": {"alpha": 0.1}}, "alpha"), ({"sigma": 0.5}, "sigma")):
        with pytest.raises(UserError, match=f"a margin has no {missing}: --kind vote --sigma 0.25 certifies a vote"):
            refuse_noise(margin, asked)
    refuse_noise(margin, {"images": 20, "precision": "bf16", "certify.every": 2, "n": None})  # training's precision
    refuse_noise(RunSpec(method="lipschitz", dataset="digits", kind="vote", sigma=0.5), {"n": 100, "sigma": 0.5})
    taught = {"sigma": 0.5, "start.method": "randomized-smoothing"}
    refuse_noise(RunSpec(method="lipschitz-heat", dataset="digits", **taught), taught)  # the teacher's noise
    trained = {"method": "randomized-smoothing", "dataset": "digits", "arch": "lipschitz-small", "deployed": "pass"}
    refuse_noise(RunSpec(**trained, sigma=0.5), {"sigma": 0.5})  # that it is trained with
