"""Datasets: two splits of labelled images, by name or from a folder of one's own.

To add one, write a function `load(root: Path, download: bool) -> Dataset` and register it: in `DATASETS`
below, or from another package with an entry point in the group "suite.datasets".
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from suite.data.dataset import Dataset, Facts, Images
from suite.data.folder import holds_dataset, load_folder
from suite.data.images import InMemory, Streamed, fingerprint
from suite.data.layouts import NotFound
from suite.data.published import Published
from suite.errors import UserError
from suite.progress import logger
from suite.registry import Registry

__all__ = ["DATASETS", "Dataset", "Images", "InMemory", "Streamed", "facts", "fingerprint", "is_folder", "load"]


DATASETS: Registry[Callable[[Path, bool], Dataset]] = Registry(
    "dataset",
    "suite.datasets",
    {
        "digits": "suite.data.digits:load",
        "mnist": "suite.data.mnist:MNIST.load",
        "fashion-mnist": "suite.data.mnist:FASHION_MNIST.load",
        "svhn": "suite.data.svhn:SVHN.load",
        "cifar10": "suite.data.cifar:CIFAR10.load",
        "cifar100": "suite.data.cifar:CIFAR100.load",
        "imagenet": "suite.data.imagenet:load",
    },
)


KNOWN: dict[str, Facts] = {"digits": (10, (1, 8, 8)), "imagenet": (1000, (3, 224, 224))}


def load(name: str, root: Path | None = None, *, download: bool = True) -> Dataset:
    """The dataset called `name`, or the one in the folder at the path `name`.

    A registered name wins over a folder of that name: write ./cifar10 for the folder. Registered datasets are
    looked for under `root`, by default $SUITE_DATA or else ./data, and downloaded there if `download`. Where a built-in
    one is not there and a folder of its name holds a dataset, that is loaded, and it is said.
    Raises UserError for an unknown name, or where the files are missing, broken or unreadable.
    """
    root = root or Path(os.environ.get("SUITE_DATA") or "data")
    try:
        if is_folder(name):
            return load_folder(Path(name))
        beside = name in DATASETS.builtin and holds_dataset(Path(name))
        try:
            return DATASETS.get(name)(root, download and not beside)
        except NotFound:
            if not beside:
                raise
            taken = f"the folder {name} is taken as data of your own: ./{name} says so, too"
            logger.warning(f"{name} is not in {root}, so {taken}")
            return load_folder(Path(name))
    except OSError as error:
        raise UserError(f"cannot read {error.filename or name}: {error.strerror or error}") from error


def facts(name: str) -> Facts | None:
    """How many classes a data set has and the shape of its images (C, H, W); None where only its files tell.

    Raises UserError for an unknown name.
    """
    if is_folder(name):
        return None
    owner = getattr(DATASETS.get(name), "__self__", None)
    return (len(owner.classes), owner.shape) if isinstance(owner, Published) else KNOWN.get(name)


def is_folder(name: str) -> bool:
    """Whether `name` stands for a folder of one's own, and not for a registered data set."""
    return os.sep in name or "/" in name or (name not in DATASETS.paths() and Path(name).is_dir())
