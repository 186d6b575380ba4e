"""The shell line of a run: taken by the command line, it makes a spec with the same digest."""

from __future__ import annotations

import json
import shlex
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT
from methods import METHODS
from suite.cli import main as cli
from suite.cli import runs
from suite.spec.run_spec import RunSpec
from suite.spec.shell_line import command
from suite.store.read import find_run, read_spec


class Stop(Exception):
    """The command line has read its settings."""


def read(line: str, monkeypatch: pytest.MonkeyPatch) -> tuple[RunSpec, tuple[str, ...]]:
    """The spec that the command line makes of a shell line."""
    found: list[dict[str, Any]] = []

    def catch(given: list[dict[str, Any]], *_: object, **__: object) -> None:
        found.extend(given)
        raise Stop

    monkeypatch.setattr(runs, "carry_out", catch)
    monkeypatch.setattr("suite.cli.protocols.carry_out", catch)
    words = shlex.split(line)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(Stop):
        cli.main()
    spec = RunSpec(**found[0])
    return spec, spec.protocols


TRAINED = [name for name in METHODS.paths() if METHODS.get(name).trains]
CHANGES: list[dict[str, Any]] = [
    {},
    {"seed": 3, "sigma": 0.31, "arch": "resnet20-w8", "lr": 0.05, "epochs": 0.5},
    {"n0": 7, "n": 777, "alpha": 0.01, "images": 11, "every": 3, "sampling": "adaptive", "radii": [0.1, 0.35]},
    {"certify.precision": "bf16", "precision": "bf16", "clip": None, "schedule": "steps", "milestones": [1, 2]},
    {"lbound.draws": 17, "attack": {"images": 3}, "audit.searches": ["pgd", "ddn"], "agreement.n": 30},
    {"training.augmentation": "none", "certify.top": 2, "protocols": "accuracy,certify,lbound"},
]
BOUNDED = {"arch": "lipschitz-small-w40", "protocols": "accuracy,certify,attack"}  # for networks with a bound
SCALES = [("demo", "digits"), ("quick", "cifar10"), ("paper", "cifar10"), ("paper", "imagenet"), ("quick", "a, b/c")]


@pytest.mark.slow
@pytest.mark.parametrize("method", TRAINED)
def test_every_method_and_scale_is_made_again(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for profile, dataset in SCALES:
        for change in CHANGES:
            if METHODS.get(method).needs_lipschitz:
                change = change | {name: value for name, value in BOUNDED.items() if name in change}
            spec = RunSpec(method=method, dataset=dataset, profile=profile, **change)
            again, protocols = read(command(spec, spec.protocols), monkeypatch)
            assert again.digest == spec.digest
            assert protocols == spec.protocols


@pytest.mark.slow
@pytest.mark.parametrize("method", ["heat", "madry-heat", "average"])
def test_models_within_a_run_are_made_again(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    own = {} if method == "average" else {"kappa": 3, "lambda": "exact"}
    changes: list[dict[str, Any]] = [
        {**own, "start.training.epochs": 2, "start.seed": 9},
        {"start.method": "randomized-smoothing", "start.lr": 0.3},
        {"agreement.against.training.epochs": 4, "agreement.against.seed": 2},
    ]
    for change in changes:
        spec = RunSpec(method=method, dataset="cifar10", profile="quick", **change)
        assert read(command(spec, spec.protocols), monkeypatch)[0].digest == spec.digest


@pytest.mark.parametrize("folder", sorted((PUBLISHED / KEPT).iterdir()), ids=lambda folder: folder.name)
def test_the_lines_of_kept_rows_make_their_models(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a recipe has changed since, or a method has a new setting."""
    result, spec = json.loads((folder / "result.json").read_bytes()), read_spec(folder)
    again, protocols = read(result["command"], monkeypatch)
    assert again.on(spec.data).model == spec.model
    assert again.certify == spec.certify
    assert protocols == tuple(result["protocols"])
    stored = json.loads((folder / "spec.json").read_bytes())
    assert spec.parameters.items() >= stored["parameters"].items()
    for step, own in ((spec, stored), (spec.start, stored["start"])):  # what an earlier row does not name was not there
        if step:
            assert step.parameters.get("label_smoothing", 0) == own["parameters"].get("label_smoothing", 0)


def test_the_line_is_short_and_the_same_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = RunSpec(method="heat", dataset="digits", profile="demo", kappa=3)
    assert command(spec, spec.protocols) == "suite run --method heat --dataset digits --profile demo --kappa 3"
    monkeypatch.setattr("suite.spec.fill_in.fast_precision", lambda: "bf16")
    spec = RunSpec(method="heat", dataset="cifar10", profile="quick", seed=1)
    line = command(spec, ["accuracy", "certify", "attack"])
    assert line.startswith("suite run --method heat --dataset cifar10 --profile quick --seed 1 ")
    assert line.endswith(" --protocols accuracy,certify,attack")
    monkeypatch.setattr("suite.spec.fill_in.fast_precision", lambda: "fp32")
    assert read(line, monkeypatch)[0].digest == spec.digest
    assert "--protocols all" in command(spec, RunSpec(method="heat", dataset="cifar10", protocols="all").protocols)


DEPLOYED: list[tuple[dict[str, Any], list[str]]] = [  # and what the line says of kind, deployment and noise
    ({"method": "lipschitz"}, []),
    ({"method": "lipschitz-heat", "seed": 2}, []),
    ({"method": "baseline", "arch": "lipschitz-small"}, []),
    ({"method": "heat", "deployed": "vote"}, ["--deployed", "vote"]),
    ({"method": "randomized-smoothing", "deployed": "pass"}, ["--deployed", "pass"]),
    ({"method": "lipschitz", "deployed": "vote", "sigma": 0.25}, ["--deployed", "vote"]),  # the profile's own noise
    ({"method": "lipschitz", "deployed": "vote", "sigma": 0.5}, ["--deployed", "vote", "--sigma", "0.5"]),
    ({"method": "lipschitz", "kind": "vote", "sigma": 0.25, "n": 70}, ["--sigma", "0.25", "--kind", "vote"]),
    ({"method": "lipschitz", "deployed": "pass", "kind": "margin", "images": 9}, []),
]


@pytest.mark.parametrize(("given", "said"), DEPLOYED, ids=str)
def test_what_is_certified_and_deployed_is_made_again(
    given: dict[str, Any], said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for profile, dataset in (("demo", "digits"), ("quick", "cifar10")):
        spec = RunSpec(**{"dataset": dataset, "profile": profile, **given})
        line = command(spec, spec.protocols)
        again, protocols = read(line, monkeypatch)
        assert (again.digest, again.name, protocols) == (spec.digest, spec.name, spec.protocols)
        words = shlex.split(line)
        options = ("--kind", "--deployed", "--sigma")
        assert [word for option, word in pairwise(words) if option in options] == said[1::2]
        assert [word for word in words if word in options] == said[::2]
        assert "null" not in line


@pytest.mark.parametrize("name", ["theirs.th", "its, own.th", "1"])
@pytest.mark.parametrize("profile", ["demo", "quick"])
def test_checkpoints(name: str, profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / name
    torch.save({"weight": torch.zeros(2)}, file)
    about: dict[str, Any] = {"method": "checkpoint", "dataset": "cifar10", "file": str(file), "profile": profile}
    for change in ({}, {"mean": [0.4, 0.5, 0.6], "std": [1, 1, 1], "deployed": "vote", "seed": 4, "n": 70, "lr": 3}):
        spec = RunSpec(**about, **change)
        line = command(spec, ["accuracy", "certify"])
        assert line.startswith("suite certify --checkpoint ")
        assert read(line, monkeypatch)[0].digest == spec.digest
        assert "sha256" not in line
        more = command(spec, ["accuracy", "certify", "lbound"])
        again, protocols = read(more, monkeypatch)
        assert (again.digest, protocols) == (spec.digest, ("accuracy", "certify", "lbound"))
    assert "--deployed vote" in line
    spec = RunSpec(**about, **{"parameters.deployed": "vote"})  # as earlier versions said it
    line = command(spec, ["accuracy", "certify"])
    assert read(line, monkeypatch)[0].digest == spec.digest
    spec = RunSpec(**about, arch="lipschitz-small")
    line = command(spec, ["accuracy", "certify"])
    assert "--sigma" not in line
    assert read(line, monkeypatch)[0].digest == spec.digest
    spec = RunSpec(method="heat", dataset="cifar10", profile=profile, init=str(file))
    line = command(spec, spec.protocols)
    assert "--init" in line
    assert read(line, monkeypatch)[0].digest == spec.digest
    file.unlink()  # a run whose checkpoint has gone still says how it was made
    assert command(spec, spec.protocols) == line


def test_recipes_differ_in_all_but_seeds() -> None:
    def recipe(**given: object) -> str:
        return RunSpec(**{"method": "heat", "dataset": "digits", **given}).recipe

    same = [
        {},
        {"seed": 1},
        {"start.seed": 5},
        {"agreement.against.seed": 2},
        {"profile": "demo"},
        {"protocols": "all"},
    ]
    assert len({recipe(**given) for given in same}) == 1
    other = [{}, {"sigma": 0.3}, {"kappa": 9}, {"n": 999}, {"start.training.epochs": 3}]
    assert len({recipe(**given) for given in other}) == len(other)


def test_the_settings_of_other_protocols_are_not_in_the_recipe_but_in_their_records_digest() -> None:
    def digest(seeds: bool, **given: object) -> str:
        return RunSpec(**{"method": "heat", "dataset": "digits", **given}).records_digest("agreement", seeds=seeds)

    same: list[dict[str, object]] = [{}, {"seed": 1}, {"agreement.against.seed": 2}]
    assert len({digest(False, **given) for given in same}) == 1
    assert len({digest(True, **given) for given in same}) == 3
    assert digest(False, **{"agreement.against.lr": 1}) != digest(False)
    assert (
        RunSpec(method="heat", dataset="digits", **{"agreement.against.lr": 1}).recipe
        == RunSpec(method="heat", dataset="digits").recipe
    )


def test_a_finished_runs_spec_keeps_its_digest(tmp_path: Path) -> None:
    from suite.store.files import write_json

    for method in TRAINED:
        spec = RunSpec(method=method, dataset="cifar10", profile="quick", seed=2).on("0123456789abcdef")
        (tmp_path / spec.name).mkdir()
        write_json(tmp_path / spec.name / "spec.json", spec.model_dump(mode="json"))
        assert read_spec(find_run(spec.name, tmp_path)).digest == spec.digest
