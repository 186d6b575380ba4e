"""Jordan's airbench network for CIFAR-10 (arXiv 2404.00498): wide and shallow, which suits a processor's cores.

A 2×2 convolution and three groups of two 3×3 convolutions, each group after a max-pool halves the size: w, 4w and 4w
channels, w = 64 as published. Here the first convolution is trained like the others, and the logits are not scaled.
"""

from __future__ import annotations

from torch import nn

from suite.errors import UserError
from suite.networks.architecture import Architecture, Shape

SMALLEST = 17  # pixels that three halvings leave one of


def airbench(classes: int, shape: Shape, width: int) -> nn.Module:
    channels, height, side = shape
    if min(height, side) < SMALLEST:
        raise UserError(f"airbench takes images of at least {SMALLEST} pixels a side, not {height}×{side}; use cnn")

    def group(inside: int, outside: int) -> list[nn.Module]:
        first = [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(outside)]
        second = [nn.Conv2d(outside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside)]
        return [*first, nn.GELU(), *second, nn.GELU()]

    stem = 8 * channels  # as many as the 2×2 patches have numbers, twice
    return nn.Sequential(
        nn.Conv2d(channels, stem, 2),
        nn.GELU(),
        *group(stem, width),
        *group(width, 4 * width),
        *group(4 * width, 4 * width),
        nn.AdaptiveMaxPool2d(1),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


AIRBENCH = Architecture(airbench, width=64)
