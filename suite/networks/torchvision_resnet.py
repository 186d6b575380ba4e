"""torchvision's ResNets, with a 3×3 stem and no pooling after it for images of at most 64 pixels."""

from __future__ import annotations

from functools import partial

from torch import nn

from suite.errors import UserError
from suite.networks.architecture import Architecture, Shape


def torchvision_resnet(name: str, classes: int, shape: Shape, width: int) -> nn.Module:
    import torchvision

    net = getattr(torchvision.models, name)(num_classes=classes)
    if shape[1] <= 64:
        net.conv1, net.maxpool = nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False), nn.Identity()
    elif shape[0] != 3:
        raise UserError(f"{name} takes images of 3 channels, not {shape[0]}")
    network: nn.Module = net
    return network


NAMES = (("linear", "fc"), ("shortcut", "downsample"))
RESNET18, RESNET34, RESNET50, RESNET101, RESNET152 = (
    Architecture(partial(torchvision_resnet, f"resnet{depth}"), other_names=NAMES) for depth in (18, 34, 50, 101, 152)
)
