"""What is known of the registered data sets before a file is read."""

from __future__ import annotations

FACTS = {  # classes, and the shape of an image (C, H, W)
    "digits": (10, (1, 8, 8)),
    "cifar10": (10, (3, 32, 32)),
    "cifar100": (100, (3, 32, 32)),
    "imagenet": (1000, (3, 224, 224)),
    "mnist": (10, (1, 28, 28)),
    "fashion-mnist": (10, (1, 28, 28)),
    "svhn": (10, (3, 32, 32)),
}
