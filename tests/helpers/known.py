"""Classifiers whose truth is known, and what it takes to put one through a protocol."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn

from suite.networks.architectures import build
from suite.protocols.protocol import Subject
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS

DIMENSION = 12  # images of 3 × 2 × 2
SHARP = 1e4  # logits of ±1e4 make softmax outputs of 0 and 1


class Plane(nn.Module):
    """What depends on the signed distance t of an image to a plane through ½ alone."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.functional.normalize(torch.randn(DIMENSION, generator=torch.Generator().manual_seed(0)), dim=0)

    def distance(self, x: Tensor) -> Tensor:
        return (x - 0.5).flatten(1) @ self.w

    def at(self, t: Tensor) -> Tensor:
        """Images (N, 3, 2, 2) at the distances t (N,)."""
        return (0.5 + t[:, None] * self.w).view(-1, 3, 2, 2)


class Step(Plane):
    """f(x) = (1{t > 0}, 1{t < 0}), as probabilities."""

    def forward(self, x: Tensor) -> Tensor:
        t = SHARP * self.distance(x).sign()
        return torch.stack((t, -t), dim=1)


class Smoothed(Plane):
    """The average of Step over N(0, σ²I) noise, as probabilities: (Φ(t/σ), Φ(−t/σ))."""

    def __init__(self, sigma: float):
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor) -> Tensor:
        t = self.distance(x).double() / self.sigma
        return torch.stack((torch.special.log_ndtr(t), torch.special.log_ndtr(-t)), dim=1)


class Always(nn.Module):
    """These probabilities whatever the image; `sizes` are the batches it saw."""

    def __init__(self, *probabilities: float):
        super().__init__()
        self.logits = torch.tensor(probabilities).log()
        self.sizes: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.logits.expand(len(x), -1)


def subject(
    model: nn.Module, spec: RunSpec, *, other: nn.Module | None = None, batch_size: int = 256, **records: pd.DataFrame
) -> Subject:
    """A subject on the CPU; `other` is what it gets for every other model that it asks for."""

    def get(wanted: ModelSpec) -> nn.Module:
        assert other is not None, wanted
        return other

    return Subject(model.eval(), spec, batch_size, torch.device("cpu"), records.__getitem__, get)


def examine(name: str, given: Subject, images: Tensor, labels: list[int] | None = None) -> pd.DataFrame:
    """The records of a protocol for images (N, C, H, W); labels are 0 where they are not given."""
    stream: Iterator[tuple[int, Tensor, int]] = ((i, x, labels[i] if labels else 0) for i, x in enumerate(images))
    return pd.DataFrame(protocol(name).records(given, stream))


def records_file(folder: Path, protocol: str) -> Path:
    """The one file of a protocol's records in a run's folder."""
    [file] = folder.glob(f"{protocol}-*.jsonl")
    return file


def protocol(name: str):  # type: ignore[no-untyped-def]
    return PROTOCOLS.get(name)


def digits_spec(method: str = "baseline", **given: object) -> RunSpec:
    return RunSpec(**{"method": method, "dataset": "digits", "profile": "demo", "sigma": 0.25, **given})


def small_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build("cnn", 10, (1, 8, 8), (0.5,), (0.3,)).eval()


def small_images(total: int = 6) -> Tensor:
    return torch.rand(total, 1, 8, 8, generator=torch.Generator().manual_seed(2))
