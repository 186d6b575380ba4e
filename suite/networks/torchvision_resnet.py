"""torchvision's ResNets, with a 3×3 stem and no pooling after it for images of at most 64 pixels."""

from __future__ import annotations

from functools import partial

from torch import nn

from suite.errors import UserError
from suite.networks.architectures import Architecture, Shape


def torchvision_resnet(name: str, classes: int, shape: Shape, width: int) -> nn.Module:
    import torchvision

    net = getattr(torchvision.models, name)(num_classes=classes)
    if shape[1] <= 64:
        net.conv1, net.maxpool = nn.Conv2d(shape[0], 64, 3, 1, 1, bias=False), nn.Identity()
    elif shape[0] != 3:
        raise UserError(f"{name} takes images of 3 channels, not {shape[0]}")
    network: nn.Module = net
    return network


RESNET18, RESNET34, RESNET50 = (
    Architecture(partial(torchvision_resnet, name)) for name in ("resnet18", "resnet34", "resnet50")
)
