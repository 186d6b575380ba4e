"""The attacks inside adversarial training: against foolbox, against formulas, and what training makes of them."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from helpers.adversarial import (
    ATTACKS,
    IMAGES,
    TOLERANCE,
    Foolbox,
    Recorder,
    Smoothed,
    digits,
    draws_of,
    images,
    method,
    norms,
    passes_counted,
    step,
    tiny,
    watch,
    with_training,
)
from helpers.networks import smooth_model
from torch import Tensor, nn
from torch.nn import functional as F

from methods import METHODS
from suite import UserError
from suite.attacks.pgd import pgd
from suite.data import Dataset
from suite.networks.architectures import build
from suite.spec.run_spec import RunSpec
from suite.training import train

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
    counted = passes_counted(model, x, lambda: made.loss(Uncounted(), x, y, step()).backward())  # type: ignore[arg-type]
    assert counted == pytest.approx(made.passes, rel=0.03)


def trained(data: Dataset, **given: Any) -> nn.Module:
    spec = RunSpec(dataset="digits", profile="demo", **given)
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
    spec = RunSpec(method=name, dataset=dataset, profile=profile)
    made = spec.build_method()
    assert made.passes > 3
    assert (spec.model.sigma is None) == (name == "madry")
    assert RunSpec(**spec.model_dump()).digest == spec.digest
    if name == "madry-heat":
        assert spec.start is not None
        assert (spec.start.method, spec.start.sigma, spec.start.arch) == ("madry", None, spec.arch)
        madry = RunSpec(method="madry", dataset=dataset, profile=profile, arch=spec.arch)
        assert spec.start.digest == madry.model.digest


def test_recipes_of_the_paper() -> None:
    def paper(name: str, dataset: str) -> Any:
        return RunSpec(method=name, dataset=dataset, profile="paper")

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
        RunSpec(method=name, dataset="digits", **setting)
    assert "\n" not in str(raised.value)


def test_images_that_the_loss_does_not_depend_on_are_an_error() -> None:
    weight = torch.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError):
        pgd(lambda x: weight.sum(), images()[0], epsilon=0.5, steps=1, step_size=1.0)
