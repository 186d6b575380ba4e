"""Published data sets of small images: their own files, Hugging Face's, image folders, archives, or downloaded."""

from __future__ import annotations

import http.client
import os
import re
import socket
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from suite.data.cache import Kept, recall
from suite.data.dataset import Dataset
from suite.data.decode import Encoded, decode_all
from suite.data.image_folder import ImageFolder
from suite.data.images import InMemory, fingerprint
from suite.data.layouts import Found, NotFound, find, seen_in
from suite.data.parquet import Parquet
from suite.data.shards import FIRST, cached, places, snapshot
from suite.errors import UserError
from suite.leftovers import temporary

DIGITS = tuple("0123456789")
JPEG_MAGIC = b"\xff\xd8\xff"

Splits = tuple[InMemory, InMemory, tuple[str, ...]]  # train, test, the classes


@dataclass(frozen=True)
class Original:
    """A data set's own files, in a folder as torchvision keeps it."""

    kind: str  # torchvision's class
    folder: str  # what a download makes, in the root
    files: tuple[str, ...]
    inside: tuple[str, ...]  # the folders that the files may be in, from the root
    read: Callable[[Path, Any], Splits]  # from that folder; raises UserError for a broken file
    fetch: Callable[[Any, Path], None]  # downloads `folder` into another folder
    archive: bool = False  # whether torchvision's class names one, with its checksum

    def there(self, folder: Path) -> list[Path]:
        """The files that a folder has, or their compressed form."""
        names = [name for file in self.files for name in (file, f"{file}.gz")]
        return [folder / name for name in names if (folder / name).is_file()]


@dataclass(frozen=True)
class Published:
    """What is known of a data set before its files are read. `load` gives it."""

    name: str
    title: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augmentation: str
    test_images: int  # of the whole data set
    original: Original
    label: str = "label"
    other_names: Mapping[str, str] = field(default_factory=dict)  # of classes
    hub: tuple[str, ...] = ()  # names that it has at Hugging Face

    def load(self, root: Path, download: bool) -> Dataset:
        """The data set, from the first layout that is found under `root`, or downloaded.

        Raises UserError if nothing is found and cannot be downloaded, and for what is broken or another data set's.
        """
        own = root / self.name
        folder = self._own_files(root)
        shard_folders = [own, own / "data", own / "plain_text", root]
        found = None if folder else find(self._shard_folders(root), [own], label=self.label)
        if not folder and not found:
            folder = self._unpack(root)
        if not folder and not found:
            looked = (
                f"looked for {self.original.folder}/ in {root} or {own} (torchvision), {{train,test}}-*.parquet in "
                f"{', '.join(map(str, shard_folders))} (Hugging Face), and {own}/{{train,test}}/CLASS/*.png "
                f"(image folders){seen_in(own)}"
            )
            if not download:
                raise NotFound(f"no {self.title} found, and downloading is off: {looked}; put one of these there")
            folder = self._download(root, looked)
        if folder:
            kind, original = self._torchvision, self.original
            read = lambda: self._keep(*original.read(folder, kind()), variant="")  # noqa: E731
            files, source = list(map(str, original.there(folder) or [folder])), f"torchvision's files in {folder}"
        else:
            assert found is not None
            whole = found
            read, files, source = (lambda: self._decode(whole)), found.paths, found.source
        kept = recall(self.name, files, [self.name, self.label, self.classes], read)
        facts, tensors = kept.facts, kept.tensors
        train, test = (InMemory(tensors[f"{split}.images"], tensors[f"{split}.labels"]) for split in ("train", "test"))
        return Dataset(
            name=self.name,
            variant=facts["variant"],
            title=part_title(self.title, facts["variant"], len(test), self.test_images),
            classes=tuple(facts["classes"]),
            shape=self.shape,
            mean=self.mean,
            std=self.std,
            augmentation=self.augmentation,
            train=train,
            test=test,
            source=source,
            fingerprint=facts["fingerprint"],
        )

    def _own_files(self, root: Path) -> Path | None:
        """The folder that has most of torchvision's files, of those there are."""
        folders = [root / place for place in self.original.inside if (root / place).is_dir()]
        best = max(folders, key=lambda folder: len(self.original.there(folder)), default=None)
        is_theirs = best and (best.name == self.original.folder or self.original.there(best))
        return best if is_theirs else None

    def _shard_folders(self, root: Path) -> list[Path]:
        """Where Hugging Face's files may be, in the order in which they are taken."""
        own, whole, names = places(root / self.name), snapshot(root), (self.name, *self.hub)
        caches = [place for folder in cached(root, names) for place in places(folder)]
        return [*own, *caches, whole, *(whole / name for name in (*FIRST, *names))]

    def _torchvision(self) -> Any:
        import torchvision.datasets

        return getattr(torchvision.datasets, self.original.kind)

    def _decode(self, found: Found) -> Kept:
        found.check()
        for split in found.splits:
            self._number_as_published(split, found.source)
        found.check_classes(len(self.classes))
        assert found.train is not None
        channels, height, width = self.shape
        train, test = (
            InMemory(decode_all(split, (width, height), channels), split.labels) for split in (found.train, found.test)
        )
        variant = "JPEG" if any(map(_any_jpeg, found.splits)) else ""
        return self._keep(train, test, found.classes or self.classes, variant)

    def _keep(self, train: InMemory, test: InMemory, classes: tuple[str, ...], variant: str) -> Kept:
        tensors = {
            f"{name}.{what}": tensor
            for name, split in (("train", train), ("test", test))
            for what, tensor in (("images", split.images), ("labels", split.labels))
        }
        return Kept(tensors, {"variant": variant, "classes": classes, "fingerprint": fingerprint(train, test)})

    def _number_as_published(self, split: ImageFolder | Parquet, source: str) -> None:
        """Give the labels the data set's own numbers, by the names of their classes.

        Raises UserError for folders of other classes. Columns of a table that have other names keep their numbers.
        """
        if split.classes is None:
            return
        own = {_plain(name): number for number, name in enumerate(self.classes)}
        own |= {_plain(other): own[_plain(name)] for other, name in self.other_names.items()}
        numbers = {str(number): number for number in range(len(self.classes))}
        known = [own.get(_plain(name), numbers.get(name.lstrip("0") or "0")) for name in split.classes]
        if None not in known and len(set(known)) == len(known) == len(self.classes):
            ordered = [name for _, name in sorted(zip(known, split.classes, strict=True))]
            split.renumber([number for number in known if number is not None], tuple(ordered))
        elif isinstance(split, ImageFolder) and (None in known or len(set(known)) < len(known)):
            wrong = next((name for name, number in zip(split.classes, known, strict=True) if number is None), "")
            said = f"'{wrong}' is no class of {self.title}" if wrong else f"two folders are one class of {self.title}"
            raise UserError(
                f"{source}: {said}, whose classes are {', '.join(self.classes)}, or by number 0 to "
                f"{len(self.classes) - 1}; for other data give the path of the folder"
            )

    def _unpack(self, root: Path) -> Path | None:
        """The folder from the published archive, which is unpacked beside it; None where there is none."""
        if not self.original.archive or not root.is_dir():
            return None
        kind = self._torchvision()
        archives = [place / kind.filename for place in (root, root / self.name)]
        archive = next(filter(Path.is_file, archives), None)
        if archive is None:
            return None
        from torchvision.datasets.utils import check_integrity

        if not check_integrity(archive, kind.tgz_md5):
            raise UserError(
                f"{archive} is not the published archive of {self.title} (another checksum): its download was cut "
                "short, perhaps. Delete it, or put the whole one there"
            )
        try:
            with temporary(archive.parent) as staging:
                with tarfile.open(archive) as opened:
                    opened.extractall(staging, filter="data")
                os.replace(staging / self.original.folder, archive.parent / self.original.folder)
        except (OSError, tarfile.TarError, EOFError) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())
            raise UserError(
                f"{archive} cannot be unpacked beside itself ({reason}): unpack it elsewhere and give that folder as "
                "the data root"
            ) from error
        return Path(archive.parent / self.original.folder)

    def _download(self, root: Path, looked: str) -> Path:
        """Downloads into `root` and returns the folder, which appears there only once it is whole."""
        timeout = socket.getdefaulttimeout()
        socket.setdefaulttimeout(30)  # seconds; torchvision sets none and would wait for ever
        try:
            root.mkdir(parents=True, exist_ok=True)
            with temporary(root) as staging:
                self.original.fetch(self._torchvision(), staging)
                os.replace(staging / self.original.folder, root / self.original.folder)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"no {self.title} found, and downloading it failed ({reason}): {looked}; put one of these there, or "
                "run again where the network works"
            ) from error
        finally:
            socket.setdefaulttimeout(timeout)
        folder = self._own_files(root)
        assert folder is not None
        return folder


def part_title(title: str, variant: str, images: int, whole: int) -> str:
    """The title of a data set whose test split has so many images of the whole one."""
    marks = [variant] if variant else []
    marks += [f"part: {images} images"] if images != whole else []
    return f"{title} ({', '.join(marks)})" if marks else title


def from_arrays(images: Any, labels: Any) -> InMemory:
    return InMemory(torch.from_numpy(images), torch.as_tensor(labels, dtype=torch.int64))


def check_files(folder: Path, files: Sequence[tuple[str, str]]) -> None:
    """Raises UserError for the first file that is missing or has not its checksum."""
    from torchvision.datasets.utils import check_integrity

    for file, md5 in files:
        if not check_integrity(folder / file, md5):
            state = "differs from the published file" if (folder / file).exists() else "is missing"
            raise UserError(f"{folder / file} {state}: delete {folder} and run again to download it anew")


def _plain(name: str) -> str:
    """A class's name as folders may have it: 'T-shirt/top' is 't_shirt_top'."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _any_jpeg(split: Encoded) -> bool:
    return any(data.startswith(JPEG_MAGIC) for data in split.read(range(len(split.labels))))
