"""The architectures. Each network takes pixels in [0,1] of shape (B, C, H, W) and gives logits (B, K). To normalise the
channels is its own first layer, so that σ, radii and attack norms mean the same for all of them."""

from __future__ import annotations

import re
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.errors import UserError, unknown

CIFAR_DEPTHS = (8, 20, 56, 110)

TORCHVISION = ("resnet18", "resnet34", "resnet50")

ARCHITECTURES = ("cnn", *(f"resnet{depth}" for depth in CIFAR_DEPTHS), *TORCHVISION)


class Normalize(nn.Module):
    """(x − mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.std


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


def cnn(classes: int, channels: int) -> nn.Module:
    """A small convolutional network for 8×8 to 28×28 images."""

    def stage(inside: int, outside: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        return [conv, nn.BatchNorm2d(outside), nn.ReLU()]

    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64 * 4, classes)]
    return nn.Sequential(*stage(channels, 32, 1), *stage(32, 64, 2), *stage(64, 64, 1), *head)


def torchvision_resnet(name: str, classes: int, shape: tuple[int, int, int]) -> nn.Module:
    """torchvision's ResNet, with a 3×3 stem and no pooling after it for images of at most 64 pixels."""
    import torchvision

    net = getattr(torchvision.models, name)(num_classes=classes)
    if shape[1] <= 64:
        net.conv1, net.maxpool = nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False), nn.Identity()
    elif shape[0] != 3:
        raise UserError(f"{name} takes images of 3 channels, not {shape[0]}")
    network: nn.Module = net
    return network


def split_arch(arch: str) -> tuple[str, int]:
    """'resnet20-w32' → ('resnet20', 32). Raises UserError for a name that is no architecture."""
    match = re.fullmatch(r"(\w+?)(?:-w(\d+))?", arch)
    name = match[1] if match else arch
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    width = int(match[2]) if match and match[2] else 16
    if match and match[2] and (name in TORCHVISION or name == "cnn" or not 1 <= width <= 1024):
        raise UserError(f"architecture '{arch}': a width from 1 to 1024 (-wN) is for the CIFAR ResNets only")
    return name, width


def build(
    arch: str, classes: int, shape: tuple[int, int, int], mean: tuple[float, ...], std: tuple[float, ...]
) -> nn.Module:
    """An untrained network.

    `arch` is one of ARCHITECTURES; a CIFAR ResNet may name its width, as in `resnet20-w32`. `shape` is (C, H, W).
    The state has the keys `normalize.*` and `network.*`. Raises UserError for an unknown architecture.
    """
    name, width = split_arch(arch)
    if name == "cnn":
        network = cnn(classes, shape[0])
    elif name in TORCHVISION:
        network = torchvision_resnet(name, classes, shape)
    else:
        network = CifarResNet(int(name.removeprefix("resnet")), classes, shape[0], width)
    model = nn.Sequential(OrderedDict(normalize=Normalize(mean, std), network=network))
    return model.to(memory_format=torch.channels_last)
