"""Random shifts and flips of a batch of training images."""

from __future__ import annotations

import torch
from torch import Tensor

from suite.errors import unknown
from suite.networks.device import upload

# How far an image is shifted at most (pixels), what fills the gap, and whether it is flipped left to right.
KINDS = {
    "crop-flip": (4, "reflect", True),
    "crop-flip-2": (2, "reflect", True),
    "crop-flip-zero": (4, "zero", True),
    "shift": (1, "zero", False),
    "flip": (0, "zero", True),
    "none": (0, "zero", False),
}


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """`images` (B, C, H, W), each shifted and flipped at random; dtype and device stay.

    "crop-flip" pads by 4 reflected pixels, "crop-flip-2" by 2, "crop-flip-zero" by 4 black ones, "shift" by 1 black
    one, and all crop a window of the old size.
    Raises UserError for an unknown `kind`.
    """
    if kind not in KINDS:
        raise unknown("augmentation", kind, KINDS)
    reach, fill, flips = KINDS[kind]
    batch, _, height, width = images.shape
    device = images.device
    if reach:
        shape = 2, batch, 1
        shift = upload(torch.randint(-reach, reach + 1, shape, generator=generator, device=generator.device), device)
        rows = torch.arange(height, device=device) + shift[0]
        columns = torch.arange(width, device=device) + shift[1]
        which = torch.arange(batch, device=device)[:, None, None]
        window = images[which, :, _mirror(rows, height)[:, :, None], _mirror(columns, width)[:, None, :]]
        images = window.permute(0, 3, 1, 2).contiguous()
        if fill == "zero":
            inside = _within(rows, height)[:, None, :, None] & _within(columns, width)[:, None, None, :]
            images = images * inside
    if flips:
        heads = upload(torch.rand(batch, 1, 1, 1, generator=generator, device=generator.device) < 0.5, device)
        images = torch.where(heads, images.flip(3), images)
    return images


def _mirror(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0..size-1 reflected at the border pixel."""
    return size - 1 - (size - 1 - positions.abs()).abs()


def _within(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)
