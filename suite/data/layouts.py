"""The layouts that images come in: Hugging Face's shards, or image files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from suite.data.image_folder import ImageFolder, has_labels, read_split
from suite.data.parquet import Parquet
from suite.data.shards import FIRST, shards_of
from suite.errors import UserError

HELD_OUT = ("test", "val", "valid", "validation")
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".xz")


class NotFound(UserError):
    """Nothing is there that looks like the data set."""


@dataclass(frozen=True)
class Found:
    """The two splits of a dataset where `find` met them; `train` is None if only the other is there."""

    train: ImageFolder | Parquet | None
    test: ImageFolder | Parquet
    source: str

    @property
    def splits(self) -> list[ImageFolder | Parquet]:
        return [self.train, self.test] if self.train else [self.test]

    @property
    def paths(self) -> list[str]:
        """The files that the two depend on."""
        return [path for split in self.splits for path in split.paths]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes: of the split that has them."""
        return next((split.classes for split in self.splits if split.classes), None)

    def check(self) -> None:
        """Raises UserError if a split is empty or the two have other classes.

        Where they name the same classes in another order, the test labels get the numbers of the training split.
        """
        for name, split in ("train", self.train), ("test", self.test):
            if split is not None and not len(split.labels):
                raise UserError(f"{self.source}: the {name} split is empty")
        ours, theirs = self.splits[0].classes, self.test.classes
        if ours and theirs and ours != theirs:
            differ = sorted(set(ours) ^ set(theirs))
            if differ:
                raise UserError(f"{self.source}: train and test differ in the classes {', '.join(differ)}")
            self.test.renumber([ours.index(name) for name in theirs], ours)

    def check_classes(self, count: int) -> None:
        """Raises UserError if a split has another number of class folders, or labels outside 0..count-1."""
        for split in self.splits:
            if split.classes is not None and len(split.classes) != count:
                raise UserError(f"{self.source} has {len(split.classes)} classes, not {count}")
            wrong = ((split.labels < 0) | (split.labels >= count)).nonzero()
            if len(wrong):
                index = int(wrong[0])
                label = int(split.labels[index])
                hint = "; the labels seem to begin at 1" if split.labels.min() == 1 else ""
                raise UserError(f"{split.where(index)} has the label {label}, outside 0..{count - 1}{hint}")


def find(
    shard_folders: Iterable[Path],
    image_folders: Sequence[Path],
    *,
    label: str | None = "label",
    held_out: Sequence[str] = HELD_OUT,
    needs_train: bool = True,
) -> Found | None:
    """The first of `shard_folders` that holds shards, or else of `image_folders` that has split folders.

    `held_out` are the names that the other split may have; the first found wins, but for one without labels. Raises
    UserError if what is there lacks a split, or is broken.
    """
    shard_folders = list(dict.fromkeys(shard_folders))
    for place in filter(Path.is_dir, shard_folders):
        train_shards = shards_of(place, "train")
        others = [shards for split in held_out if (shards := shards_of(place, split))]
        if train_shards or others:
            _check_alone(place, shard_folders)
            train = Parquet(train_shards, label) if train_shards else None
            source = f"{(train_shards or others[0])[0].suffix[1:]} in {place}"
            return _complete(source, train, _with_labels(others, label), held_out, needs_train)
    for folder in image_folders:
        train_folder = folder / "train"
        test_folders = [folder / split for split in held_out if (folder / split).is_dir()]
        if train_folder.is_dir() or test_folders:
            images = read_split(train_folder, folder) if train_folder.is_dir() else None
            classes = images.classes if images else None
            labelled = [place for place in test_folders if has_labels(place, folder, classes)]
            test = next((read_split(place, folder, classes) for place in labelled or test_folders), None)
            return _complete(f"image folders in {folder}", images, test, held_out, needs_train)
    return None


def seen_in(folder: Path) -> str:
    """What a folder without a data set holds that may be meant for one, as the end of a message; empty if nothing."""
    if not folder.is_dir():
        return ""
    files = [path for path in islice(folder.rglob("*"), 5000) if path.is_file()]
    archives = sorted(path.name for path in files if path.suffix.lower() in ARCHIVES)
    shards = sorted(str(path.relative_to(folder)) for path in files if path.suffix in (".parquet", ".arrow"))
    said = f"; {archives[0]} lies there: unpack it" if archives else ""
    if shards:
        said += f"; {shards[0]} lies there: call it train.parquet or test.parquet, by its split"
    return said


def _check_alone(place: Path, shard_folders: Sequence[Path]) -> None:
    """Raises UserError where several configurations of a data set lie side by side, and none is the usual one."""
    beside = [other for other in shard_folders if other.parent == place.parent and other.name not in FIRST]
    if place not in beside or place == shard_folders[0]:
        return
    several = [other.name for other in beside if other.is_dir() and shards_of(other, "train")]
    if len(several) > 1:
        raise UserError(f"{place.parent} holds several data sets: give the path of {' or '.join(several)}")


def _with_labels(others: Sequence[list[Path]], label: str | None) -> Parquet | None:
    """The first held-out split, but for one whose labels are all -1, which says that they are secret."""
    splits = [Parquet(shards, label) for shards in others]
    if len(splits) > 1:
        splits = [split for split in splits if bool((split.labels != -1).any())] or splits
    return splits[0] if splits else None


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
    return Found(train, test, source)
