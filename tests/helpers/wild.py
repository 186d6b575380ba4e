"""What the tests of wild data share: six small images of three classes, and how they are stored."""

from __future__ import annotations

import torch
from PIL import Image

from helpers.image_files import as_stored, encode, pixels, write_parquet

IMAGES = pixels(6, 8, 8)
LABELS = [0, 1, 2, 0, 1, 2]
CLASS_LABEL = {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}


def write_mine(path, count=6, **options):
    write_parquet(path, [encode(array) for array in IMAGES[:count]], LABELS[:count], **options)


def assert_mine(dataset, test=6):
    assert dataset.train.labels.tolist() == LABELS
    assert torch.equal(dataset.train[torch.arange(6)], as_stored(IMAGES))
    assert len(dataset.test) == test


def write_image(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
