"""Training for the vote: Stability, Consistency and Macer, against their formulas written out image by image."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers.adversarial import IMAGES, Recorder, draws_of, images, method, step, tiny, watch
from helpers.networks import Scaled, smooth_model
from scipy.special import entr, rel_entr
from scipy.stats import norm
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from methods import METHODS, Method
from suite import UserError
from suite.networks.architectures import build
from suite.spec.run_spec import make_spec

SIGMA = 0.25
DRAWS = {"stability": 1, "consistency": 3, "macer": 3}
Array = np.ndarray[Any, np.dtype[np.float64]]


class Rows(nn.Module):
    """Logits that are given, whatever the images: one table of them for each pass, then again from the first."""

    def __init__(self, *tables: Tensor):
        super().__init__()
        self.tables, self.passes = tables, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.tables[(self.passes - 1) % len(self.tables)]


def probabilities(*rows: list[float]) -> Tensor:
    """Logits whose softmax these rows are."""
    return torch.tensor(rows, dtype=torch.float64).log()


def blank(batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.full((batch, 1, 2, 2), 0.5, dtype=dtype)


def made(name: str, sigma: float = SIGMA, **parameters: Any) -> Method[Any]:
    """The method with three draws, if it has several."""
    return method(name, sigma, **({"m": 3} if name != "stability" else {}) | parameters)


def value(method: Method[Any], model: nn.Module, x: Tensor, y: Tensor, **when: Any) -> float:
    return method.loss(model, x, y, step(**when)).item()


# The formulas


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    found: Array = e / e.sum()
    return found


def cross_entropy(p: Array, z: Array) -> float:
    """−Σ_k p_k log softmax(z)_k."""
    return -float(sum(p_k * math.log(q_k) for p_k, q_k in zip(p, softmax(z), strict=True)))


def one_hot(y: int, classes: int) -> Array:
    return np.eye(classes)[y]


def stability(clean: Array, noisy: Array, y: list[int], weight: float) -> float:
    """Clean and noisy logits (B, K)."""
    total = 0.0
    for z, noisy_z, label in zip(clean, noisy, y, strict=True):
        total += cross_entropy(one_hot(label, len(z)), z) + weight * cross_entropy(softmax(z), noisy_z)
    return total / len(y)


def consistency(z: Array, y: list[int], weight: float, eta: float) -> float:
    """Logits (m, B, K)."""
    total = 0.0
    for image, label in enumerate(y):
        answers = [softmax(draw[image]) for draw in z]
        mean = sum(answers) / len(z)
        total += sum(cross_entropy(one_hot(label, len(mean)), draw[image]) for draw in z) / len(z)
        total += weight * sum(float(rel_entr(mean, answer).sum()) for answer in answers) / len(z)
        total += eta * float(entr(mean).sum())
    return total / len(y)


def soft_answer(z: Array, beta: float) -> tuple[int, float]:
    """The softly smoothed classifier's class from logits (m, K), and Φ⁻¹(p₁) − Φ⁻¹(p₂)."""
    p = sum(softmax(beta * draw) for draw in z) / len(z)
    second, first = np.sort(p)[-2:]
    return int(np.argmax(p)), float(norm.ppf(first) - norm.ppf(second))


def macer(z: Array, y: list[int], weight: float, sigma: float, beta: float, gamma: float) -> float:
    """Logits (m, B, K)."""
    total = 0.0
    for image, label in enumerate(y):
        total -= math.log(sum(softmax(draw[image])[label] for draw in z) / len(z))
        answer, difference = soft_answer(z[:, image], beta)
        if answer == label and difference < gamma:
            total += weight * sigma / 2 * (gamma - difference)
    return total / len(y)


def logits(model: nn.Module, batch: Tensor) -> Array:
    """Image by image."""
    with torch.no_grad():
        found: Array = torch.stack([model(image[None])[0] for image in batch]).numpy()
    return found


def network() -> nn.Module:
    """Not in training: an image's logits do not depend on its batch. Its answers are more decided than at random."""
    return Scaled(smooth_model(), 3.0).eval()


def seen_logits(method: Method[Any], model: nn.Module, x: Tensor, y: Tensor) -> list[Array]:
    """The logits of each pass that the loss makes."""
    return [logits(model, batch) for batch in watch(method, model, x, y).batches]


@pytest.mark.parametrize("weight", [0.0, 0.7, 2.0])
def test_stability_is_its_formula(weight: float) -> None:
    model, (x, y) = network(), images()
    clean, noisy = seen_logits(made("stability"), model, x, y)
    found = value(made("stability", **{"lambda": weight}), model, x, y)
    assert found == pytest.approx(stability(clean, noisy, y.tolist(), weight), abs=1e-9)


@pytest.mark.parametrize(("weight", "eta"), [(0.0, 0.0), (20.0, 0.5), (3.0, 0.0), (0.0, 2.0)])
@pytest.mark.parametrize("m", [1, 2, 5])
def test_consistency_is_its_formula(m: int, weight: float, eta: float) -> None:
    model, (x, y) = network(), images()
    [z] = seen_logits(made("consistency", m=m), model, x, y)
    found = value(made("consistency", m=m, eta=eta, **{"lambda": weight}), model, x, y)
    assert found == pytest.approx(consistency(z.reshape(m, IMAGES, -1), y.tolist(), weight, eta), abs=1e-9)


def macer_case(m: int, beta: float) -> tuple[nn.Module, Tensor, Tensor, Array, float]:
    """Half of the labels are the soft answers; γ lies in the middle of those images' differences. Logits (m, B, K)."""
    model, (x, y) = network(), images()
    [z] = seen_logits(made("macer", m=m), model, x, y)
    z = z.reshape(m, IMAGES, -1)
    answers, differences = zip(*(soft_answer(z[:, image], beta) for image in range(IMAGES)), strict=True)
    half = IMAGES // 2
    y = torch.tensor([(answer + (image >= half)) % 5 for image, answer in enumerate(answers)])
    middle = sorted(differences[:half])[half // 2 - 1 : half // 2 + 1]
    assert middle[1] - middle[0] > 1e-3
    return model, x, y, z, sum(middle) / 2


@pytest.mark.parametrize("beta", [1.0, 4.0])
@pytest.mark.parametrize("m", [1, 3])
def test_macer_is_its_formula_with_images_of_every_kind(m: int, beta: float) -> None:
    """Soft answers that are right and wrong, hinges that are active and not."""
    model, x, y, z, gamma = macer_case(m, beta)
    values = [
        (value(made("macer", m=m, beta=beta, gamma=hinge, **{"lambda": weight}), model, x, y), weight, hinge)
        for weight in (0.0, 12.0)
        for hinge in (gamma, 8.0)
    ]
    for found, weight, hinge in values:
        assert found == pytest.approx(macer(z, y.tolist(), weight, SIGMA, beta, hinge), abs=1e-9)
    assert values[0][0] == values[1][0] < values[2][0] - 1e-3 < values[3][0] - 2e-3


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


def test_stability_draws_the_clean_answer_to_the_noisy_one_too() -> None:
    """The gradient of CE(p → z) in the clean logits is (diag p − ppᵀ)(−log softmax z): p is not a constant."""
    clean, noisy = probabilities([0.7, 0.2, 0.1]).requires_grad_(), probabilities([0.3, 0.6, 0.1])
    p, q = clean.detach().exp()[0], noisy.exp()[0]
    made("stability", **{"lambda": 2}).loss(Rows(clean, noisy), blank(1), torch.tensor([1]), step()).backward()
    expected = p - torch.tensor([0.0, 1.0, 0.0]) + 2 * (p.diag() - p.outer(p)) @ -q.log()
    torch.testing.assert_close(clean.grad[0], expected)  # type: ignore[index]


# Known answers: Stability


def test_stability_without_its_weight_is_the_baseline() -> None:
    model, (x, y) = network(), images()
    assert value(made("stability", **{"lambda": 0}), model, x, y) == value(method("baseline", 0.0), model, x, y)


def test_stability_of_two_known_answers() -> None:
    clean, noisy = probabilities([0.8, 0.2]), probabilities([0.5, 0.5])
    found = value(made("stability", **{"lambda": 3}), Rows(clean, noisy), blank(1), torch.tensor([1]))
    assert found == pytest.approx(-math.log(0.2) + 3 * math.log(2))  # against ½, ½ every answer costs log 2
    same = value(made("stability", **{"lambda": 3}), Rows(clean), blank(1), torch.tensor([0]))
    assert same == pytest.approx(-math.log(0.8) + 3 * float(entr([0.8, 0.2]).sum()))


# Known answers: Consistency


def test_consistency_without_noise_has_no_divergence() -> None:
    """As σ → 0 the draws agree: cross-entropy on clean images is left, and η times the answer's entropy."""
    model, (x, y) = network(), images()
    z = logits(model, x)
    entropies = np.mean([entr(softmax(row)).sum() for row in z])
    expected = value(method("baseline", 0.0), model, x, y) + 0.5 * entropies
    assert entropies > 0.1
    assert value(made("consistency", sigma=1e-9, **{"lambda": 20}), model, x, y) == pytest.approx(expected, abs=1e-6)


def test_a_single_draw_is_consistent_with_itself() -> None:
    model, (x, y) = network(), images()
    none, much = (value(made("consistency", m=1, **{"lambda": weight}), model, x, y) for weight in (0, 1e6))
    assert none == pytest.approx(much, abs=1e-9)


@pytest.mark.parametrize("a", [0.5, 0.9, 0.999])
def test_two_opposite_draws(a: float) -> None:
    """F_i = (a, 1 − a) and (1 − a, a): F̂ = ½, KL = −½ log 4a(1 − a), H = log 2, cross-entropy −½ log a(1 − a)."""
    rows = probabilities([a, 1 - a], [1 - a, a])  # one image's two draws
    found = value(made("consistency", m=2, eta=0.25, **{"lambda": 7}), Rows(rows), blank(1), torch.tensor([0]))
    spread = a * (1 - a)
    expected = -math.log(spread) / 2 + 7 * -math.log(4 * spread) / 2 + 0.25 * math.log(2)
    assert found == pytest.approx(expected, abs=1e-12)


def test_consistencys_draws_are_those_of_one_image() -> None:
    """Two images, of which each has equal draws: nothing to regularise, whatever the other image's answer is."""
    sure, other = [0.98, 0.02], [0.1, 0.9]
    rows = probabilities(sure, other, sure, other)
    found = value(made("consistency", m=2, eta=0, **{"lambda": 100}), Rows(rows), blank(2), torch.tensor([0, 1]))
    assert found == pytest.approx(-(math.log(0.98) + math.log(0.9)) / 2, abs=1e-9)


# Known answers: Macer


def macer_of(rows: Tensor, y: list[int], m: int = 1, **given: Any) -> float:
    made = method("macer", m=m, **{"sigma": 0.5, "beta": 1.0} | given)
    return value(made, Rows(rows), blank(len(y)), torch.tensor(y))


def test_macer_without_its_weight_is_cross_entropy_of_the_averaged_softmax() -> None:
    rows = probabilities([0.9, 0.1], [0.3, 0.7], [0.1, 0.9], [0.5, 0.5])  # two images' first draws, and their second
    found = macer_of(rows, [0, 1], m=2, **{"lambda": 0})
    assert found == pytest.approx(-(math.log((0.9 + 0.1) / 2) + math.log((0.7 + 0.5) / 2)) / 2, abs=1e-12)


def test_macer_ascends_the_radius() -> None:
    """Of answers (p, 1 − p) the radius is σΦ⁻¹(p)."""
    rows = probabilities([0.8, 0.2])
    plain = macer_of(rows, [0], **{"lambda": 0})
    radius = 0.5 * norm.ppf(0.8)
    assert macer_of(rows, [0], gamma=3.0, **{"lambda": 4}) - plain == pytest.approx(4 * (0.5 / 2 * 3.0 - radius))
    sharp = 0.8**16 / (0.8**16 + 0.2**16)  # β = 16
    radius = 0.5 * norm.ppf(sharp)
    found = macer_of(rows, [0], beta=16.0, gamma=20.0, **{"lambda": 4}) - plain
    assert found == pytest.approx(4 * (0.5 / 2 * 20.0 - radius), abs=1e-6)


def test_images_whose_soft_answer_is_wrong_contribute_nothing() -> None:
    rows = probabilities([0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4])
    wrong = [1, 0, 1]
    assert macer_of(rows, wrong, **{"lambda": 12}) == macer_of(rows, wrong, **{"lambda": 0})
    one_right = [0, 0, 1]
    gain = macer_of(rows, one_right, **{"lambda": 12}) - macer_of(rows, one_right, **{"lambda": 0})
    hinge = 8 - (norm.ppf(0.6) - norm.ppf(0.3))
    assert gain == pytest.approx(12 * 0.5 / 2 * hinge / 3)  # divided by all three images, not by the one that counts


def test_the_soft_answer_is_the_sharpened_one() -> None:
    """One draw is sure of class 1, two lean to class 0: their mean answers 1, and with β large two votes beat one."""
    rows = probabilities([0.6, 0.4], [0.6, 0.4], [0.01, 0.99])
    plain = macer_of(rows, [0], m=3, **{"lambda": 0})
    assert macer_of(rows, [0], m=3, beta=1.0, **{"lambda": 12}) == plain
    assert macer_of(rows, [0], m=3, beta=16.0, **{"lambda": 12}) > plain + 1


def test_the_hinge_is_off_beyond_gamma() -> None:
    rows = probabilities([0.8, 0.2])
    difference = 2 * norm.ppf(0.8)
    plain = macer_of(rows, [0], **{"lambda": 0})
    for gamma in (0.0, difference - 1e-6):
        assert macer_of(rows, [0], gamma=gamma, **{"lambda": 12}) == plain
    assert macer_of(rows, [0], gamma=difference + 1e-3, **{"lambda": 12}) == pytest.approx(plain + 12 * 0.25 * 1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
def test_sure_answers_leave_loss_and_gradient_finite(scale: float, dtype: torch.dtype) -> None:
    z = torch.tensor([[scale, -scale, 0.0], [-scale, scale, 0.0]] * 2, dtype=dtype, requires_grad=True)
    for gamma in (8.0, 1e3):  # with the second the hinge is active at the clip
        for m in (1, 2):
            made = method("macer", m=m, gamma=gamma)
            labels = torch.tensor([0, 1, 0, 1][: 4 // m])
            loss = made.loss(Rows(z), blank(4 // m, dtype), labels, step())
            assert torch.isfinite(loss)
            (gradient,) = torch.autograd.grad(loss, z)
            assert torch.isfinite(gradient).all()
            assert gamma == 1e3 or loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("classes", [2, 10, 1_000])
def test_the_clip_moves_no_hinge_in_single_precision(classes: int) -> None:
    """Against the hinge without a clip, in float64, for answers from undecided to surer than single precision knows."""
    for sureness in torch.linspace(0.1, 40, 60).tolist():
        z = torch.zeros(1, classes, dtype=torch.float64)
        z[0, 0] = sureness
        p = softmax(z[0].numpy())
        exact = max(0.0, 8.0 - float(norm.ppf(p[0]) - norm.ppf(p[1]))) if p[0] < 1 else 0.0
        plain, whole = (
            method("macer", m=1, beta=1.0, sigma=2.0, **{"lambda": weight})
            .loss(Rows(z.float()), blank(1, torch.float32), torch.tensor([0]), step())
            .item()
            for weight in (0, 1)
        )
        assert whole - plain == pytest.approx(exact, abs=5e-3)


def test_the_robustness_loss_sets_in_after_the_warmup() -> None:
    model, x, y, _, _ = macer_case(3, 16.0)
    with_it, without = made("macer", warmup=200), made("macer", **{"lambda": 0})
    for epoch in (0.0, 199.9):
        assert value(with_it, model, x, y, epoch=epoch) == value(without, model, x, y)
    assert value(with_it, model, x, y, epoch=200.0) == value(made("macer"), model, x, y) > value(without, model, x, y)


# What they share


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
    with FlopCounterMode(display=False) as forward:
        model(x)
    with FlopCounterMode(display=False) as whole:
        chosen.loss(model, x, y, step()).backward()
    assert whole.get_total_flops() / forward.get_total_flops() == pytest.approx(chosen.passes, rel=0.03)


# Settings


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
        spec = make_spec(method=name, dataset="digits", profile="paper", sigma=sigma)
        given = make_spec(method=name, dataset="digits", profile="paper", sigma=sigma, **{"lambda": weight})
        other = make_spec(method=name, dataset="digits", profile="paper", sigma=sigma, **{"lambda": weight + 1})
        ours, same, more = (value(each.build_method(), model, x, y) for each in (spec, given, other))
        assert ours == same != more


def test_the_papers_recipes() -> None:
    def paper(name: str, dataset: str = "cifar10") -> Any:
        return make_spec(method=name, dataset=dataset, profile="paper")

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
        quick = make_spec(method=name, dataset="cifar10", profile="quick")
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
        make_spec(method=name, dataset="digits", **setting)
    assert "\n" not in str(raised.value)
