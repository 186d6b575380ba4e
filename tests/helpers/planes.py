"""Linear classifiers, whose adversarial distances are known, and how to put a model through a protocol."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor, nn

from helpers.known import subject
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS

SHAPE = (3, 2, 2)


class Planes(nn.Module):
    """Logits (x − ½)·uᵢ/temperature for orthonormal uᵢ; counts the images that went through, and with a gradient."""

    def __init__(self, classes: int = 2, temperature: float = 0.05):
        super().__init__()
        source = torch.Generator().manual_seed(0)
        self.u = torch.linalg.qr(torch.randn(12, classes, generator=source, dtype=torch.float64)).Q.T
        self.temperature, self.passes, self.gradients = temperature, 0, 0

    def forward(self, x: Tensor) -> Tensor:
        self.passes += len(x)
        self.gradients += len(x) * x.requires_grad
        return (x - 0.5).flatten(1) @ self.u.T.to(x.dtype) / self.temperature

    def at(self, *coordinates: float) -> Tensor:
        """The image ½ + Σ tᵢuᵢ, float32 (C, H, W)."""
        t = torch.tensor(coordinates, dtype=torch.float64)
        return (0.5 + t @ self.u).float().view(SHAPE)

    def between(self, *distances: float) -> Tensor:
        """Images of class 0 at these distances from the plane between it and class 1."""
        return torch.stack([self.at(d / 2**0.5, -d / 2**0.5) for d in distances])


def records(
    protocol: str,
    model: nn.Module,
    spec: RunSpec,
    images: Tensor,
    labels: Sequence[int],
    *,
    order: Sequence[int] | None = None,
    batch_size: int = 256,
    **others: pd.DataFrame,
) -> pd.DataFrame:
    """A protocol's records of the images (N, C, H, W), those in `order` in that order, by idx."""

    empty = pd.DataFrame({"idx": []})
    given = subject(model, spec, batch_size=batch_size, **{"certify": empty, "lbound": empty} | others)
    stream = ((i, images[i], labels[i]) for i in (range(len(images)) if order is None else order))
    return pd.DataFrame(PROTOCOLS.get(protocol).records(given, stream)).sort_values("idx", ignore_index=True)


def assert_same(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    """Whole numbers and texts equal, distances to 1e-5."""
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-5, atol=1e-6)
