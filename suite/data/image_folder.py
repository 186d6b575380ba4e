"""Image files: a folder for each class, or all in one folder beside a file with their labels."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from suite.data.label_files import find_label_file, read_labels
from suite.data.parquet import renumbered
from suite.data.shards import visible
from suite.errors import UserError
from suite.progress import logger

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
FLAT = "images"  # the one folder within a split that is no class


class ImageFolder:
    """One split: image files and their labels; `extra` are the files beside them that the labels come from."""

    def __init__(
        self,
        root: Path,
        paths: list[str],
        labels: list[int],
        classes: tuple[str, ...] | None,
        extra: Sequence[Path] = (),
    ):
        self.root, self.images, self.extra = root, paths, extra
        self.classes = classes
        self.groups = None
        self.labels: Tensor = torch.tensor(labels, dtype=torch.int64)

    @property
    def paths(self) -> list[str]:
        """The files that the split depends on."""
        return [*self.images, *map(str, self.extra)]

    def renumber(self, numbers: Sequence[int], classes: tuple[str, ...] | None) -> None:
        """Give label k the number `numbers[k]`; labels out of its range keep theirs."""
        self.labels, self.classes = renumbered(self.labels, numbers), classes

    def read(self, indices: Sequence[int]) -> list[bytes]:
        try:
            return [Path(self.images[index]).read_bytes() for index in indices]
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from error

    def where(self, index: int) -> str:
        return self.images[index]

    file = where

    def files(self) -> list[tuple[str, int]]:
        paths = map(Path, self.images)
        return [(path.relative_to(self.root).as_posix(), path.stat().st_size) for path in paths]


def read_split(folder: Path, top: Path, classes: tuple[str, ...] | None = None) -> ImageFolder:
    """The split in a folder; `classes` are those of the training split, which a file of labels may name.

    Files of labels are looked for in the folder and those above it, up to `top`.
    """
    below = [path for path in visible(folder) if path.is_dir()]
    is_flat = not below or ([path.name for path in below] == [FLAT] and FLAT not in (classes or ()))
    images = list(map(Path, _sorted(_images(folder)))) if is_flat else []
    if not images:
        return _class_folders(folder, below)
    file = find_label_file(folder, top)
    if file is None and below and classes is None:
        return _class_folders(folder, below)
    if file is None:
        raise UserError(
            f"{folder} holds {len(images)} images and nothing that names their classes: put them into a folder for "
            f"each class, or beside them a file {folder.name}.txt or {folder.name}.csv with the name and the class of "
            "each"
        )
    return _listed(folder, images, file, classes)


def has_labels(folder: Path, top: Path, classes: tuple[str, ...] | None) -> bool:
    """Whether a held-out split says its classes: the test images of a challenge do not."""
    below = [path.name for path in visible(folder) if path.is_dir()]
    is_flat = not below or (below == [FLAT] and FLAT not in (classes or (FLAT,)))
    return not is_flat or not any(True for _ in _images(folder)) or find_label_file(folder, top) is not None


def in_order(names: Iterable[str]) -> list[str]:
    """Names of classes in their order: by number if all are whole numbers, else as text."""
    names = list(names)
    if names and all(re.fullmatch(r"-?[0-9]+", name) for name in names):
        return sorted(names, key=lambda name: (int(name), name))
    return sorted(names)


def _class_folders(root: Path, folders: Sequence[Path]) -> ImageFolder:
    by_name = {path.name: path for path in folders}
    classes = tuple(in_order(by_name))
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _sorted(_images(by_name[name]))
        if not found:
            raise UserError(f"{by_name[name]} holds no images: remove it, or put the images of that class there")
        paths += found
        labels += [label] * len(found)
    return ImageFolder(root, paths, labels, classes)


def _listed(folder: Path, images: Sequence[Path], file: Path, classes: tuple[str, ...] | None) -> ImageFolder:
    """The images of a folder that a file of labels lists, in the order of their paths."""
    listed, extra, all_classes = read_labels(file)
    named = [(path, listed.get(path.relative_to(folder).as_posix()) or listed.get(path.name)) for path in images]
    named = [(path, name or listed.get(path.stem)) for path, name in named]
    known = [(path, name) for path, name in named if name is not None]
    left_out = [path for path, name in named if name is None]
    if not known:
        raise UserError(f"{file} lists none of the {len(images)} images in {folder}; {images[0].name} is the first")
    if left_out:
        logger.warning(f"{len(left_out)} of the {len(images)} images in {folder} are not in {file} and are left out: "
            f"{left_out[0].name} is the first")  # fmt: skip
    if len(listed) > len(known):
        logger.warning(f"{file} lists {len(listed)} images, {len(known)} of which are in {folder}")
    names = [name for _, name in known]
    numbers = {name: label for label, name in enumerate(classes or all_classes or ())}
    if numbers and set(names) <= set(numbers):
        labels = [numbers[name] for name in names]
    elif all(re.fullmatch(r"-?[0-9]+", name) for name in names):
        labels = list(map(int, names))
    elif numbers:
        wrong, name = next((path, name) for path, name in known if name not in numbers)
        raise UserError(f"{file}: {wrong.name} has the class {name}, which is not one of the {len(numbers)} of train")
    else:
        numbers = {name: label for label, name in enumerate(in_order(set(listed.values())))}
        labels = [numbers[name] for name in names]
    return ImageFolder(folder, [str(path) for path, _ in known], labels, tuple(numbers) or None, [file, *extra])


def _sorted(paths: Iterable[str]) -> list[str]:
    """Paths in the order of their parts."""
    return sorted(paths, key=lambda path: path.replace(os.sep, "\0"))


def _images(folder: Path) -> Iterator[str]:
    """The images in a folder and those below it, hidden ones left out."""
    seen = set()
    for place, below, files in os.walk(folder, followlinks=True):
        here = os.path.realpath(place)
        below[:] = [] if here in seen else [name for name in below if not name.startswith(".")]
        if here not in seen:
            yield from (f"{place}{os.sep}{name}" for name in files if _is_image(name))
        seen.add(here)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
