"""A small convolutional network for images of 8×8 to 28×28 pixels."""

from __future__ import annotations

from torch import nn

from suite.networks.architecture import Architecture, Shape


def cnn(classes: int, shape: Shape, width: int) -> nn.Module:
    def stage(inside: int, outside: int, stride: int) -> list[nn.Module]:
        conv = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        return [conv, nn.BatchNorm2d(outside), nn.ReLU()]

    head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64 * 4, classes)]
    return nn.Sequential(*stage(shape[0], 32, 1), *stage(32, 64, 2), *stage(64, 64, 1), *head)


CNN = Architecture(cnn)
