"""Pre-activation ResNets (He et al. 2016, "Identity mappings") of 18 layers for small images."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from suite.networks.architecture import Architecture, Shape


class Block(nn.Module):
    """Normalise, rectify, convolve, twice; the shortcut starts from the rectified input where the shape changes."""

    def __init__(self, inside: int, outside: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        active = F.relu(self.bn1(x))
        out = self.conv2(F.relu(self.bn2(self.conv1(active))))
        found: Tensor = out + (x if self.shortcut is None else self.shortcut(active))
        return found


class PreactResNet18(nn.Module):
    """Two blocks in each of four stages. `last_norm`: normalise and rectify before the pooling, as the paper does."""

    def __init__(self, classes: int, channels: int, width: int, last_norm: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        widths = [width, width, 2 * width, 4 * width, 8 * width]
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(Block(inside, outside, stride), Block(outside, outside, 1))
            for inside, outside, stride in zip(widths, widths[1:], (1, 2, 2, 2), strict=False)
        )
        self.bn = nn.BatchNorm2d(8 * width) if last_norm else None
        self.linear = nn.Linear(8 * width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer3(self.layer2(self.layer1(self.conv1(x)))))
        if self.bn is not None:
            x = F.relu(self.bn(x))
        found: Tensor = self.linear(x.mean(dim=(2, 3)))
        return found


def preact_resnet18(last_norm: bool, classes: int, shape: Shape, width: int) -> nn.Module:
    return PreactResNet18(classes, shape[0], width, last_norm)


NAMES = (("fc", "linear"), ("downsample", "shortcut"))
WITHOUT_LAST_NORM, WITH_LAST_NORM = (
    Architecture(partial(preact_resnet18, last_norm), width=64, other_names=NAMES) for last_norm in (False, True)
)
