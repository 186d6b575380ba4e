"""The attacks inside adversarial training: against foolbox, against formulas, and what training makes of them."""

from __future__ import annotations

import copy
import dataclasses
import math
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import eagerpy
import foolbox
import pytest
import torch
from helpers.networks import smooth_model
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from methods import METHODS, Method, Step
from suite import UserError
from suite.attacks.pgd import pgd
from suite.data import Dataset, InMemory, load
from suite.networks.architectures import build
from suite.smoothing.noise import generator
from suite.spec.run_spec import make_spec
from suite.training import train

ATTACKS = [(0.25, 1), (0.5, 2), (0.5, 7), (1.0, 4), (3.0, 10)]  # (ε, steps)
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}
IMAGES = 8


def images(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Images with a third of their pixels on the boundary of [0,1], and labels."""
    source = torch.Generator().manual_seed(1)
    x = (1.5 * torch.rand(IMAGES, 3, 8, 8, generator=source, dtype=torch.float64) - 0.25).clamp(0, 1)
    return x.to(dtype), torch.randint(5, (IMAGES,), generator=source)


def norms(delta: Tensor) -> Tensor:
    return delta.flatten(1).norm(dim=1)


def method(name: str, sigma: float = 0.1, **parameters: Any) -> Method[Any]:
    kind = METHODS.get(name)
    return kind(kind.Parameters(**parameters), sigma)


def step(seed: int = 0, epoch: float = 100.0) -> Step:
    return Step(torch.Generator().manual_seed(seed), epoch)


class Recorder:
    """Every batch that a model is given, and whether it is in training mode then."""

    def __init__(self, model: nn.Module):
        self.batches: list[Tensor] = []
        self.training: list[bool] = []
        self.handle = model.register_forward_pre_hook(self)  # removed where the model is used further

    def __call__(self, model: nn.Module, given: tuple[Tensor]) -> None:
        self.batches.append(given[0].detach().clone())
        self.training.append(model.training)


def watch(made: Method[Any], model: nn.Module, x: Tensor, y: Tensor, seed: int = 0, epoch: float = 100.0) -> Recorder:
    """What the model, left as it is, would see in one call of the loss: the attack's batches, at last training's."""
    model = copy.deepcopy(model)
    seen = Recorder(model)
    made.loss(model, x, y, step(seed, epoch))
    return seen


class Foolbox(foolbox.attacks.L2PGD):
    """foolbox's ℓ2 PGD from given images."""

    def __init__(self, start: Tensor, steps: int, step_size: float):
        super().__init__(steps=steps, abs_stepsize=step_size, random_start=True)
        self.start = start

    def get_random_start(self, x0: eagerpy.Tensor, epsilon: float) -> eagerpy.Tensor:
        return eagerpy.astensor(self.start)

    def attacked(self, model: nn.Module, x: Tensor, y: Tensor, epsilon: float) -> Tensor:
        wrapped = foolbox.PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
        return self.run(wrapped, x, foolbox.criteria.Misclassification(y), epsilon=epsilon)


class ClipsFirst(Foolbox):
    """foolbox's ℓ2 PGD in Salman et al.'s order: a step is clipped to [0,1] and then projected."""

    def project(self, x: eagerpy.Tensor, x0: eagerpy.Tensor, epsilon: float) -> eagerpy.Tensor:
        return super().project(eagerpy.clip(x, 0, 1), x0, epsilon)


class Smoothed(nn.Module):
    """Log-probabilities of softmax(v(x + η_i)) averaged over given draws: cross-entropy of them is the paper's loss."""

    def __init__(self, model: nn.Module, eta: Tensor):
        super().__init__()
        self.model, self.eta = model, eta

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.model(x + eta).softmax(dim=1) for eta in self.eta]).mean(dim=0).log()


def draws_of(batch: Tensor, m: int) -> Tensor:
    return batch.view(m, IMAGES, *batch.shape[1:])


# the attack is PGD


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("epsilon", "steps"), ATTACKS)
def test_madry_attacks_as_foolbox_does(epsilon: float, steps: int, dtype: torch.dtype) -> None:
    model, (x, y) = smooth_model(dtype), images(dtype)
    seen = watch(method("madry", epsilon=epsilon, steps=steps), model, x, y)
    assert len(seen.batches) == steps + 1
    start, ours = seen.batches[0], seen.batches[-1]
    theirs = Foolbox(start, steps, 2.5 * epsilon / steps).attacked(model, x, y, epsilon)
    assert ours.dtype == dtype
    assert (ours - theirs).abs().max() < TOLERANCE[dtype]
    assert norms(ours - start).min() > 0.3 * epsilon


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(("epsilon", "steps"), ATTACKS)
def test_smoothadv_attacks_as_foolbox_does_on_the_averaged_softmax(
    epsilon: float, steps: int, m: int, dtype: torch.dtype
) -> None:
    model, (x, y) = smooth_model(dtype), images(dtype)
    seen = watch(method("smoothadv", sigma=0.25, epsilon=epsilon, steps=steps, m=m), model, x, y)
    eta = draws_of(seen.batches[0], m) - x
    ours = draws_of(seen.batches[-1], m) - eta
    theirs = ClipsFirst(x, steps, 2 * epsilon / steps).attacked(Smoothed(model, eta), x, y, epsilon)
    assert ours.dtype == dtype
    assert (ours - theirs).abs().max() < TOLERANCE[dtype]
    assert norms(ours[0] - x).min() > 0.3 * epsilon


def test_without_noise_smoothadv_is_pgd_from_x() -> None:
    model, (x, y) = smooth_model(), images()
    seen = watch(method("smoothadv", sigma=0.0, m=1, epsilon=0.5, steps=5), model, x, y)
    assert torch.equal(seen.batches[0], x)
    plain = pgd(lambda x: F.cross_entropy(model.eval()(x), y), x, epsilon=0.5, steps=5, step_size=0.2, clip_first=True)
    assert (seen.batches[-1] - plain).abs().max() < 1e-12
    foolish = ClipsFirst(x, 5, 0.2).attacked(model, x, y, 0.5)
    assert (seen.batches[-1] - foolish).abs().max() < 1e-12
    other_order = Foolbox(x, 5, 0.2).attacked(model, x, y, 0.5)
    assert (seen.batches[-1] - other_order).abs().max() > 1e-3
    assert norms(other_order - x).max() < 0.5 - 1e-3  # what is clipped last is cut off of every image's length,
    assert norms(seen.batches[-1] - x).max() == pytest.approx(0.5)  # what is clipped first of some only


@pytest.mark.parametrize(("epsilon", "steps"), ATTACKS)
def test_images_stay_in_the_ball_and_in_the_box(epsilon: float, steps: int) -> None:
    """Both bounds are reached: some of these images would leave either if they could."""
    model, (x, y) = smooth_model(torch.float32), images(torch.float32)
    attacks = [method("madry", epsilon=epsilon, steps=steps)] * 5
    attacks.append(method("smoothadv", sigma=0.0, epsilon=epsilon, steps=steps, m=1))
    for seed, attack in enumerate(attacks):
        for x_adv in watch(attack, model, x, y, seed).batches:
            assert x_adv.min() >= 0
            assert x_adv.max() <= 1
            assert norms(x_adv - x).max() < epsilon * (1 + 1e-5)
    free = pgd(lambda x: F.cross_entropy(model.eval()(x), y), x, epsilon=epsilon, steps=steps, step_size=epsilon)
    assert ((free == 0) & (x > 0) | (free == 1) & (x < 1)).any()
    inside, epsilon = 0.5 + 0 * x, min(epsilon, 1.0)
    free = pgd(lambda x: F.cross_entropy(model(x), y), inside, epsilon=epsilon, steps=steps, step_size=2 * epsilon)
    assert norms(free - inside).tolist() == pytest.approx([epsilon] * IMAGES, rel=1e-5)


def test_a_linear_classifier_is_attacked_optimally() -> None:
    """Two classes: no image within ε of x has a larger loss than x − ε(w_y − w_other)/‖w_y − w_other‖."""
    x, y = 0.5 + 0 * images()[0], torch.arange(IMAGES) % 2
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 2)).double()
    assert isinstance(model[1], nn.Linear)
    away = (model[1].weight[1 - y] - model[1].weight[y]).detach()
    best = x + 0.5 * (away / away.norm(dim=1, keepdim=True)).view_as(x)
    seen = watch(method("smoothadv", sigma=0.0, m=1, epsilon=0.5, steps=4), model, x, y)
    assert (seen.batches[-1] - best).abs().max() < 1e-12
    seen = watch(method("madry", epsilon=0.5, steps=20, step_factor=10.0), model, x, y)
    assert ((seen.batches[-1] - x) * (best - x)).flatten(1).sum(dim=1).min() > 0.999 * 0.5**2


@pytest.mark.parametrize("name", ["madry", "smoothadv"])
def test_the_attack_raises_the_loss_of_every_image(name: str) -> None:
    model, (x, y) = smooth_model(), images()
    made = method(name, sigma=0.25, epsilon=0.5)
    seen = watch(made, model, x, y)
    m = len(seen.batches[0]) // IMAGES
    attacked: nn.Module = model.eval()
    eta = torch.zeros_like(x)[None]
    if name == "smoothadv":
        eta = draws_of(seen.batches[0], m) - x
        attacked = Smoothed(model, eta)
    x_adv = (draws_of(seen.batches[-1], m) - eta)[0]
    with torch.no_grad():
        before = F.cross_entropy(attacked(x), y, reduction="none")
        after = F.cross_entropy(attacked(x_adv), y, reduction="none")
    assert (after > before).all()
    assert (after - before).mean() > 0.1


def test_the_random_start_is_uniform_in_direction_at_distance_epsilon() -> None:
    model = smooth_model()
    x, y = torch.full((2_000, 3, 8, 8), 0.5, dtype=torch.float64), torch.zeros(2_000, dtype=torch.long)
    start = watch(method("madry", epsilon=0.5, steps=1), model, x, y).batches[0] - x
    assert norms(start).sub(0.5).abs().max() < 1e-12
    unit = 2 * start.flatten(1)
    assert unit.mean(dim=0).norm() < 1.2 / math.sqrt(2_000)  # its square has mean 1/2000 and is nearly sure
    second = unit.T @ unit / 2_000 * 192
    assert (second - torch.eye(192)).abs().max() < 0.15  # standard errors: 0.03 on the diagonal, 0.02 off it


# SmoothAdv's formula


def minus_log_average_softmax(model: nn.Module, x: Tensor, y: int, eta: Tensor) -> float:
    """−log (1/m) Σ exp(z_y) / Σ_k exp(z_k), z = v(x + η_i), of one image, written out."""
    total = 0.0
    for draw in eta:
        z = model((x + draw)[None])[0].tolist()
        total += math.exp(z[y]) / sum(math.exp(value) for value in z)
    return -math.log(total / len(eta))


def test_smoothadv_steps_along_the_gradient_of_the_formula() -> None:
    """By central differences in every pixel; a single step of ε along ĝ is what the training pass sees."""
    model, (x, y) = smooth_model(), images()
    x, epsilon, m, h = 0.25 + 0.5 * x, 0.2, 3, 1e-5
    seen = watch(method("smoothadv", sigma=0.25, epsilon=epsilon, steps=1, m=m), model, x, y)
    eta = draws_of(seen.batches[0], m) - x
    x_adv = draws_of(seen.batches[-1], m) - eta
    model.eval()
    for image in (0, 3):
        g = torch.zeros(192, dtype=torch.float64)
        for pixel in range(192):
            shift = torch.zeros(192, dtype=torch.float64)
            shift[pixel] = h
            up, down = (
                minus_log_average_softmax(model, x[image] + sign * shift.view(3, 8, 8), int(y[image]), eta[:, image])
                for sign in (1, -1)
            )
            g[pixel] = (up - down) / (2 * h)
        expected = x[image] + epsilon * (g / g.norm()).view(3, 8, 8)
        assert (x_adv[:, image] - expected).abs().max() < 1e-8


def test_the_average_is_inside_the_logarithm() -> None:
    """Where one draw is confidently wrong, averaged cross-entropies would follow it; the formula follows the other."""

    class Two(nn.Module):
        """Logits of ±100 in the first pixel for dark images, of a gentle slope in the second for bright ones."""

        def forward(self, x: Tensor) -> Tensor:
            bright = x[:, 0, 1, 1] > 0.5
            z = torch.where(bright, x[:, 0, 0, 1], -100 - x[:, 0, 0, 0])
            return torch.stack((z, -z), dim=1)

    x, y = torch.full((1, 1, 2, 2), 0.5, dtype=torch.float64), torch.zeros(1, dtype=torch.long)
    for seed in range(100):  # a seed whose two draws fall on either side
        seen = watch(method("smoothadv", sigma=0.1, epsilon=0.1, steps=1, m=2), Two(), x, y, seed)
        corner = seen.batches[0][:, 0, 1, 1]
        if (corner > 0.5).sum() == 1:
            break
    moved = (seen.batches[-1] - seen.batches[0])[0, 0]
    assert moved[0, 1] == pytest.approx(-0.1, abs=1e-9)
    assert abs(moved[0, 0]) < 1e-9


def test_epsilon_grows_linearly_over_the_warmup() -> None:
    model, (x, y) = smooth_model(), images()
    x = 0.5 + 0 * x
    for epoch, epsilon in [(0.0, 0.0), (1.0, 0.05), (2.5, 0.125), (5.0, 0.25), (9.9, 0.495), (10.0, 0.5), (40.0, 0.5)]:
        seen = watch(method("smoothadv", sigma=0.0, m=1, steps=3), model, x, y, epoch=epoch)
        assert norms(seen.batches[-1] - x).max().item() == pytest.approx(epsilon, abs=1e-12)
        assert norms(seen.batches[1] - x).max().item() == pytest.approx(2 * epsilon / 3, abs=1e-12)
    seen = watch(method("smoothadv", sigma=0.0, m=1, warmup=0), model, x, y, epoch=0.0)
    assert norms(seen.batches[-1] - x).max().item() == pytest.approx(0.5, abs=1e-12)


def test_the_trainer_tells_the_method_the_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    radii: list[float] = []

    def unattacked(loss: Any, x: Tensor, *, epsilon: float, **_: Any) -> Tensor:
        radii.append(epsilon)
        return x

    monkeypatch.setattr("methods.smoothadv.pgd", unattacked)
    data = with_training(digits().train[torch.arange(320)], digits().train.labels[:320])
    spec = make_spec(method="smoothadv", dataset="digits", profile="demo", epochs=3, warmup=2, m=1)
    train(tiny(), spec.build_method(), data, spec.model, checkpoint=tmp_path / "c", device=torch.device("cpu"))
    assert radii == [0.5 * min(1.0, step / 5 / 2) for step in range(15)]


# the training pass


def test_the_training_pass_sees_the_draws_of_the_attack() -> None:
    model, (x, y) = smooth_model(), images()
    seen = watch(method("smoothadv", sigma=0.25, epsilon=0.5, steps=3, m=4), model, x, y)
    assert [len(batch) for batch in seen.batches] == [4 * IMAGES] * 4
    eta = draws_of(seen.batches[0], 4) - x
    for batch in seen.batches:
        x_adv = draws_of(batch, 4) - eta
        assert (x_adv - x_adv[0]).abs().max() < 1e-14  # one image, at all its draws
        assert x_adv.min() > -1e-14
        assert norms(x_adv[0] - x).max() < 0.5 + 1e-12
    assert eta.std().item() == pytest.approx(0.25, rel=0.05)
    correlation = torch.corrcoef(eta.reshape(4 * IMAGES, -1))
    assert (correlation - torch.eye(4 * IMAGES)).abs().max() < 0.4  # the draws differ, of one image and between them


def test_without_noise_in_training_the_pass_sees_the_attacked_images_themselves() -> None:
    model, (x, y) = smooth_model(), images()
    given = {"sigma": 0.25, "epsilon": 0.5, "steps": 3, "m": 2}
    noisy, clean = (watch(method("smoothadv", noisy_training=on, **given), model, x, y) for on in (True, False))
    assert torch.equal(draws_of(noisy.batches[0], 2), draws_of(clean.batches[0], 2))  # the attack is the same
    eta = draws_of(clean.batches[0], 2) - x
    assert (clean.batches[-1] + eta - draws_of(noisy.batches[-1], 2)).abs().max() < 1e-14


@pytest.mark.parametrize("name", ["madry", "smoothadv"])
def test_the_loss_is_cross_entropy_on_the_attacked_images_as_constants(name: str) -> None:
    model, (x, y) = smooth_model(), images()
    before = x.clone()
    seen = Recorder(model)
    loss = method(name, sigma=0.25).loss(model, x, y, step())
    seen.handle.remove()
    loss.backward()
    ours = [parameter.grad for parameter in model.parameters()]
    expected = F.cross_entropy(model(seen.batches[-1]), y.repeat(len(seen.batches[-1]) // IMAGES))
    theirs = torch.autograd.grad(expected, list(model.parameters()))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for one, other in zip(ours, theirs, strict=True):
        assert one is not None
        assert (one - other).abs().max() < 1e-12
    assert torch.equal(x, before)
    assert not x.requires_grad


@pytest.mark.parametrize("name", ["madry", "smoothadv"])
def test_batch_norm_counts_the_images_trained_on_only(name: str) -> None:
    model, (x, y) = smooth_model().train(), images()
    before = dict(model.state_dict())
    seen, counted = Recorder(model), int(before["1.num_batches_tracked"])
    method(name, steps=5).loss(model, x, y, step())
    assert seen.training == [False] * 5 + [True]
    assert model.training
    assert model.state_dict()["1.num_batches_tracked"] == counted + 1


@pytest.mark.parametrize("name", ["madry", "smoothadv"])
def test_the_same_generator_gives_the_same_loss(name: str) -> None:
    model, (x, y) = smooth_model(), images()
    first, again, other = (watch(method(name), model, x, y, seed).batches for seed in (0, 0, 1))
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[-1], other[-1])


@pytest.mark.parametrize("name", ["madry", "smoothadv"])
def test_bf16_autocast_reaches_every_weight(name: str) -> None:
    """The attack's passes must leave nothing behind that cuts the training pass off from the weights."""
    model, (x, y) = smooth_model(torch.float32), images(torch.float32)
    gradients = []
    for enabled in (False, True):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = method(name, sigma=0.25).loss(model, x, y, step())
        assert loss.dtype == torch.float32
        loss.backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))  # type: ignore[union-attr]
        assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())  # type: ignore[union-attr]
    assert F.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.99


def test_an_image_without_gradient_stays_and_hurts_no_other() -> None:
    class Half(nn.Module):
        """Logits that depend on an image only where its first pixel is bright."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = smooth_model()

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * (x[:, 0, 0, 0] > 0.5).double()[:, None].detach()

    model, (x, y) = Half(), images()
    x[:, 0, 0, 0] = torch.tensor([0.0, 1.0] * (IMAGES // 2))
    seen = watch(method("smoothadv", sigma=0.0, m=1, epsilon=0.3, steps=3), model, x, y)
    assert torch.equal(seen.batches[-1][::2], x[::2])
    alone = watch(method("smoothadv", sigma=0.0, m=1, epsilon=0.3, steps=3), model, x[1::2], y[1::2])
    assert (seen.batches[-1][1::2] - alone.batches[-1]).abs().max() < 1e-14
    for name in ("madry", "smoothadv"):
        model.zero_grad()
        loss = method(name).loss(model, x, y, step())
        loss.backward()
        assert torch.isfinite(loss)
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("madry", {"steps": 1}),
        ("madry", {"steps": 7}),
        ("smoothadv", {"steps": 2, "m": 1}),
        ("smoothadv", {}),
        ("smoothadv", {"steps": 2, "m": 3, "noisy_training": False}),
    ],
)
def test_the_announced_passes_are_those_it_makes(name: str, parameters: dict[str, Any]) -> None:
    """Counted in multiplications: an attack step costs two passes, as no gradient of the weights is taken there."""

    class Uncounted:
        """The model behind a plain object: the counter refuses modules whose input is a leaf."""

        def __call__(self, x: Tensor) -> Tensor:
            return model(1 * x)

        def train(self) -> None:
            model.train()

        def eval(self) -> None:
            model.eval()

    model = build("resnet8", 10, (3, 16, 16), (0.5,) * 3, (0.3,) * 3)
    x, y = torch.rand(2, 3, 16, 16), torch.zeros(2, dtype=torch.long)
    made = method(name, **parameters)
    with FlopCounterMode(display=False) as forward:
        model(x)
    with FlopCounterMode(display=False) as whole:
        made.loss(Uncounted(), x, y, step()).backward()  # type: ignore[arg-type]
    assert whole.get_total_flops() / forward.get_total_flops() == pytest.approx(made.passes, rel=0.03)


# trained models


@cache
def digits() -> Dataset:
    return load("digits")


def with_training(images: Tensor, labels: Tensor) -> Dataset:
    return dataclasses.replace(digits(), train=InMemory(images, labels))


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return build("cnn", 10, (1, 8, 8), (0.3053,), (0.3758,))


def trained(data: Dataset, **given: Any) -> nn.Module:
    spec = make_spec(dataset="digits", profile="demo", **given)
    made, model = spec.build_method(), tiny()
    made.begin(model)
    with TemporaryDirectory() as folder:
        train(model, made, data, spec.model, checkpoint=Path(folder) / "unfinished", device=torch.device("cpu"))
    return model.eval()


@pytest.mark.slow
def test_adversarial_training_makes_digits_harder_to_attack() -> None:
    x, y = digits().test[torch.arange(0, 500, 3)].float() / 255, digits().test.labels[::3]
    accuracy, robust = {}, {}
    for name in ("baseline", "madry"):
        model = trained(digits(), method=name, epochs=3)
        attacked = Foolbox(x, 20, 0.075).attacked(model, x, y, 0.5)
        accuracy[name] = (model(x).argmax(dim=1) == y).float().mean().item()
        robust[name] = (model(attacked).argmax(dim=1) == y).float().mean().item()
    assert min(accuracy.values()) > 0.9
    assert robust["madry"] > robust["baseline"] + 0.15


@pytest.mark.slow
def test_madry_heat_never_reads_a_label() -> None:
    """Trained again with labels that are all wrong: the same weights, bit for bit. Madry's own become others."""
    everything = digits().train[torch.arange(len(digits().train))]
    right = digits()
    wrong = with_training(everything, (right.train.labels + 1) % 10)
    for name, same in (("madry-heat", True), ("madry", False)):
        one, other = (trained(d, method=name, epochs=0.1).state_dict() for d in (right, wrong))
        assert all(torch.equal(one[key], other[key]) for key in one) == same
    assert not METHODS.get("madry-heat").uses_labels


# settings


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "imagenet"])
@pytest.mark.parametrize("profile", ["demo", "quick", "paper"])
@pytest.mark.parametrize("name", ["madry", "smoothadv", "madry-heat"])
def test_recipes_are_complete(name: str, profile: str, dataset: str) -> None:
    spec = make_spec(method=name, dataset=dataset, profile=profile)
    made = spec.build_method()
    assert made.passes > 3
    assert (spec.model.sigma is None) == (name == "madry")
    assert make_spec(**spec.model_dump()).digest == spec.digest
    if name == "madry-heat":
        assert spec.start is not None
        assert (spec.start.method, spec.start.sigma, spec.start.arch) == ("madry", None, spec.arch)
        madry = make_spec(method="madry", dataset=dataset, profile=profile, arch=spec.arch)
        assert spec.start.digest == madry.model.digest


def test_recipes_of_the_paper() -> None:
    def paper(name: str, dataset: str) -> Any:
        return make_spec(method=name, dataset=dataset, profile="paper")

    madry, madry_imagenet = paper("madry", "cifar10"), paper("madry", "imagenet")
    assert madry.parameters == {"epsilon": 0.5, "steps": 7, "step_factor": 2.5}
    assert madry.training == paper("baseline", "cifar10").training
    assert (madry.arch, madry_imagenet.arch) == ("resnet34", "resnet50")
    assert madry_imagenet.parameters["epsilon"] == 3.0

    smooth, smooth_imagenet = paper("smoothadv", "cifar10"), paper("smoothadv", "imagenet")
    assert smooth.parameters == {"epsilon": 0.5, "steps": 4, "m": 2, "warmup": 10.0, "noisy_training": True}
    training = smooth.training
    assert (training.epochs, training.lr, training.schedule, training.milestones) == (150, 0.1, "steps", (50, 100))
    assert (training.factor, training.weight_decay, training.nesterov) == (0.1, 1e-4, False)
    assert training.batch_size * smooth.parameters["m"] == 256  # m parts of their batch, each a step
    assert (smooth.arch, smooth.sigma, smooth_imagenet.sigma) == ("resnet110", 0.1, 0.25)
    assert smooth_imagenet.parameters == smooth.parameters | {"steps": 1}
    assert smooth_imagenet.training.batch_size * smooth_imagenet.parameters["m"] == 256

    heat, other = paper("madry-heat", "imagenet"), {"method", "start"}
    assert heat.start.parameters["epsilon"] == 3.0
    assert heat.model_dump(exclude=other) == paper("heat", "imagenet").model_dump(exclude=other)
    training = heat.training
    assert (training.epochs, training.lr, training.schedule, training.momentum) == (1, 0.01, "constant", 0.9)
    assert (heat.sigma, heat.parameters["distance"], heat.parameters["noisy"]) == (0.25, "softmax", 0.5)


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("madry", {"epsilon": 0}, "Madry epsilon: .*greater than 0"),
        ("madry", {"epsilon": math.inf}, "Madry epsilon: .*finite"),
        ("madry", {"steps": 0}, "Madry steps: .*greater than or equal to 1"),
        ("madry", {"steps": 2.5}, "Madry steps: .*integer"),
        ("madry", {"step_factor": -1}, "Madry step_factor"),
        ("madry", {"m": 2}, "unknown setting 'm'"),
        ("smoothadv", {"epsilon": -0.5}, "SmoothAdv epsilon: .*greater than 0"),
        ("smoothadv", {"m": 0}, "SmoothAdv m: .*greater than or equal to 1"),
        ("smoothadv", {"steps": "many"}, "SmoothAdv steps"),
        ("smoothadv", {"warmup": -1}, "SmoothAdv warmup: .*greater than or equal to 0"),
        ("smoothadv", {"warm_up": 1}, "did you mean 'warmup'"),
        ("madry-heat", {"kappa": 0}, "MadryHeat kappa"),
        ("madry-heat", {"start.epsilon": -1}, "Madry epsilon"),
    ],
)
def test_settings_out_of_range(name: str, setting: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said) as raised:
        make_spec(method=name, dataset="digits", **setting)
    assert "\n" not in str(raised.value)


def test_images_that_the_loss_does_not_depend_on_are_an_error() -> None:
    weight = torch.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError):
        pgd(lambda x: weight.sum(), images()[0], epsilon=0.5, steps=1, step_size=1.0)


def test_the_keyed_generator_of_the_trainer_fits() -> None:
    model, (x, y) = smooth_model(), images()
    one, two = (
        method("smoothadv").loss(model, x, y, Step(generator(0, "method", number), 100.0)).item() for number in (0, 1)
    )
    assert one != two
