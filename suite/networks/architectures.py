"""The architectures. Each network takes pixels in [0,1] of shape (B, C, H, W) and gives logits (B, K). To normalise the
channels is its own first layer, so that σ, radii and attack norms mean the same for all of them."""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from suite.errors import UserError
from suite.networks.architecture import Architecture, Shape
from suite.networks.code import is_reference
from suite.networks.references import find_reference
from suite.registry import Registry

WIDEST = 1024

ARCHITECTURES: Registry[Architecture] = Registry(
    "architecture",
    "suite.architectures",
    {
        "cnn": "suite.networks.cnn:CNN",
        "airbench": "suite.networks.airbench:AIRBENCH",
        "resnet{D}": "suite.networks.resnet:OPTION_A",
        "resnet{D}-b": "suite.networks.resnet:OPTION_B",
        **{f"resnet{depth}": f"suite.networks.torchvision_resnet:RESNET{depth}" for depth in (18, 34, 50, 101, 152)},
        "preact-resnet18": "suite.networks.preact_resnet:WITHOUT_LAST_NORM",
        "preact-resnet18-bn": "suite.networks.preact_resnet:WITH_LAST_NORM",
        "wide-resnet-{D}-{K}": "suite.networks.wide_resnet:WIDE_RESNET",
        "vit-tiny": "suite.networks.vit:VIT_TINY",
        **{f"lipschitz-{size}": f"suite.networks.lipschitz:{size.upper()}" for size in ("small", "medium", "large")},
    },
    of="suite.networks.architecture:Architecture",
)


class Classifier(nn.Sequential):
    """A network behind the layer that normalises its images; what others call its parts is kept for their weights."""

    def __init__(self, normalize: nn.Module, network: nn.Module, other_names: tuple[tuple[str, str], ...] = ()):
        super().__init__(OrderedDict(normalize=normalize, network=network))
        self.other_names = other_names


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
    """'resnet20-w32' → the architecture of CIFAR ResNets at depth 20, and the width 32.

    Raises UserError for a name that is no architecture, and for a reference (`suite.networks.references`) to what is
    not there.
    """
    if is_reference(arch):
        return find_reference(arch), 0
    name, width = arch, ""
    match = re.fullmatch(r"(.+)-w(\d+)", arch)
    if match and arch not in ARCHITECTURES.paths():
        name, width = match[1], match[2]
    found = find_member(name)
    if not width:
        return found, found.width or 0
    if found.width is None or not 1 <= int(width) <= WIDEST:
        wide = [known for known, other in ARCHITECTURES.loadable().items() if other.width]
        raise UserError(f"architecture '{arch}': a width from 1 to {WIDEST} (-wN) is for {', '.join(wide)} only")
    return found, int(width)


def find_member(name: str) -> Architecture:
    """The architecture of that name, with its numbers set. Raises UserError where there is none."""
    families = [known for known in ARCHITECTURES.paths() if "{" in known]
    if name in ARCHITECTURES.paths() and name not in families:
        return ARCHITECTURES.get(name)
    for family in families:
        if match := re.fullmatch(re.sub(r"\{\w+\}", r"(\\d+)", family), name):
            found, numbers = ARCHITECTURES.get(family), tuple(map(int, match.groups()))
            found.check(*numbers)
            return replace(found, network=partial(build_member, found, numbers))
    near = [written for known in ARCHITECTURES.paths() if (written := spelled_like(known, name))]
    likely = difflib.get_close_matches(name, ARCHITECTURES.paths().keys() - set(families), cutoff=0.85)
    near += [known for known in likely if digits(known) == digits(name)]
    hint = f"did you mean '{near[0]}'? " if near else ""
    raise UserError(
        f"unknown architecture '{name}': {hint}known: {', '.join(sorted(ARCHITECTURES.paths()))}; more by "
        "timm:NAME, torchvision:NAME or hub:REPO:NAME, and a network of your own by FILE.py:NAME or MODULE:NAME "
        "(or from Python, by suite.evaluate)"
    )


def digits(name: str) -> list[str]:
    return re.findall(r"\d+", name)


def build_member(found: Architecture, numbers: tuple[int, ...], classes: int, shape: Shape, width: int) -> nn.Module:
    return found.network(classes, shape, width, *numbers)


def spelled_like(known: str, name: str) -> str:
    """`known` with the numbers of `name`, if only hyphens and capitals differ: 'WideResNet_28_10'; else empty."""
    numbers = digits(name)
    written = re.sub(r"\{\w+\}", lambda _: numbers.pop(0) if numbers else "N", known)
    same = re.sub(r"[\W_]", "", name.lower().replace("wrn", "wideresnet")) == re.sub(r"\W", "", written)
    return written if same else ""


def is_lipschitz(arch: str) -> bool:
    """Whether networks of this architecture have a Lipschitz bound. Raises UserError for an unknown one."""
    return find_architecture(arch)[0].lipschitz


def build(
    arch: str,
    classes: int,
    shape: Shape,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    trust: bool = False,
) -> nn.Module:
    """An untrained network.

    `arch` is a name of ARCHITECTURES, with its numbers and for some with a width, as in `resnet20-w32`, or a reference.
    `shape` is (C, H, W). The state has the keys `normalize.*` and `network.*`. Raises UserError for an unknown
    architecture, for images it cannot take, and without `trust` for one that runs code which it fetches.
    """
    architecture, width = find_architecture(arch)
    if architecture.runs_code and not trust:
        raise UserError(f"{arch} runs code of other people's on this machine: --trust if you know what it does")
    std = (1.0,) * len(std) if architecture.lipschitz else std
    network = architecture.network(classes, shape, width)
    model = Classifier(Normalize(mean, std), network, architecture.other_names)
    return model.to(memory_format=torch.channels_last)
