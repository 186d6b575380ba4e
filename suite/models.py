"""The networks. Each takes pixels in [0,1] of shape (B, C, H, W) and gives logits (B, K); to normalise the channels is
its own first layer, so that σ, radii and attack norms mean the same for all of them."""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path

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
        return self.linear(x.mean(dim=(2, 3)))


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
    return net


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


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, safetensors or pickle; a pickle's code is never run.

    Raises UserError where the file is absent, damaged, no checkpoint, or would execute code when loaded.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        with path.open("rb") as file:
            pickled = file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        if not pickled:
            raise UserError(f"{path} is damaged or not a checkpoint ({error})") from error
    return _unpickle_weights(path)


def _unpickle_weights(path: Path) -> dict[str, Tensor]:
    import pickle

    try:
        with path.open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} was not loaded: it is damaged, or holds objects that would execute code on loading; "
            "a state_dict saved as safetensors is safe to load"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint ({str(error).splitlines()[0]})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state_dict of tensors")
    return state


def load_into(model: nn.Module, path: Path) -> None:
    """Load a checkpoint into `model`. Raises UserError where its keys or shapes are not the model's."""
    state, wanted = load_state(path), model.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = [name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape]
    if missing or extra or shapes:
        said = {"missing": missing, "not expected": extra, "of another shape": sorted(shapes)}
        parts = [f"{len(keys)} keys {word} ({keys[0]}, …)" for word, keys in said.items() if keys]
        raise UserError(f"{path} is a checkpoint of another architecture: {'; '.join(parts)}")
    model.load_state_dict(state)
