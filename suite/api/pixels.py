"""Images from Python as the suite computes with them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.errors import UserError


def pixels_of(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Images as pixels in [0,1], (N, C, H, W). Raises UserError where they are something else."""
    if images.ndim != 4:
        raise UserError(f"images have the shape (N, C, H, W), not {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images.to(dtype) / 255
    if len(images) and (images.max() > 1 + 1e-6 or images.min() < -1e-6):
        said = f"images go from {images.min():g} to {images.max():g}"
        raise UserError(f"{said}: their pixels have to be in [0,1]; divide by 255, and normalise inside of the network")
    return images.to(dtype)


def dtype_for(model: nn.Module) -> torch.dtype:
    """What a model takes images in: float64 where its weights are, else float32."""
    own = next((parameter.dtype for parameter in model.parameters()), torch.float32)
    return own if own == torch.float64 else torch.float32
