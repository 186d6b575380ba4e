"""Average: its loss is the formula's, its minimiser is the Gaussian average, and no label is read."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from helpers.adversarial import IMAGES, Recorder, digits, images, method, passes_counted, step, tiny
from helpers.known import Plane, Smoothed
from helpers.known import Step as HalfSpace
from helpers.networks import Scaled, smooth_model
from scipy.special import entr
from scipy.stats import norm
from torch import Tensor, nn

from methods import METHODS
from methods.average import Average
from suite import UserError
from suite.networks.architectures import build
from suite.spec.run_spec import RunSpec
from suite.training import train

SIGMA = 0.25


def average(f: nn.Module, sigma: float = SIGMA) -> Average:
    made = method("average", sigma)
    assert isinstance(made, Average)
    made.begin(f)
    return made


def network() -> nn.Module:
    return Scaled(smooth_model(), 3.0).eval()


def moved(model: nn.Module) -> nn.Module:
    """A copy whose weights have left the model's."""
    model = copy.deepcopy(model)
    source = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weights in model.parameters():
            weights += 0.1 * torch.randn(weights.shape, generator=source, dtype=weights.dtype)
    return model


# The formula


def softmax(z: list[float]) -> list[float]:
    total = sum(math.exp(value) for value in z)
    return [math.exp(value) / total for value in z]


def test_the_loss_is_its_formula() -> None:
    f, v, (x, _) = network(), moved(network()), images()
    made = average(f)
    noisy = Recorder(made.f)
    found = made.loss(v, x, None, step()).item()
    expected = 0.0
    for image, at_noise in zip(x, noisy.batches[0], strict=True):
        p, q = softmax(f(at_noise[None])[0].tolist()), softmax(v(image[None])[0].tolist())
        expected -= sum(p_k * math.log(q_k) for p_k, q_k in zip(p, q, strict=True))
    assert found == pytest.approx(expected / IMAGES, abs=1e-9)


def test_the_gradient_is_that_of_the_formula() -> None:
    """By central differences in some weights of every tensor."""
    f, v, (x, _) = network(), moved(network()), images()
    made, h = average(f), 1e-5
    made.loss(v, x, None, step()).backward()
    with torch.no_grad():
        for weights in v.parameters():
            assert weights.grad is not None
            for entry in range(0, weights.numel(), 1 + weights.numel() // 4):
                flat, before = weights.view(-1), weights.view(-1)[entry].item()
                around = []
                for shift in (h, -h):
                    flat[entry] = before + shift
                    around.append(made.loss(v, x, None, step()).item())
                flat[entry] = before
                expected = (around[0] - around[1]) / (2 * h)
                assert weights.grad.reshape(-1)[entry].item() == pytest.approx(expected, rel=1e-6, abs=1e-8)


# The minimiser


class Table(nn.Module):
    """Logits that are free for each of some images, of which a batch has so many copies, one image after another."""

    def __init__(self, images: int, classes: int, copies: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(images, classes))
        self.copies = copies

    def forward(self, x: Tensor) -> Tensor:
        return self.logits.repeat_interleave(self.copies, dim=0)


def minimise(made: Average, x: Tensor, classes: int, copies: int = 500, steps: int = 200) -> tuple[Table, float]:
    """The table that training by the loss ends with, at a learning rate that falls to 0, and its last losses' mean."""
    table, losses = Table(len(x), classes, copies), []
    for number in range(steps):
        loss = made.loss(table, x.repeat_interleave(copies, dim=0), None, step(number))
        (gradient,) = torch.autograd.grad(loss, [table.logits])
        with torch.no_grad():
            table.logits -= 2 * len(x) * (1 - number / steps) * gradient
        losses.append(loss.item())
    return table, sum(losses[steps // 2 :]) / (steps - steps // 2)


def test_the_minimiser_for_a_half_space_is_the_normal_distribution_function() -> None:
    """f answers by the side of a plane: at distance t its average is Φ(t/σ), and the least loss is its entropy."""
    t = torch.tensor([-0.5, -0.2, 0.0, 0.1, 0.3, 0.6])
    f = HalfSpace()
    table, loss = minimise(average(f), f.at(t), classes=2)
    expected = norm.cdf(t.numpy() / SIGMA)
    assert table.logits.softmax(dim=1)[:, 0].tolist() == pytest.approx(expected, abs=0.01)
    by_formula = Smoothed(SIGMA)(f.at(t)).exp()[:, 0]
    assert by_formula.tolist() == pytest.approx(expected, abs=1e-6)
    entropy = (entr(expected) + entr(1 - expected)).mean()
    assert loss == pytest.approx(entropy, abs=0.01)
    assert entropy > 0.3


def test_the_minimiser_is_the_average_of_probabilities_not_of_logits() -> None:
    """Where f's probabilities are curved, the two differ, and so do classes beyond the first two."""

    class Curved(Plane):
        def forward(self, x: Tensor) -> Tensor:
            t = self.distance(x)
            return torch.stack((20 * t, -20 * t + 2, 30 * (t - 0.3)), dim=1)

    f = Curved()
    t = torch.tensor([-0.1, 0.1, 0.2])
    table, _ = minimise(average(f), f.at(t), classes=3)
    grid = torch.linspace(-8, 8, 4_001)
    weights = (-grid.square() / 2).exp()
    weights /= weights.sum()
    around = t[:, None] + SIGMA * grid
    f_around = f(f.at(around.flatten())).softmax(dim=1).view(3, 4_001, 3)
    expected = (weights[:, None] * f_around).sum(dim=1)
    assert (table.logits.softmax(dim=1) - expected).abs().max() < 0.015
    of_logits = f(f.at(t)).softmax(dim=1)  # they are linear in t: their average is their value
    assert (of_logits - expected).abs().max() > 0.1


# What each model sees


def test_f_sees_the_images_with_noise_and_v_without() -> None:
    f, v, (x, _) = network(), moved(network()), images()
    before = x.clone()
    made = average(f)
    noisy, clean = Recorder(made.f), Recorder(v)
    made.loss(v, x, None, step())
    assert len(noisy.batches) == len(clean.batches) == 1
    assert torch.equal(clean.batches[0], before)
    assert torch.equal(x, before)
    eta = (noisy.batches[0] - x).flatten(1)
    assert eta.std().item() == pytest.approx(SIGMA, rel=0.05)
    assert (torch.corrcoef(eta) - torch.eye(IMAGES)).abs().max() < 0.4


def test_f_is_the_start_model_frozen() -> None:
    model, (x, _) = smooth_model().train(), images()
    made = average(model)
    before = copy.deepcopy(made.f.state_dict())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    made.loss(model, x, None, step()).backward()
    with torch.no_grad():
        for weights in model.parameters():
            weights += 1
    assert not made.f.training
    assert all(weights.grad is None and not weights.requires_grad for weights in made.f.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in made.f.state_dict().items())
    assert all(weights.grad is not None for weights in model.parameters())


def test_batch_norm_of_v_learns_the_clean_images() -> None:
    model, (x, _) = smooth_model().train(), images()
    expected = copy.deepcopy(model)
    average(model).loss(model, x, None, step())
    expected(x)
    for mine, theirs in zip(model.buffers(), expected.buffers(), strict=True):
        assert torch.equal(mine, theirs)


def test_the_noise_comes_from_the_generator_alone() -> None:
    f, (x, _) = network(), images()
    made, losses = average(f), []
    for global_seed, seed in ((0, 0), (1, 0), (0, 1)):
        torch.manual_seed(global_seed)
        losses.append(made.loss(f, x, None, step(seed)).item())
    assert losses[0] == losses[1] != losses[2]


def test_without_noise_the_start_model_is_the_minimiser() -> None:
    """The gradient is 0 at f's weights, and the loss is the mean entropy of its answers."""
    f, (x, _) = network(), images()
    made = average(f, sigma=0.0)
    loss = made.loss(f, x, None, step())
    entropies = entr(f(x).softmax(dim=1).detach().numpy()).sum(axis=1)
    assert loss.item() == pytest.approx(entropies.mean(), abs=1e-9)
    gradients = torch.autograd.grad(loss, list(f.parameters()))
    assert max(gradient.abs().max().item() for gradient in gradients) < 1e-12


def test_the_announced_passes_are_those_it_makes() -> None:
    model = build("resnet8", 10, (3, 16, 16), (0.5,) * 3, (0.3,) * 3)
    made, x = average(model), torch.rand(2, 3, 16, 16)
    counted = passes_counted(model, x, lambda: made.loss(model, x, None, step()).backward())
    assert counted == pytest.approx(made.passes, rel=0.03)


# Where it starts, and what it stands for


def test_it_starts_from_the_baseline_or_from_a_model_trained_at_the_runs_sigma() -> None:
    given: dict[str, Any] = {"method": "average", "dataset": "digits", "profile": "demo", "sigma": 0.3}
    spec = RunSpec(**given)
    baseline = RunSpec(method="baseline", dataset="digits", profile="demo")
    assert spec.start is not None
    assert spec.start.digest == baseline.model.digest
    other = RunSpec(**given, **{"start.method": "randomized-smoothing"})
    smoothing = RunSpec(method="randomized-smoothing", dataset="digits", profile="demo", sigma=0.3)
    assert other.start is not None
    assert other.start.sigma == 0.3
    assert other.start.digest == smoothing.model.digest
    assert other.agreement.against.digest == spec.agreement.against.digest == smoothing.model.digest
    assert other.digest != spec.digest
    longer = RunSpec(**given, **{"start.method": "randomized-smoothing", "start.training.epochs": 2})
    assert longer.start is not None
    assert longer.start.training.epochs == 2


def test_it_is_a_label_free_pass() -> None:
    kind = METHODS.get("average")
    assert (kind.deployed, kind.uses_labels, kind.uses_sigma) == ("pass", False, True)
    assert (kind.starts_from, kind.stands_for) == ("baseline", "randomized-smoothing")
    assert kind.summary.endswith("; one pass")


def test_recipes_take_one_epoch() -> None:
    for profile, dataset in (("demo", "digits"), ("quick", "cifar10"), ("paper", "cifar10"), ("paper", "imagenet")):
        training = RunSpec(method="average", dataset=dataset, profile=profile).training
        assert (training.epochs, training.schedule) == (1, "one-cycle")
        if profile != "demo":
            assert (training.batch_size, training.lr, training.weight_decay) == (128, 0.05, 0)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"kappa": 3}, "unknown setting 'kappa'"),
        ({"start.method": "randomised-smoothing"}, "did you mean 'randomized-smoothing'"),
        ({"start.kappa": 3}, "unknown setting 'kappa'"),
    ],
)
def test_settings_out_of_range(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        RunSpec(method="average", dataset="digits", **setting)
    assert "\n" not in str(raised.value)


# Trained


def trained(start: nn.Module | None = None, **given: Any) -> nn.Module:
    spec = RunSpec(dataset="digits", profile="demo", sigma=SIGMA, **given)
    made, model = spec.build_method(), copy.deepcopy(start) if start else tiny()
    made.begin(model)
    with TemporaryDirectory() as folder:
        train(model, made, digits(), spec.model, checkpoint=Path(folder) / "unfinished", device=torch.device("cpu"))
    return model.eval()


@torch.no_grad()
def gaussian_average(f: nn.Module, x: Tensor, draws: int = 500) -> Tensor:
    source = torch.Generator().manual_seed(7)
    noisy = (x + SIGMA * torch.randn(x.shape, generator=source) for _ in range(draws))
    return torch.stack([f(each).softmax(dim=1) for each in noisy]).mean(dim=0)


@pytest.mark.slow
@pytest.mark.parametrize("start", ["baseline", "randomized-smoothing"])
def test_an_epoch_brings_the_pass_near_the_average_of_the_start_model(start: str) -> None:
    """ℓ2 distance of probabilities on test images, of the start model's pass and of the trained one's."""
    f = trained(method=start, epochs=3)
    x = digits().test[torch.arange(0, 500, 5)].float() / 255
    target = gaussian_average(f, x)
    models = (f, trained(f, method="average"))
    before, after = ((model(x).softmax(dim=1) - target).norm(dim=1).mean().item() for model in models)
    print(f"{start}: {before:.3f}, {after:.3f}")
    assert after < 0.7 * before
