"""SmoothAdv, against its formula (Salman et al. 2019)."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import eagerpy
import pytest
import torch
from helpers.adversarial import (
    ATTACKS,
    IMAGES,
    TOLERANCE,
    Foolbox,
    Smoothed,
    digits,
    draws_of,
    images,
    method,
    norms,
    tiny,
    watch,
    with_training,
)
from helpers.networks import smooth_model
from torch import Tensor, nn
from torch.nn import functional as F

from methods import Step
from suite.attacks.pgd import pgd
from suite.smoothing.noise import generator
from suite.spec.run_spec import RunSpec
from suite.training import train


class ClipsFirst(Foolbox):
    """foolbox's ℓ2 PGD in Salman et al.'s order: a step is clipped to [0,1] and then projected."""

    def project(self, x: eagerpy.Tensor, x0: eagerpy.Tensor, epsilon: float) -> eagerpy.Tensor:
        return super().project(eagerpy.clip(x, 0, 1), x0, epsilon)


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
    spec = RunSpec(method="smoothadv", dataset="digits", profile="demo", epochs=3, warmup=2, m=1)
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


def test_the_keyed_generator_of_the_trainer_fits() -> None:
    model, (x, y) = smooth_model(), images()
    one, two = (
        method("smoothadv").loss(model, x, y, Step(generator(0, "method", number), 100.0)).item() for number in (0, 1)
    )
    assert one != two
