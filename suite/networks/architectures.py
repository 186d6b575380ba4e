"""The architectures. Each network takes pixels in [0,1] of shape (B, C, H, W) and gives logits (B, K). To normalise the
channels is its own first layer, so that σ, radii and attack norms mean the same for all of them."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from suite.errors import UserError
from suite.registry import Registry

Shape = tuple[int, int, int]  # C, H, W
WIDEST = 1024


@dataclass(frozen=True)
class Architecture:
    """A family of networks. `network(classes, shape, width)` builds an untrained one behind the normalising layer.

    `width` is the default one, in channels, that a name ending in -wN replaces; None where there is only one width.
    `lipschitz` says that its networks have a Lipschitz bound (`suite.networks.lipschitz`); they get pixels that are
    centred and not divided by a standard deviation, so that distances stay those of pixels.
    """

    network: Callable[[int, Shape, int], nn.Module]
    width: int | None = None
    lipschitz: bool = False


ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    "suite.architectures",
    {
        "cnn": "suite.networks.cnn:CNN",
        "airbench": "suite.networks.airbench:AIRBENCH",
        **{f"resnet{depth}": f"suite.networks.resnet:RESNET{depth}" for depth in (8, 20, 56, 110)},
        **{f"resnet{depth}": f"suite.networks.torchvision_resnet:RESNET{depth}" for depth in (18, 34, 50)},
        **{f"lipschitz-{size}": f"suite.networks.lipschitz:{size.upper()}" for size in ("small", "medium", "large")},
    },
    of="suite.networks.architectures:Architecture",
)


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


def find_architecture(arch: str) -> tuple[Architecture, int]:
    """'resnet20-w32' → the architecture 'resnet20', and 32. Raises UserError for a name that is no architecture."""
    name, width = arch, ""
    match = re.fullmatch(r"(.+)-w(\d+)", arch)
    if match and arch not in ARCHITECTURES.paths():
        name, width = match[1], match[2]
    found = ARCHITECTURES.get(name)
    if not width:
        return found, found.width or 0
    if found.width is None or not 1 <= int(width) <= WIDEST:
        wide = [known for known, other in ARCHITECTURES.loadable().items() if other.width]
        raise UserError(f"architecture '{arch}': a width from 1 to {WIDEST} (-wN) is for {', '.join(wide)} only")
    return found, int(width)


def is_lipschitz(arch: str) -> bool:
    """Whether networks of this architecture have a Lipschitz bound. Raises UserError for an unknown one."""
    return find_architecture(arch)[0].lipschitz


def build(arch: str, classes: int, shape: Shape, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Module:
    """An untrained network.

    `arch` is a name of ARCHITECTURES, for some with a width, as in `resnet20-w32`. `shape` is (C, H, W). The state has
    the keys `normalize.*` and `network.*`. Raises UserError for an unknown architecture, and for images it cannot take.
    """
    architecture, width = find_architecture(arch)
    std = (1.0,) * len(std) if architecture.lipschitz else std
    network = architecture.network(classes, shape, width)
    model = nn.Sequential(OrderedDict(normalize=Normalize(mean, std), network=network))
    return model.to(memory_format=torch.channels_last)
