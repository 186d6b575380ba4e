"""The training loop: its schedules, its batches, and what methods are given."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from methods import Method
from suite import UserError
from suite import data as datasets
from suite.data import InMemory
from suite.data.validation import validation
from suite.networks.architectures import build
from suite.smoothing.noise import key
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.spec.sections import Training
from suite.training import batches, learning_rate, train, training_steps

CPU = torch.device("cpu")


def settings(**changed: object) -> Training:
    return Training(**{"epochs": 10, "batch_size": 4, "lr": 0.5, **changed})  # type: ignore[arg-type]


def test_schedules() -> None:
    steps = settings(schedule="steps", milestones=(2, 6), factor=0.2)
    assert [learning_rate(steps, epoch, 10) for epoch in (0, 1.99, 2, 6)] == pytest.approx([0.5, 0.5, 0.1, 0.02])
    cosine = settings(schedule="cosine")
    assert [learning_rate(cosine, epoch, 10) for epoch in (0, 5, 10)] == pytest.approx([0.5, 0.25, 0])
    cycle = settings(schedule="one-cycle")
    assert [learning_rate(cycle, epoch, 10) for epoch in (0, 1, 2, 6, 10)] == pytest.approx([0, 0.25, 0.5, 0.25, 0])
    assert learning_rate(settings(schedule="constant"), 7, 10) == 0.5
    linear = settings(schedule="linear", factor=0.2)
    assert [learning_rate(linear, epoch, 10) for epoch in (0, 5, 10)] == pytest.approx([0.5, 0.3, 0.1])
    longer = settings(schedule="linear", factor=0.2, milestones=(3, 20))
    assert [learning_rate(longer, epoch, 10) for epoch in (0, 10, 20, 30)] == pytest.approx([0.5, 0.3, 0.1, 0.1])


def model_spec(**given: object) -> ModelSpec:
    return RunSpec(**{"method": "baseline", "dataset": "digits", **given}).model


def test_batches_are_the_same_from_wherever_one_starts() -> None:
    data, spec = datasets.load("digits"), model_spec(batch_size=100)
    whole = list(batches(data, spec, 0, 30, CPU))
    assert len(whole) == 30  # 12 an epoch: two epochs and a half
    for first in (1, 12, 17):
        rest = list(batches(data, spec, first, 30, CPU))
        for (x, y), (images, labels) in zip(rest, whole[first:], strict=True):
            assert torch.equal(x, images)
            assert torch.equal(y, labels)
    assert 0 <= float(whole[0][0].min()) < float(whole[0][0].max()) == 1.0


def test_streamed_images_are_cropped_as_the_settings_say() -> None:
    """Also through a validation split: the seed of the epoch, and the least share of the area."""

    class Streamed(InMemory):
        asked: list[tuple[int | None, float]] = []  # noqa: RUF012

        def batches(
            self, index_batches: Sequence[Tensor], *, crop_seed: int | None = None, smallest_crop: float = 0.08
        ) -> Iterator[Tensor]:
            self.asked.append((crop_seed, smallest_crop))
            return super().batches(index_batches)

    digits = datasets.load("digits")
    streamed = dataclasses.replace(digits, train=Streamed(digits.train[torch.arange(200)], digits.train.labels[:200]))
    list(batches(validation(streamed, 0.5), model_spec(batch_size=100, smallest_crop=0.3), 0, 2, CPU))
    assert Streamed.asked == [(key(0, "crop", epoch), 0.3) for epoch in (0, 1)]


def test_an_epoch_sees_each_image_at_most_once() -> None:
    data = datasets.load("digits")
    spec = model_spec(batch_size=100, augmentation="none")
    seen = torch.cat([x.flatten(1) for x, _ in batches(data, spec, 0, 12, CPU)])
    originals = data.train[torch.arange(len(data.train))].flatten(1).float() / 255
    assert len(torch.unique(seen, dim=0)) >= len(torch.unique(originals, dim=0)) - 97
    other = torch.cat([x.flatten(1) for x, _ in batches(data, spec, 12, 24, CPU)])
    assert not torch.equal(seen, other)


@pytest.mark.parametrize(("epochs", "expected"), [(1, 12), (0.5, 6), (0.001, 1), (3, 36)])
def test_a_fraction_of_an_epoch(epochs: float, expected: int) -> None:
    assert training_steps(settings(epochs=epochs, batch_size=100), 1_297) == expected


class Spy(Method):
    """Notes what its loss is given."""

    summary = "spy"
    given: list[tuple[Tensor, Tensor | None]]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor | None, generator: torch.Generator) -> Tensor:
        self.given.append((x, y))
        return model(x).square().mean()


class LabelFree(Spy):
    uses_labels = False


@pytest.mark.parametrize("kind", [Spy, LabelFree])
def test_a_label_free_method_is_given_no_label(kind: type[Spy], tmp_path: Path) -> None:
    data, spec = datasets.load("digits"), model_spec(epochs=0.2)
    method = kind(None, 0.1)
    method.given = []
    model = build("cnn", 10, data.shape, data.mean, data.std)
    train(model, method, data, spec, checkpoint=tmp_path / "training.pt", device=torch.device("cpu"))
    assert len(method.given) == 4
    assert all((y is None) == (kind is LabelFree) for _, y in method.given)


class Quadratic(Method):
    """½‖θ‖², whose gradient is θ."""

    summary = "½‖θ‖²"
    stages = 1  # type: ignore[assignment]

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, generator: torch.Generator) -> Tensor:
        return sum((0.5 * p.square().sum() for p in model.parameters()), torch.tensor(0.0))


@pytest.mark.parametrize(
    ("clip", "nesterov", "weight_decay", "decay_biases", "stages"),
    [
        (None, False, 0.0, True, 1), (0.5, False, 0.0, True, 1), (None, True, 0.0, True, 1),
        (None, False, 0.3, True, 1), (None, False, 0.3, False, 1), (None, False, 0.0, True, 2),
        (0.5, True, 0.3, False, 2),
    ],
)  # fmt: skip
def test_sgd_is_the_formula_on_a_quadratic(
    tmp_path: Path, clip: float | None, nesterov: bool, weight_decay: float, decay_biases: bool, stages: int
) -> None:
    """g: the gradient, clipped, and then the decay; v ← 0.9 v + g; θ ← θ − lr (g + 0.9 v), or − lr v without Nesterov.

    Each of the stages, of two steps, starts at v = 0.
    """
    torch.manual_seed(0)
    model = nn.Linear(2, 2).double()
    theta = torch.cat([model.weight.detach().flatten(), model.bias.detach()])
    decay = weight_decay * torch.tensor([1.0] * 4 + [float(decay_biases)] * 2, dtype=torch.float64)
    for _ in range(stages):
        v = torch.zeros_like(theta)
        for _ in range(2):
            g = theta * min(1.0, clip / float(theta.norm())) if clip else theta
            g = g + decay * theta
            v = 0.9 * v + g
            theta = theta - 0.1 * (g + 0.9 * v if nesterov else v)
    spec = model_spec(
        epochs=0.1 * stages, lr=0.1, schedule="constant", momentum=0.9, nesterov=nesterov, weight_decay=weight_decay,
        decay_biases=decay_biases, clip=clip, batch_size=64,
    )  # fmt: skip
    data, method = datasets.load("digits"), Quadratic(None, 0.0)
    assert training_steps(spec.training, len(data.train)) == 2 * stages
    method.stages = stages  # type: ignore[misc]
    train(model, method, data, spec, checkpoint=tmp_path / "t.pt", device=torch.device("cpu"))
    assert torch.allclose(torch.cat([model.weight.flatten(), model.bias]), theta, rtol=1e-5)


def test_a_cycle_of_a_single_step_would_train_nothing(tmp_path: Path) -> None:
    data, spec = datasets.load("digits"), model_spec(epochs=0.05, lr=0.001, schedule="one-cycle")
    assert training_steps(spec.training, len(data.train)) == 1
    model = build("cnn", 10, data.shape, data.mean, data.std)
    with pytest.raises(UserError, match="1 training steps are too few for the one-cycle schedule"):
        train(model, Spy(None, 0.1), data, spec, checkpoint=tmp_path / "t.pt", device=torch.device("cpu"))


def test_stages_divide_training_and_begin_anew(tmp_path: Path) -> None:
    class Staged(Spy):
        stages = 3  # type: ignore[assignment]

        def begin_stage(self, model: nn.Module, stage: int, generator: torch.Generator) -> None:
            self.begun.append((stage, len(self.given)))

    data, spec = datasets.load("digits"), model_spec(epochs=0.5, lr=0.001, schedule="one-cycle")
    assert training_steps(spec.training, len(data.train)) == 10
    method = Staged(None, 0.1)
    method.given, method.begun = [], []  # type: ignore[attr-defined]
    model = build("cnn", 10, data.shape, data.mean, data.std)
    train(model, method, data, spec, checkpoint=tmp_path / "training.pt", device=torch.device("cpu"))
    assert method.begun == [(0, 0), (1, 4), (2, 7)]  # type: ignore[attr-defined]
