"""What tests of adversarial training share."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import eagerpy
import foolbox
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from methods import METHODS, Method, Step
from suite.data import Dataset, InMemory, load
from suite.networks.architectures import build

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


class Smoothed(nn.Module):
    """Log-probabilities of softmax(v(x + η_i)) averaged over given draws: cross-entropy of them is the paper's loss."""

    def __init__(self, model: nn.Module, eta: Tensor):
        super().__init__()
        self.model, self.eta = model, eta

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.model(x + eta).softmax(dim=1) for eta in self.eta]).mean(dim=0).log()


def draws_of(batch: Tensor, m: int) -> Tensor:
    return batch.view(m, IMAGES, *batch.shape[1:])


# trained models


@cache
def digits() -> Dataset:
    return load("digits")


def with_training(images: Tensor, labels: Tensor) -> Dataset:
    return dataclasses.replace(digits(), train=InMemory(images, labels))


def tiny() -> nn.Module:
    torch.manual_seed(0)
    return build("cnn", 10, (1, 8, 8), (0.3053,), (0.3758,))


def passes_counted(model: nn.Module, x: Tensor, work: Callable[[], object]) -> float:
    """What `work` costs, in forward passes of x by the model, by counted operations."""
    with FlopCounterMode(display=False) as forward:
        model(x)
    with FlopCounterMode(display=False) as whole:
        work()
    return float(whole.get_total_flops() / forward.get_total_flops())
