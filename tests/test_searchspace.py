"""What a study searches: the notation, the methods' own ranges, and what is refused before anything is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.cli import Cli
from helpers.studying import BASE, COMMAND
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from suite.errors import UserError
from suite.tuning.space import build_space, find_recipe, list_combinations, parse_search
from suite.tuning.storage import Storage


def test_the_notation_of_a_search() -> None:
    assert parse_search(["a=1:2 b", "c=x,y"], {"b": "0:1", "d": "0:1"}) == {"a": "1:2", "b": "0:1", "c": "x,y"}
    assert parse_search([], {"b": "0:1"}) == {"b": "0:1"}
    texts = {
        "sigma": "1:2", "lr": "1e-3:1e-1:log", "kappa": "2:10", "delta": "0.1:0.5:3", "weight": "1:100:log:3",
        "distance": "softmax,logits", "frozen_norm": "true,false", "start.lr": "0.1:0.2", "timesteps": "1:4:4",
    }  # fmt: skip
    assert build_space(BASE, texts) == {
        "sigma": FloatDistribution(1, 2),
        "lr": FloatDistribution(1e-3, 1e-1, log=True),
        "kappa": IntDistribution(2, 10),
        "delta": CategoricalDistribution([0.1, 0.3, 0.5]),
        "weight": CategoricalDistribution([1.0, 10.0, 100.0]),
        "distance": CategoricalDistribution(["softmax", "logits"]),
        "frozen_norm": CategoricalDistribution([True, False]),
        "start.lr": FloatDistribution(0.1, 0.2),
        "timesteps": CategoricalDistribution([1, 2, 3, 4]),
    }
    space = build_space(BASE, {"kappa": "1,5", "frozen_norm": "true,false"})
    assert [tuple(each.values()) for each in list_combinations(space)] == [(1, True), (1, False), (5, True), (5, False)]
    assert find_recipe(BASE, build_space(BASE, {"lr": "0.001:0.1", "kappa": "1:5"})) == {"lr": 0.01}


def test_every_method_declares_ranges_that_its_settings_take() -> None:
    from methods import METHODS

    for name in METHODS.paths():
        kind = METHODS.get(name)
        if kind.trains:
            for profile in ("demo", "quick", "paper"):
                space = build_space({"method": name, "dataset": "digits", "profile": profile}, kind.tunable)
                assert set(space) == set(kind.tunable)
            assert "lr" in kind.tunable
            assert ("sigma" in kind.tunable) == kind.uses_sigma


def test_noise_is_searched_where_it_changes_something() -> None:
    margins = {"method": "lipschitz", "dataset": "digits", "profile": "demo"}
    with pytest.raises(UserError, match="a margin has no sigma: --kind vote"):
        build_space(margins, {"sigma": "0.1:0.5"})
    noise = {"sigma": FloatDistribution(0.1, 0.5)}
    assert build_space(margins | {"deployed": "vote"}, {"sigma": "0.1:0.5"}) == noise  # which the certificate has
    trained = {"method": "randomized-smoothing", "dataset": "digits", "arch": "lipschitz-small", "deployed": "pass"}
    assert build_space(trained, {"sigma": "0.1:0.5"}) == noise


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--search", "kapa=1:2"], "did you mean 'kappa'?"),
        (["--search", "kapa"], "a name alone does for what the method has a range for: sigma, lr, kappa"),
        (["--search", "start.training.epoch=1:2"], "did you mean 'epochs'?"),
        (["--search", "kappa=5:5"], "kappa=5:5 is empty"),
        (["--search", "sigma=0.5:0.1"], "sigma=0.5:0.1 is reversed"),
        (["--search", "lr=0:1:log"], "has to begin above 0"),
        (["--search", "lr=a:b"], "is no range"),
        (["--search", "lr=0.1:nan"], "is no range"),
        (["--search", "lr=0.1:0.2:lgo"], "is no range"),
        (["--search", "lr=0.1:0.2:log:1"], "at least 2 points"),
        (["--search", "kappa=1:2.5"], "kappa is a whole number"),
        (["--search", "kappa=0:5"], "greater than or equal to 1"),
        (["--search", "sigma=1:64"], "give 0.251"),
        (["--search", "distance=softmax,logit"], "distance"),
        (["--search", "lr=0.1:0.2 lr=0.1:0.3"], "'lr' twice"),
        (["--search", "epochs=1:2"], "'epochs' is both set and searched"),
        (["--search", "alpha=0.001:0.01"], "how a model is measured"),
        (["--objective", "arc"], "did you mean 'acr'?"),
        (["--objective", "certified_accuracy@x"], "the radius has to be a number above 0"),
        (["--objective", "acr", "--objective", "acr"], "named twice"),
        (["--sampler", "tpee"], "did you mean 'tpe'?"),
        (["--sampler", "grid"], "a grid needs points"),
        (["--sampler", "cma-es", "--objective", "acr", "--objective", "seconds"], "one objective"),
        (["--pruner", "medain"], "did you mean 'median'?"),
        (["--validation", "1.5"], "between 0 and 1"),
        (["--validation", "0.001"], "choose another --validation"),
        (["--method", "haet"], "did you mean 'heat'?"),
        (["--n", "5"], "the smallest n that works is 10"),
        (["--then", "walk"], "--then takes run"),
        (["--trials", "0"], "--trials"),
        (["--storage", "mysql://u:secret@h/d"], "mysql://u:***@h/d: write sqlite:///FILE"),
        (["--storage", "postgresql://u:secret@127.0.0.1:9/d"], "cannot use the storage postgresql://u:***@127.0.0.1:9/d"),
        (["--storage", "sqlite:////nowhere/at/all.db"], "cannot use the storage sqlite:////nowhere/at/all.db"),
        (["--storage", "/nowhere/at/all.journal"], "cannot use the storage /nowhere/at/all.journal"),
    ],
)  # fmt: skip
def test_mistakes_are_said_in_one_line_before_anything_is_done(
    suite: Cli, tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert said in suite.mistake(*COMMAND, *arguments, "--runs", str(tmp_path), "--no-track")
    assert not (tmp_path / "studies").exists()


def test_storages_that_are_none(suite: Cli, tmp_path: Path) -> None:
    runs = ["--runs", str(tmp_path), "--no-track"]
    assert "'suite tune' begins one" in suite.mistake("studies", "--runs", str(tmp_path))
    rubbish = tmp_path / "rubbish"
    rubbish.write_text("no storage at all\n")
    assert "cannot use the storage" in suite.mistake(*COMMAND, "--storage", f"sqlite:///{rubbish}", *runs)
    assert "cannot use the storage" in suite.mistake(*COMMAND, "--storage", str(rubbish), *runs)
    Storage(f"sqlite:///{tmp_path}/studies.db")
    assert "write sqlite:///" in suite.mistake(*COMMAND, "--storage", f"{tmp_path}/studies.db", *runs)
    assert "no study yet" in suite("studies", "--runs", str(tmp_path))[1]
