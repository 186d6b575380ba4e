"""A small vision transformer (Dosovitskiy et al. 2021, "An image is worth 16x16 words"), as timm builds it."""

from __future__ import annotations

from torch import nn

from suite.errors import require
from suite.networks.architecture import Architecture, Shape


def vit(classes: int, shape: Shape, width: int) -> nn.Module:
    """Twelve layers, on about 8 × 8 patches of small images and on patches of 16 × 16 pixels of large ones."""
    require("--arch vit-tiny", "networks", "timm")
    from timm.models.vision_transformer import VisionTransformer

    channels, height, across = shape
    network: nn.Module = VisionTransformer(
        img_size=(height, across),
        patch_size=max(1, min(height, across) // 8) if min(height, across) <= 64 else 16,
        in_chans=channels,
        num_classes=classes,
        embed_dim=width,
        depth=12,
        num_heads=max(1, width // 64),
        dynamic_img_pad=True,
    )
    return network


VIT_TINY = Architecture(vit, width=192)
