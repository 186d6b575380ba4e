"""The layouts that images come in: Hugging Face's parquet shards, or a folder of image files per class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from suite.data.parquet import Parquet
from suite.errors import UserError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
HELD_OUT = ("test", "val", "validation")


class ImageFolder:
    """CLASS/*.png and the like; the classes are the folders' names, sorted."""

    def __init__(self, root: Path):
        folders = [path for path in _visible(root) if path.is_dir()]
        self.root = root
        self.classes: tuple[str, ...] | None = tuple(path.name for path in folders)
        self.paths: list[str] = []
        labels: list[int] = []
        for label, folder in enumerate(folders):
            found = [str(path) for path in _visible(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
            if not found:
                raise UserError(f"{folder} holds no images: remove it, or put the images of that class there")
            self.paths += found
            labels += [label] * len(found)
        self.labels = torch.tensor(labels, dtype=torch.int64)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        try:
            return [Path(self.paths[index]).read_bytes() for index in indices]
        except OSError as error:
            raise UserError(f"cannot read {error.filename}: {error.strerror}") from error

    def where(self, index: int) -> str:
        return self.paths[index]

    def files(self) -> list[tuple[str, int]]:
        paths = map(Path, self.paths)
        return [(path.relative_to(self.root).as_posix(), path.stat().st_size) for path in paths]


@dataclass(frozen=True)
class Found:
    """The two splits of a dataset where `find` met them; `train` is None if only the other is there."""

    train: ImageFolder | Parquet | None
    test: ImageFolder | Parquet
    source: str

    def check_classes(self, count: int) -> None:
        """Raises UserError if a split has another number of class folders, or labels outside 0..count-1."""
        for split in (self.train, self.test):
            if split is None:
                continue
            if split.classes is not None and len(split.classes) != count:
                raise UserError(f"{self.source} has {len(split.classes)} classes, not {count}")
            wrong = ((split.labels < 0) | (split.labels >= count)).nonzero()
            if len(wrong):
                index = int(wrong[0])
                label = int(split.labels[index])
                raise UserError(f"{split.where(index)} has the label {label}, outside 0..{count - 1}")


def find(
    shard_folders: Sequence[Path],
    image_folder: Path,
    *,
    label: str = "label",
    held_out: Sequence[str] = HELD_OUT,
    needs_train: bool = True,
) -> Found | None:
    """The first of `shard_folders` that holds parquet shards, or else `image_folder` if it has split folders.

    `held_out` are the names that the other split may have; the first found wins. Raises UserError if what is
    there lacks a split, or is broken.
    """
    for place in shard_folders:
        train_shards = _shards(place, "train")
        test_shards = next(filter(None, (_shards(place, split) for split in held_out)), None)
        if train_shards or test_shards:
            train = Parquet(train_shards, label) if train_shards else None
            test = Parquet(test_shards, label) if test_shards else None
            return _complete(f"parquet in {place}", train, test, held_out, needs_train)
    train_folder = image_folder / "train"
    test_folder = next(filter(Path.is_dir, (image_folder / split for split in held_out)), None)
    if not train_folder.is_dir() and not test_folder:
        return None
    return _complete(
        f"image folders in {image_folder}",
        ImageFolder(train_folder) if train_folder.is_dir() else None,
        ImageFolder(test_folder) if test_folder else None,
        held_out,
        needs_train,
    )


def _complete(
    source: str,
    train: ImageFolder | Parquet | None,
    test: ImageFolder | Parquet | None,
    held_out: Sequence[str],
    needs_train: bool,
) -> Found:
    if train is None and needs_train:
        raise UserError(f"{source}: there is no train split")
    if test is None:
        raise UserError(f"{source}: there is no {' or '.join(held_out)} split beside train")
    for name, split in ("train", train), ("test", test):
        if split is not None and not len(split.labels):
            raise UserError(f"{source}: the {name} split is empty")
    if train is not None and train.classes != test.classes:
        differ = sorted(set(train.classes or ()) ^ set(test.classes or ()))
        raise UserError(f"{source}: train and test differ in the classes {', '.join(differ)}")
    return Found(train, test, source)


def _shards(folder: Path, split: str) -> list[Path]:
    """The parquet files of `split`. Raises UserError where their names say that some are missing."""
    if not folder.is_dir():
        return []
    shards = [path for path in _visible(folder) if re.fullmatch(rf"{split}-.*\.parquet", path.name)]
    total = re.search(r"-of-(\d+)", shards[-1].name) if shards else None
    if total and int(total[1]) != len(shards):
        raise UserError(f"{folder} holds {len(shards)} of the {int(total[1])} {split}-*.parquet files")
    return shards


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
