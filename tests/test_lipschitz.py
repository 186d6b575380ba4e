"""Lipschitz layers and networks: their bounds, shown by exact Jacobians, attacks, and another library's layers."""

from __future__ import annotations

import itertools

import pytest
import torch
from deel import torchlip
from torch import Tensor, nn
from torch.autograd.functional import jacobian

from suite import UserError
from suite.networks.architectures import build
from suite.networks.lipschitz import SLL, Layer, LipschitzNetwork, Pool, Unshuffle, Widen
from suite.networks.margins import check_bound, lipschitz_bound

EPS = 1e-12


def random_sll(channels: int, hidden: int, kernel: int, seed: int, scale: float = 1.0) -> SLL:
    """With weights, biases and q that are anything but what training begins with."""
    layer = SLL(channels, hidden, kernel).double()
    stream = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=stream, dtype=torch.float64))
        layer.bias.copy_(0.3 * torch.randn(hidden, generator=stream, dtype=torch.float64))
        layer.log_q.copy_(torch.randn(hidden, generator=stream, dtype=torch.float64))
    return layer.eval()


def matrix_at(layer: nn.Module, x: Tensor) -> Tensor:
    """The Jacobian of a layer at one image (1, C, H, W), as a matrix."""
    found = jacobian(layer, x)
    assert isinstance(found, Tensor)
    return found.reshape(found.shape[: found.dim() // 2].numel(), x.numel())


def steepest(layer: nn.Module, points: int = 20, size: int = 4) -> float:
    """The largest singular value of the layer's Jacobians at random images."""
    stream = torch.Generator().manual_seed(9)
    channels = layer.weight.shape[1] if isinstance(layer, SLL) else 3
    images = torch.randn(points, 1, channels, size, size, generator=stream, dtype=torch.float64)
    return max(float(torch.linalg.matrix_norm(matrix_at(layer, image), ord=2)) for image in images)


@pytest.mark.parametrize(("channels", "hidden", "kernel"), [(3, 2, 3), (2, 5, 3), (4, 4, 1), (1, 3, 5)])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_no_jacobian_of_an_sll_layer_is_larger_than_1(channels: int, hidden: int, kernel: int, scale: float) -> None:
    for seed in range(3):
        layer = random_sll(channels, hidden, kernel, seed, scale)
        assert layer.lipschitz_bound() == 1
        assert steepest(layer, points=6) <= 1 + EPS


def test_the_bound_is_reached() -> None:
    """One filter that answers to everything: x − 2wwᵀx/‖w‖² is a reflection, whose singular values are all 1."""
    layer = random_sll(2, 1, 1, seed=0)
    with torch.no_grad():
        layer.bias.fill_(100)
    values = torch.linalg.svdvals(matrix_at(layer.eval(), torch.zeros(1, 2, 3, 3, dtype=torch.float64)))
    assert torch.allclose(values, torch.ones_like(values), atol=1e-12)


def test_a_layer_with_its_divisor_halved_says_3_and_fails_the_test_of_1() -> None:
    """x − 4ww ᵀx/‖w‖² takes w to −3w: the bound 2c − 1 of c = 2 is exact there."""
    layer = random_sll(2, 1, 1, seed=0)
    with torch.no_grad():
        layer.bias.fill_(100)
        layer.eval().factors.mul_(2)
    assert layer.lipschitz_bound() == pytest.approx(3, abs=1e-6)
    assert steepest(layer, points=2) == pytest.approx(3, abs=1e-6)


def test_an_attack_finds_out_a_network_whose_divisors_are_far_too_small() -> None:
    """Its layers say so themselves; where the network keeps to 1, the attack contradicts it."""
    model = build("lipschitz-small-w16", 4, (1, 8, 8), (0.5,), (0.3,)).eval()
    network = model.get_submodule("network")
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, SLL):
                layer.bias.fill_(100)  # all filters answer
                layer.factors.mul_(50)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert lipschitz_bound(model) > 100
    assert check_bound(model, x) <= lipschitz_bound(model)
    network.lipschitz_bound = lambda: 1.0  # type: ignore[assignment,method-assign]
    with pytest.raises(UserError, match=r"declares a Lipschitz bound of 1 .* moves its features"):
        check_bound(model, x)


def test_zero_padding_changes_neither_divisor_nor_bound() -> None:
    """Filters whose correlations cancel on the plane do not cancel at an image's edge, and T is enough even so."""
    layer = SLL(1, 2, 3).double()
    with torch.no_grad():
        layer.weight.copy_(
            torch.tensor([[[1.0, 0, 1], [0, 0, 0], [1, 0, 1]], [[1.0, 0, -1], [0, 0, 0], [-1, 0, 1]]])[:, None]
        )
        layer.bias.fill_(50)
    assert steepest(layer.eval(), points=1, size=3) <= 1 + EPS


def test_the_divisors_are_the_row_sums_of_the_matrix_written_out() -> None:
    """W as a dense matrix from a 3×3 image to a 5×5 plane, which has all shifts of the filters in full."""
    layer = random_sll(2, 3, 3, seed=4)
    whole = nn.Conv2d(2, 3, 3, padding=2, bias=False).double()
    with torch.no_grad():
        whole.weight.copy_(layer.weight)
    w = matrix_at(whole, torch.zeros(1, 2, 7, 7, dtype=torch.float64))  # (3·9·9, 2·7·7)
    product = (w @ w.T).abs().reshape(3, 81, 3, 81)
    q = layer.log_q.exp()
    centre = product[:, 40]  # the filters in the middle of the plane, whose neighbours are all there
    expected = torch.einsum("ijp,j->i", centre, q) / q
    assert torch.allclose(layer.divisors(torch.float64), expected, rtol=1e-12)


@pytest.mark.parametrize("layer", [Unshuffle(), Widen(7)])
def test_isometries_keep_distances(layer: Layer) -> None:
    matrix = matrix_at(layer, torch.randn(1, 3, 4, 4, dtype=torch.float64))
    assert torch.equal(matrix.T @ matrix, torch.eye(48, dtype=torch.float64))
    assert layer.lipschitz_bound() == 1


@pytest.mark.parametrize("size", [4, 5])
def test_pooling_is_a_projection(size: int) -> None:
    matrix = matrix_at(Pool(), torch.randn(1, 3, size, size, dtype=torch.float64))
    assert torch.allclose(matrix @ matrix.T, torch.eye(12, dtype=torch.float64), atol=EPS)


def test_parts_do_what_those_of_an_independent_library_do() -> None:
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(Pool()(x), torchlip.ScaledAvgPool2d(2)(x), atol=1e-6)
    theirs, ours = torchlip.InvertibleDownSampling(2)(x), Unshuffle()(x)
    assert torch.equal(theirs.flatten(1).sort().values, ours.flatten(1).sort().values)


@pytest.mark.parametrize("arch", ["lipschitz-small-w16", "lipschitz-medium-w12"])
def test_no_attack_moves_the_features_farther_than_the_network_declares(arch: str) -> None:
    torch.manual_seed(0)
    model = build(arch, 10, (3, 16, 16), (0.5,) * 3, (0.25,) * 3)
    stream = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("weight", "bias", "log_q")):
                parameter.mul_(3).add_(0.3 * torch.randn(parameter.shape, generator=stream))
    x = torch.rand(4, 3, 16, 16, generator=stream)
    assert lipschitz_bound(model.eval()) == 1
    assert 0.01 < check_bound(model, x) <= 1 + 1e-5


def test_evaluation_uses_factors_that_were_rounded_down() -> None:
    layer = SLL(3, 40).eval()
    exact = 2 / layer.divisors(torch.float64)
    assert (layer.factors.double() <= exact).all()
    assert torch.allclose(layer.factors.double(), exact, rtol=2e-7)


def test_training_and_evaluation_are_the_same_map_and_loading_brings_the_factors() -> None:
    torch.manual_seed(0)
    model = build("lipschitz-small-w16", 5, (3, 16, 16), (0.5,) * 3, (0.25,) * 3)
    x = torch.rand(3, 3, 16, 16)
    trained = model.train()(x)
    assert torch.allclose(model.eval()(x), trained, atol=1e-5)
    torch.manual_seed(1)
    other = build("lipschitz-small-w16", 5, (3, 16, 16), (0.5,) * 3, (0.25,) * 3).eval()
    assert not torch.allclose(other(x), trained, atol=1e-3)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_pixels_are_centred_and_not_divided() -> None:
    model = build("lipschitz-small", 10, (3, 32, 32), (0.4, 0.5, 0.6), (0.25, 0.2, 0.3))
    normalize = model.get_submodule("normalize")
    assert normalize.get_buffer("std").flatten().tolist() == [1, 1, 1]
    assert normalize.get_buffer("mean").flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_the_bound_of_a_model_counts_its_first_layer() -> None:
    """A divisor of ¼ stretches distances by 4."""
    model = build("lipschitz-small-w16", 4, (1, 8, 8), (0.5,), (0.3,)).eval()
    model.get_submodule("normalize").get_buffer("std").fill_(0.25)
    assert lipschitz_bound(model) == 4


def test_a_bound_of_a_network_is_the_product_of_its_layers() -> None:
    class Twice(Layer):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * x

        def lipschitz_bound(self) -> float:
            return 2.0

    network = LipschitzNetwork([Twice(), Unshuffle(), Twice()], 16, 3)
    assert network.lipschitz_bound() == 4


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 30, 32), "multiples of 4"),
        ((1, 4, 4), "at least 8"),
        ((1, 8, 4), "at least 8"),
        ((16, 32, 32), "at least 64"),
    ],
)
def test_images_that_a_network_cannot_take_are_said(shape: tuple[int, int, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        build("lipschitz-small", 10, shape, (0.5,) * shape[0], (0.3,) * shape[0])


def test_architectures_know_their_widths_by_name() -> None:
    sizes = {
        name: sum(p.numel() for p in build(name, 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).parameters())
        for name in ("lipschitz-small", "lipschitz-small-w32", "lipschitz-medium")
    }
    ordered = list(sizes.values())
    assert all(a < b for a, b in itertools.pairwise(ordered))
    with pytest.raises(UserError, match="did you mean 'lipschitz-small'"):
        build("lipschitz-smal", 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3)
