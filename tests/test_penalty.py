"""The gradient penalty of HeatSmoothing against the exact Jacobian and against the plain loop over projections."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import methods.heat
import methods.penalty
from methods.penalty import draw_projections, gradient_penalty
from suite import UserError
from suite.networks.architectures import build

CLASSES = 6


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth_network(classes: int = CLASSES) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 9), nn.Softplus(), nn.Linear(9, classes)).double()


def inputs(batch: int) -> Tensor:
    return torch.randn(batch, 5, generator=seeded(1), dtype=torch.float64)


def exact(v: nn.Module, x: Tensor) -> Tensor:
    """‖∇v(x)‖²_F per image."""
    jacobian = torch.func.vmap(torch.func.jacrev(v))(x)
    return jacobian.square().sum(dim=(1, 2)).detach()


def estimate(v: nn.Module, x: Tensor, seed: int = 0, **settings: Any) -> Tensor:
    x = x.detach().requires_grad_()
    given = {"kappa": CLASSES, "delta": 1e-6, "generator": seeded(seed), **settings}
    return gradient_penalty(v, x, v(x), **given)


def samples(v: nn.Module, x: Tensor, draws: int, **settings: Any) -> Tensor:
    """Independent estimates (draws, B)."""
    return estimate(v, x.repeat(draws, 1), **settings).detach().view(draws, -1)


@pytest.mark.parametrize("projections", ["gaussian", "orthogonal"])
@pytest.mark.parametrize("kappa", [1, 2, 4])
def test_the_penalty_is_unbiased_or_off_by_kappa_over_classes(projections: str, kappa: int) -> None:
    v, x = smooth_network(), inputs(4)
    found = samples(v, x, 8_000, kappa=kappa, projections=projections, normalise="unbiased")
    standard_error = found.std(dim=0) / len(found) ** 0.5
    assert ((found.mean(dim=0) - exact(v, x)).abs() < 4 * standard_error).all()
    assert (standard_error < 0.02 * exact(v, x)).all()
    printed = samples(v, x, 8_000, kappa=kappa, projections=projections, normalise="paper")
    torch.testing.assert_close(printed * CLASSES / kappa, found, rtol=1e-12, atol=0)


@pytest.mark.parametrize("normalise", ["paper", "unbiased"])
def test_as_many_orthogonal_projections_as_classes_are_exact(normalise: str) -> None:
    v, x = smooth_network(), inputs(50)
    found = estimate(v, x, projections="orthogonal", normalise=normalise, delta=1e-7)
    torch.testing.assert_close(found.detach(), exact(v, x), rtol=1e-6, atol=0)


def test_the_finite_difference_errs_to_first_order() -> None:
    v, x = smooth_network(), inputs(50)
    deltas = [0.04 / 2**i for i in range(6)]
    bias = [
        float((estimate(v, x, projections="orthogonal", delta=delta) - exact(v, x)).sum().detach()) for delta in deltas
    ]
    ratios = [before / after for before, after in pairwise(bias)]
    assert ratios[-1] == pytest.approx(2, abs=0.02)
    assert all(abs(after - 2) < abs(before - 2) for before, after in pairwise(ratios))


def by_plain_loop(v: nn.Module, x: Tensor, w: Tensor, delta: float) -> Tensor:
    """The penalty as the paper writes it, one projection after another."""
    x = x.detach().requires_grad_()
    vx = v(x)
    total = torch.zeros(len(x), dtype=x.dtype)
    for w_j in w:
        (g,) = torch.autograd.grad((w_j * vx).sum(), x, retain_graph=True)
        direction = g / g.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1))
        total = total + (((w_j * v(x.detach() + delta * direction)).sum(1) - (w_j * vx).sum(1)) / delta) ** 2
    return total


@pytest.mark.parametrize("projections", ["gaussian", "orthogonal"])
def test_value_and_gradients_are_those_of_the_plain_loop(projections: Any) -> None:
    v, x = smooth_network(), inputs(7)
    w = draw_projections(projections, 3, 7, CLASSES, generator=seeded(), dtype=x.dtype)
    plain = by_plain_loop(v, x, w, 0.1)
    batched = estimate(v, x, kappa=3, delta=0.1, projections=projections)
    torch.testing.assert_close(batched, plain)
    weights = list(v.parameters())
    torch.testing.assert_close(torch.autograd.grad(batched.sum(), weights), torch.autograd.grad(plain.sum(), weights))


@pytest.mark.parametrize("statistics", ["frozen", "training", "partly", "untracked"])
@pytest.mark.parametrize("kappa", [1, 5])
def test_batch_norm_sees_what_it_sees_in_the_plain_loop(
    monkeypatch: pytest.MonkeyPatch, statistics: str, kappa: int
) -> None:
    """To 1e-10 in loss, weight gradient and running statistics; projections share passes where nothing is mixed."""
    monkeypatch.setattr(methods.penalty, "PASS", 10)
    torch.manual_seed(0)
    v = build("resnet8-w4", 10, (3, 8, 8), (0.5,) * 3, (0.25,) * 3).double().train(statistics in ("training", "partly"))
    if statistics == "partly":
        v.get_submodule("network.bn1").eval()
    if statistics == "untracked":  # such a layer takes the batch's statistics in evaluation mode, too
        for layer in v.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    ours, plain = copy.deepcopy(v), copy.deepcopy(v)
    x = torch.rand(5, 3, 8, 8, generator=seeded(), dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    w = draw_projections("gaussian", kappa, 5, 10, generator=seeded(), dtype=torch.float64)
    passes: list[int] = []
    ours.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    found, expected = estimate(ours, x, kappa=kappa, delta=0.1), by_plain_loop(plain, x, w, 0.1)
    gradients = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss.mean(), list(model.parameters()))])
        for model, loss in ((ours, found), (plain, expected))
    ]
    for one, other in [(found, expected), gradients, *zip(ours.buffers(), plain.buffers(), strict=True)]:
        assert float((one - other).detach().double().norm()) <= 1e-10 * float(other.detach().double().norm())
    groups = {1: [5], 5: [10, 10, 5]}[kappa]
    assert passes == [5, *(groups if statistics == "frozen" else [5] * kappa)]


def test_logits_of_less_precision_are_subtracted_in_that_of_the_images() -> None:
    class Halved(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).bfloat16()

    torch.manual_seed(0)
    v, x = Halved(5, CLASSES), inputs(50).float().requires_grad_()
    w = draw_projections("gaussian", 1, 50, CLASSES, generator=seeded(), dtype=x.dtype)[0]
    vx = v(x)
    (g,) = torch.autograd.grad(vx, x, w.bfloat16(), retain_graph=True)
    moved = v(x + 2 * g / g.norm(dim=1, keepdim=True))
    expected = ((w * (moved.double() - vx.double())).sum(1) / 2).square()
    found = gradient_penalty(v, x, vx, kappa=1, delta=2.0, generator=seeded())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("images_a_pass", [1, 10, 256])
def test_grouping_the_projections_changes_the_number_of_passes_only(
    monkeypatch: pytest.MonkeyPatch, images_a_pass: int
) -> None:
    monkeypatch.setattr(methods.penalty, "PASS", images_a_pass)
    v, x = smooth_network(), inputs(5)
    passes: list[int] = []
    w = draw_projections("gaussian", 4, 5, CLASSES, generator=seeded(), dtype=x.dtype)
    expected = by_plain_loop(v, x, w, 0.1)
    x.requires_grad_()
    vx = v(x)
    v.register_forward_pre_hook(lambda _, given: passes.append(len(given[0])))
    found = gradient_penalty(v, x, vx, kappa=4, delta=0.1, generator=seeded())
    torch.testing.assert_close(found, expected)
    assert passes == {1: [5] * 4, 10: [10, 10], 256: [20]}[images_a_pass]


@pytest.mark.parametrize("kappa", [2, 3, 5, 10])
def test_orthogonal_projections_vary_less_than_gaussian_ones(kappa: int) -> None:
    v, x = smooth_network(10), inputs(4)
    variance = {
        kind: samples(v, x, 4_000, kappa=kappa, projections=kind, normalise="unbiased").var(dim=0)
        for kind in ("gaussian", "orthogonal")
    }
    assert (variance["orthogonal"] < variance["gaussian"]).all()
    if kappa == 10:
        assert (variance["orthogonal"] < 1e-8 * exact(v, x) ** 2).all()


def test_orthogonal_projections_are_orthonormal_and_isotropic() -> None:
    w = draw_projections("orthogonal", 3, 20_000, CLASSES, generator=seeded(), dtype=torch.float64)
    products = torch.einsum("jbc,kbc->bjk", w, w)
    torch.testing.assert_close(products, torch.eye(3, dtype=torch.float64).expand_as(products))
    for w_j in w:
        assert float(w_j.mean(dim=0).abs().max()) < 0.012  # 4 standard errors; a QR without signs fixed fails here
        assert float((w_j.T @ w_j / len(w_j) - torch.eye(CLASSES) / CLASSES).abs().max()) < 0.01


def test_where_the_gradient_is_zero_so_is_the_penalty() -> None:
    v = nn.Linear(5, CLASSES).double()
    nn.init.zeros_(v.weight)
    assert estimate(v, inputs(3)).tolist() == [0, 0, 0]


def test_there_are_no_more_orthogonal_projections_than_classes() -> None:
    with pytest.raises(UserError, match=r"no 7 orthogonal projections of 6 logits: take kappa ≤ 6") as caught:
        estimate(smooth_network(), inputs(2), kappa=7, projections="orthogonal")
    assert "\n" not in str(caught.value)
