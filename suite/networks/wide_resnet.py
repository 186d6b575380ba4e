"""Wide ResNets (Zagoruyko and Komodakis 2016), WRN-D-K: pre-activation blocks, K times as wide as the CIFAR ResNet."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from suite.errors import UserError
from suite.networks.architecture import Architecture, Shape
from suite.networks.preact_resnet import Block


class Stage(nn.Module):
    """Blocks of one width; the first one changes the width and has the stride."""

    def __init__(self, blocks: int, inside: int, outside: int, stride: int):
        super().__init__()
        rest = (Block(outside, outside, 1) for _ in range(blocks - 1))
        self.layer = nn.Sequential(Block(inside, outside, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layer(x)
        return found


class WideResNet(nn.Module):
    """WRN-D-K of depth D = 6n + 4; its layers have the names of most published checkpoints, but for the shortcut's."""

    def __init__(self, depth: int, factor: int, classes: int, channels: int = 3, width: int = 16):
        super().__init__()
        blocks, wide = (depth - 4) // 6, width * factor
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.block1 = Stage(blocks, width, wide, 1)
        self.block2 = Stage(blocks, wide, 2 * wide, 2)
        self.block3 = Stage(blocks, 2 * wide, 4 * wide, 2)
        self.bn1 = nn.BatchNorm2d(4 * wide)
        self.fc = nn.Linear(4 * wide, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        found: Tensor = self.fc(F.relu(self.bn1(x)).mean(dim=(2, 3)))
        return found


def wide_resnet(classes: int, shape: Shape, width: int, depth: int, factor: int) -> nn.Module:
    return WideResNet(depth, factor, classes, shape[0], width)


def check_size(depth: int, factor: int) -> None:
    """Raises UserError for a depth and a widening factor that no Wide ResNet has."""
    if depth < 10 or (depth - 4) % 6 or depth > 1000 or not 1 <= factor <= 100:
        raise UserError(
            f"a Wide ResNet has a depth of 6n + 4, from 10, and a factor from 1 to 100, not {depth} and {factor}"
        )


USUAL = tuple((depth, factor) for depth in (10, 16, 22, 28, 34, 40, 70) for factor in (1, 2, 4, 5, 8, 10, 16, 20))
NAMES = (("linear", "fc"), ("convShortcut", "shortcut.0"))
WIDE_RESNET = Architecture(wide_resnet, width=16, check=check_size, usual=USUAL, other_names=NAMES)
