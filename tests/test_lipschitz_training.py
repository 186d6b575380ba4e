"""Training for margins: the loss against its formula, what its worst point is, and what the label-free one reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.cli import call, succeed
from torch import Tensor, nn

from methods import METHODS
from methods.lipschitz import worst_logits
from methods.method import Step
from suite.networks.architectures import build
from suite.spec.run_spec import RunSpec


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = build("lipschitz-small-w8", 4, (1, 8, 8), (0.5,), (0.3,)).double()
    with torch.no_grad():
        model.get_submodule("network").get_submodule("head").weight.mul_(3)  # type: ignore[operator]
    return model


def method_of(name: str, rho: float, model: nn.Module, start: nn.Module | None = None) -> Any:
    kind = METHODS.get(name)
    method = kind(kind.Parameters(rho=rho), 0.0)
    method.begin(model, start)
    return method


def plain_loss(u: list[list[float]], w: list[list[float]], y: list[int], rho: float) -> float:
    """The mean of −log softmax of the worst logits, image by image and class by class."""
    total = 0.0
    for logits, label in zip(u, y, strict=True):
        worst = [logits[j] + (0 if j == label else rho * math.dist(w[label], w[j])) for j in range(len(logits))]
        total += math.log(sum(math.exp(value) for value in worst)) - worst[label]
    return total / len(y)


def step() -> Step:
    return Step(torch.Generator().manual_seed(0))


@pytest.mark.parametrize("rho", [0.05, 0.4])
def test_the_loss_is_its_formula(rho: float) -> None:
    model = small_model()
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = method_of("lipschitz", rho, model).loss(model, x, y, step())
    head: Any = model.get_submodule("network").get_submodule("head")
    expected = plain_loss(model(x).tolist(), head.weight.tolist(), y.tolist(), rho)
    assert loss.item() == pytest.approx(expected, rel=1e-12)


def test_its_gradient_is_that_of_finite_differences() -> None:
    model = small_model()
    method = method_of("lipschitz", 0.3, model)
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([0, 1, 2])
    method.loss(model, x, y, step()).backward()
    for name, parameter in model.named_parameters():
        gradient = parameter.grad
        assert gradient is not None, name
        place = torch.unravel_index(gradient.abs().argmax(), gradient.shape)
        values, h = [], 1e-6
        for sign in (1, -1):
            with torch.no_grad():
                parameter[place] += sign * h
                values.append(method.loss(model, x, y, step()).item())
                parameter[place] -= sign * h
        assert (values[0] - values[1]) / (2 * h) == pytest.approx(float(gradient[place]), rel=1e-5), name


def test_the_worst_logits_are_those_where_another_class_has_come_nearest() -> None:
    """With features that are the point itself: its margin to class j is smallest on the way along w_j − w_y."""
    head = nn.Linear(3, 4).double()
    point = torch.tensor([[0.3, -0.2, 0.5]], dtype=torch.float64)
    worst = worst_logits(head(point), torch.tensor([1]), head, 0.25)
    for j in (0, 2, 3):
        way = head.weight[j] - head.weight[1]
        there = head(point + 0.25 * way / way.norm())
        assert (worst[0, j] - worst[0, 1]).item() == pytest.approx((there[0, j] - there[0, 1]).item(), rel=1e-12)


class Answers(nn.Module):
    """A start model that says which class an image is by its first pixel, and counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        return nn.functional.one_hot((3.999 * x[:, 0, 0, 0]).long(), 4).double()


def test_the_label_free_loss_is_that_of_the_answers_of_the_start_model() -> None:
    model, start = small_model(), Answers()
    x = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = method_of("lipschitz-heat", 0.2, model, start).loss(model, x, None, step())
    expected = method_of("lipschitz", 0.2, model).loss(model, x, (3.999 * x[:, 0, 0, 0]).long(), step())
    assert found.item() == pytest.approx(expected.item(), rel=1e-12)
    assert start.asked == 1


@pytest.mark.parametrize(("dataset", "arch"), [("cifar10", "airbench-w32"), ("digits", "cnn")])
def test_the_start_model_has_an_architecture_and_a_recipe_of_its_own(dataset: str, arch: str) -> None:
    spec = RunSpec(method="lipschitz-heat", dataset=dataset, profile="quick" if dataset == "cifar10" else "demo")
    start = spec.start
    assert start is not None
    assert spec.arch.startswith("lipschitz-small")
    assert (start.method, start.arch, start.sigma) == ("baseline", arch, None)
    assert start.training == RunSpec(method="baseline", dataset=dataset, profile=spec.profile).training
    assert spec.sigma is None
    assert not METHODS.get("lipschitz-heat").uses_labels


def test_another_start_keeps_the_noise_that_it_is_trained_with() -> None:
    spec = RunSpec(
        method="lipschitz-heat", dataset="cifar10", profile="quick", sigma=0.5, start={"method": "randomized-smoothing"}
    )
    assert spec.start is not None
    assert (spec.start.method, spec.start.arch, spec.start.sigma) == ("randomized-smoothing", "airbench-w32", 0.5)
    assert spec.sigma is None


def test_a_margin_row_does_not_depend_on_settings_of_the_noise() -> None:
    plain = RunSpec(method="lipschitz", dataset="digits")
    given = RunSpec(method="lipschitz", dataset="digits", sigma=0.5, n=123, n0=7, alpha=0.01, sampling="adaptive")
    assert given == plain
    vote = RunSpec(method="lipschitz", dataset="digits", deployed="vote", sigma=0.5)
    assert (vote.certify.kind, vote.sigma, vote.deployed) == ("vote", 0.5, "vote")
    assert vote.model == plain.model
    assert vote.name != plain.name


def test_a_method_that_trains_with_noise_keeps_it_where_margins_have_none(tmp_path: Path) -> None:
    given = {"method": "randomized-smoothing", "dataset": "digits", "arch": "lipschitz-small-w8", "sigma": 0.5}
    vote, margin = RunSpec(**given), RunSpec(**given, deployed="pass", protocols="all")
    assert (vote.certify.kind, margin.certify.kind) == ("vote", "margin")
    assert (margin.sigma, margin.noise_sigma, vote.noise_sigma) == (0.5, None, 0.5)
    assert margin.model == vote.model
    assert margin.build_method().sigma == 0.5
    assert margin.protocols == ("accuracy", "certify", "attack", "timing", "audit")
    line = ["run", "--method", "randomized-smoothing", "--dataset", "digits", "--arch", "lipschitz-small-w8"]
    line += ["--sigma", "0.5", "--deployed", "pass", "--epochs", "0.2", "--images", "5", "--no-track"]
    row = json.loads(succeed(*line, "--runs", str(tmp_path), "--format", "json"))
    assert (row["kind"], row["sigma"], row["trained_sigma"]) == ("margin", None, 0.5)
    assert "--sigma 0.5" in row["command"]
    baseline = RunSpec(method="baseline", dataset="digits", arch="lipschitz-small-w8", sigma=0.5)
    assert baseline.sigma is None


@pytest.mark.parametrize(
    ("method", "own", "other"), [("heat", "pass", "vote"), ("randomized-smoothing", "vote", "pass")]
)
def test_what_a_row_deploys_is_a_setting_and_its_own_default_moves_nothing(method: str, own: str, other: str) -> None:
    usual = RunSpec(method=method, dataset="digits")
    same = RunSpec(method=method, dataset="digits", deployed=own)
    turned = RunSpec(method=method, dataset="digits", deployed=other)
    assert (usual.deployed, turned.deployed) == (own, other)
    assert same == usual
    assert turned.model == usual.model
    assert turned.name != usual.name
    for protocol in ("attack", "lbound", "audit"):
        assert turned.records_digest(protocol) != usual.records_digest(protocol)
    assert turned.records_digest("accuracy") == usual.records_digest("accuracy")


def test_a_pass_of_a_vote_trained_model_is_certified_as_a_pass(tmp_path: Path) -> None:
    line = ["run", "--method", "randomized-smoothing", "--dataset", "digits", "--no-track", "--epochs", "1"]
    line += ["--images", "10", "--n", "100", "--runs", str(tmp_path), "--format", "json"]
    rows = [json.loads(call(*line, *more).out) for more in ([], ["--set", "deployed=pass"])]
    assert [(row["deployed"], row["n0"]) for row in rows] == [("vote", 100), ("pass", 0)]
    assert "not guaranteed of the single pass" in rows[1]["claim"]
    assert len(list((tmp_path / "models").glob("randomized-smoothing-*"))) == 1
