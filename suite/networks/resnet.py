"""The CIFAR ResNets (He et al. 2016, section 4.2)."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from suite.networks.architectures import Architecture, Shape


class Block(nn.Module):
    """Two 3×3 convolutions and a parameter-free shortcut (He et al. 2016, option A: stride and zero channels)."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.widening = stride, outside - inside

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.widening:
            low = self.widening // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, low, self.widening - low))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """The CIFAR ResNet of depth 6n + 2 (He et al. 2016, section 4.2); 16 channels wide at first by default."""

    def __init__(self, depth: int, classes: int, channels: int = 3, width: int = 16):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        blocks = (depth - 2) // 6
        self.layer1 = self._stage(blocks, width, width, 1)
        self.layer2 = self._stage(blocks, width, 2 * width, 2)
        self.layer3 = self._stage(blocks, 2 * width, 4 * width, 2)
        self.linear = nn.Linear(4 * width, classes)

    @staticmethod
    def _stage(blocks: int, inside: int, outside: int, stride: int) -> nn.Sequential:
        rest = (Block(outside, outside, 1) for _ in range(blocks - 1))
        return nn.Sequential(Block(inside, outside, stride), *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        found: Tensor = self.linear(x.mean(dim=(2, 3)))
        return found


def cifar_resnet(depth: int, classes: int, shape: Shape, width: int) -> nn.Module:
    return CifarResNet(depth, classes, shape[0], width)


RESNET8, RESNET20, RESNET56, RESNET110 = (
    Architecture(partial(cifar_resnet, depth), width=16) for depth in (8, 20, 56, 110)
)
