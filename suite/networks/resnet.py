"""The CIFAR ResNets (He et al. 2016, section 4.2), with either kind of shortcut."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from suite.errors import UserError
from suite.networks.architecture import Architecture, Shape

USUAL = tuple((6 * n + 2,) for n in (1, 2, 3, 4, 5, 6, 7, 9, 18))


class Block(nn.Module):
    """Two 3×3 convolutions and a shortcut: option A, stride and zero channels, or option B, a 1×1 convolution."""

    def __init__(self, inside: int, outside: int, stride: int, option: str):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.stride, self.widening = stride, outside - inside
        self.downsample: nn.Sequential | None = None
        if option == "B" and self.widening:
            shortcut = nn.Conv2d(inside, outside, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outside))

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.widening:
            low = self.widening // 2
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, low, self.widening - low))
        return F.relu(out + x)


class CifarResNet(nn.Module):
    """The CIFAR ResNet of depth 6n + 2 (He et al. 2016, section 4.2); 16 channels wide at first by default."""

    def __init__(self, depth: int, classes: int, channels: int = 3, width: int = 16, option: str = "A"):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        stages = ((width, width, 1), (width, 2 * width, 2), (2 * width, 4 * width, 2))
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(
                Block(inside, outside, stride, option),
                *(Block(outside, outside, 1, option) for _ in range((depth - 2) // 6 - 1)),
            )
            for inside, outside, stride in stages
        )
        self.linear = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        found: Tensor = self.linear(x.mean(dim=(2, 3)))
        return found


def cifar_resnet(option: str, classes: int, shape: Shape, width: int, depth: int) -> nn.Module:
    return CifarResNet(depth, classes, shape[0], width, option)


def check_depth(depth: int) -> None:
    """Raises UserError for a depth that no CIFAR ResNet has."""
    if depth < 8 or (depth - 2) % 6 or depth > 1202:
        raise UserError(f"a CIFAR ResNet has a depth of 6n + 2, from 8 to 1202, not {depth}")


NAMES = (("fc", "linear"), ("shortcut", "downsample"))
OPTION_A, OPTION_B = (
    Architecture(partial(cifar_resnet, option), width=16, check=check_depth, usual=USUAL, other_names=NAMES)
    for option in ("A", "B")
)
