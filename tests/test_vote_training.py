"""What Stability, Consistency and Macer share: gradients, draws of noise, cost, and settings."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from helpers.adversarial import IMAGES, Recorder, draws_of, images, method, passes_counted, step, tiny, watch
from helpers.networks import smooth_model
from helpers.votes import (
    DRAWS,
    SIGMA,
    macer_case,
    made,
    network,
    value,
)
from torch import Tensor, nn

from methods import METHODS, Method
from suite import UserError
from suite.networks.architectures import build
from suite.spec.run_spec import RunSpec


def slopes(method: Method[Any], model: nn.Module, x: Tensor, y: Any) -> tuple[Tensor, Tensor]:
    """The gradient of the loss in some weights of every tensor of them, and by central differences."""
    model = copy.deepcopy(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    exact = torch.autograd.grad(method.loss(model, x, y, step()), parameters)
    found, expected, h = [], [], 1e-5
    with torch.no_grad():
        for parameter, gradient in zip(parameters, exact, strict=True):
            for entry in range(0, parameter.numel(), 1 + parameter.numel() // 4):
                flat, before = parameter.view(-1), parameter.view(-1)[entry].item()
                around = []
                for shift in (h, -h):
                    flat[entry] = before + shift
                    around.append(value(method, model, x, y))
                flat[entry] = before
                found.append(gradient.reshape(-1)[entry])
                expected.append((around[0] - around[1]) / (2 * h))
    return torch.stack(found), torch.tensor(expected, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "given"), [("stability", {"lambda": 2}), ("consistency", {"lambda": 20}), ("macer", {"beta": 4})]
)
def test_the_gradient_is_that_of_the_formula(name: str, given: dict[str, Any]) -> None:
    model, (x, y) = network(), images()
    if name == "macer":
        model, x, y, _, given["gamma"] = macer_case(3, 4.0)
    found, expected = slopes(made(name, **given), model, x, y)
    assert len(found) > 15
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
    without, _ = slopes(made(name, **given | {"lambda": 0}), model, x, y)
    assert (found - without).abs().max() > 1e-3  # the regulariser takes part


@pytest.mark.parametrize("name", DRAWS)
def test_the_passes_see_the_images_at_their_draws(name: str) -> None:
    model, (x, y) = network(), images()
    seen = watch(made(name), model, x, y)
    if name == "stability":
        assert [len(batch) for batch in seen.batches] == [IMAGES, IMAGES]
        assert torch.equal(seen.batches[0], x)
    else:
        assert [len(batch) for batch in seen.batches] == [3 * IMAGES]
    eta = (draws_of(seen.batches[-1], DRAWS[name]) - x).flatten(2)
    assert eta.std().item() == pytest.approx(SIGMA, rel=0.05)
    correlation = torch.corrcoef(eta.flatten(0, 1))
    assert (correlation - torch.eye(len(correlation))).abs().max() < 0.4  # no two draws are the same
    twice = watch(made(name, sigma=2 * SIGMA), model, x, y)
    torch.testing.assert_close((draws_of(twice.batches[-1], DRAWS[name]) - x).flatten(2), 2 * eta)


@pytest.mark.parametrize("name", DRAWS)
def test_the_noise_comes_from_the_generator_alone(name: str) -> None:
    model, (x, y) = network(), images()
    losses = []
    for global_seed, seed in ((0, 0), (1, 0), (0, 1)):
        torch.manual_seed(global_seed)
        losses.append(value(made(name), model, x, y, seed=seed))
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("name", DRAWS)
def test_batch_norm_learns_the_statistics_of_the_passes(name: str) -> None:
    """In training, Stability's clean and noisy images are two batches; the others' draws are one."""
    model, (x, y) = smooth_model().train(), images()
    trained, expected = copy.deepcopy(model), copy.deepcopy(model)
    seen = Recorder(trained)
    made(name).loss(trained, x, y, step())
    assert all(seen.training)
    for batch in seen.batches:
        expected(batch)
    for mine, theirs in zip(trained.buffers(), expected.buffers(), strict=True):
        torch.testing.assert_close(mine, theirs)
    assert not torch.equal(trained.get_buffer("1.running_mean"), model.get_buffer("1.running_mean"))


@pytest.mark.parametrize("name", DRAWS)
def test_under_bf16_the_loss_is_taken_in_single_precision(name: str) -> None:
    model, x, y = tiny(), torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(6)
    full = made(name).loss(model, x, y, step())
    with torch.autocast("cpu", torch.bfloat16):
        half = made(name).loss(model, x, y, step())
    assert half.dtype == torch.float32
    assert half.item() != full.item()
    assert half.item() == pytest.approx(full.item(), rel=0.02)
    half.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "given"), [("stability", {}), ("consistency", {}), ("consistency", {"m": 5}), ("macer", {"m": 3})]
)
def test_the_announced_passes_are_those_it_makes(name: str, given: dict[str, Any]) -> None:
    model = build("resnet8", 10, (3, 16, 16), (0.5,) * 3, (0.3,) * 3)
    x, y = torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.long)
    chosen = method(name, **given)
    counted = passes_counted(model, x, lambda: chosen.loss(model, x, y, step()).backward())
    assert counted == pytest.approx(chosen.passes, rel=0.03)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        ("consistency", {0.12: 20, 0.25: 20, 0.26: 10, 0.5: 10, 1.0: 10}),
        ("macer", {0.12: 12, 0.25: 12, 0.26: 4, 0.5: 4, 0.51: 12, 1.0: 12}),
        ("stability", {0.25: 2, 1.0: 2}),
    ],
)
def test_the_weight_is_the_papers_for_the_runs_sigma_unless_it_is_given(name: str, weights: dict[float, float]) -> None:
    model, x, y, _, _ = macer_case(3, 16.0)  # some soft answers are right
    for sigma, weight in weights.items():
        spec = RunSpec(method=name, dataset="digits", profile="paper", sigma=sigma)
        given = RunSpec(method=name, dataset="digits", profile="paper", sigma=sigma, **{"lambda": weight})
        other = RunSpec(method=name, dataset="digits", profile="paper", sigma=sigma, **{"lambda": weight + 1})
        ours, same, more = (value(each.build_method(), model, x, y) for each in (spec, given, other))
        assert ours == same != more


def test_the_papers_recipes() -> None:
    def paper(name: str, dataset: str = "cifar10") -> Any:
        return RunSpec(method=name, dataset=dataset, profile="paper")

    stability, consistency, macer = paper("stability"), paper("consistency"), paper("macer")
    assert {spec.arch for spec in (stability, consistency, macer)} == {"resnet110"}
    assert stability.training == paper("randomized-smoothing").training
    assert stability.parameters == {"lambda": 2.0}
    assert consistency.training == paper("smoothadv").training
    assert consistency.training.batch_size * consistency.parameters["m"] == 256
    assert consistency.parameters == {"m": 2, "eta": 0.5, "lambda": None}
    training = macer.training
    assert (training.epochs, training.batch_size, training.lr) == (440, 64, 0.01)
    assert (training.schedule, training.milestones, training.factor) == ("steps", (200, 400), 0.1)
    assert (training.momentum, training.nesterov, training.weight_decay) == (0.9, False, 5e-4)
    assert macer.parameters == {"m": 16, "beta": 16.0, "gamma": 8.0, "warmup": 0.0, "lambda": None}
    for name in DRAWS:
        assert paper(name, "cifar100").training == paper(name).training
        quick = RunSpec(method=name, dataset="cifar10", profile="quick")
        assert quick.training.epochs * quick.build_method().passes == 24  # as long as 8 epochs of the baseline


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_deployed_is_a_vote_trained_at_the_runs_sigma(name: str) -> None:
    kind = METHODS.get(name)
    assert (kind.deployed, kind.uses_sigma, kind.uses_labels, kind.starts_from) == ("vote", True, True, None)
    assert kind.summary.endswith("; voted")


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("stability", {"lambda": -1}, "Stability lambda: .*greater than or equal to 0"),
        ("stability", {"lambda": None}, "Stability lambda: .*valid number"),
        ("stability", {"m": 2}, "unknown setting 'm'"),
        ("consistency", {"lambda": math.inf}, "Consistency lambda: .*finite"),
        ("consistency", {"m": 0}, "Consistency m: .*greater than or equal to 1"),
        ("consistency", {"eta": -0.5}, "Consistency eta: .*greater than or equal to 0"),
        ("consistency", {"lamda": 3}, "did you mean 'lambda'"),
        ("macer", {"beta": 0}, "Macer beta: .*greater than 0"),
        ("macer", {"gamma": -1}, "Macer gamma: .*greater than or equal to 0"),
        ("macer", {"warmup": -1}, "Macer warmup: .*greater than or equal to 0"),
        ("macer", {"m": 10**6}, "Macer m: .*1000"),
    ],
)
def test_settings_out_of_range(name: str, setting: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        RunSpec(method=name, dataset="digits", **setting)
    assert "\n" not in str(raised.value)
