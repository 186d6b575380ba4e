"""The 1,797 handwritten digits that come with scikit-learn: 8x8 grey, no files and no network needed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from suite.data.dataset import Dataset
from suite.data.images import InMemory, fingerprint

SPLIT_SEED = 0


def load(root: Path, download: bool) -> Dataset:
    """1,297 training and 500 test images, every class split in the same proportion. Uses no argument."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans = load_digits()
    images = torch.from_numpy(np.rint(scans.images * 255 / 16).astype(np.uint8))[:, None]
    labels = torch.from_numpy(scans.target.astype(np.int64))
    everything = np.arange(len(labels))
    parts = train_test_split(everything, test_size=500, random_state=SPLIT_SEED, stratify=scans.target)
    train, test = (InMemory(images[part], labels[part]) for part in map(np.sort, parts))
    return Dataset(
        name="digits",
        variant="",
        title="Digits",
        classes=tuple("0123456789"),
        shape=(1, 8, 8),
        mean=(0.3053,),
        std=(0.3758,),
        augmentation="shift",
        train=train,
        test=test,
        source="scikit-learn's load_digits",
        fingerprint=fingerprint(train, test),
    )
