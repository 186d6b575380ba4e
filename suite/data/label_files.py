"""The files that say the classes of images in one folder: annotations, lists of names and labels, the devkit."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from suite.errors import MISFIT, UserError

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
WORDNET_IDS = "LOC_synset_mapping.txt"
IN_DEVKIT = (".", "data", "ILSVRC2012_devkit_t12/data")
HELD_OUT = ("val", "valid", "validation")
HEADERS = ("file_name", "filename", "file", "image", "imageid", "name", "path", "id")

Labels = tuple[dict[str, str], list[Path], tuple[str, ...]]  # class by image, other files that were read, all classes


def find_label_file(folder: Path, top: Path) -> Path | None:
    """The file of labels of a split's folder, in it or above it up to `top`; the most particular name comes first."""
    split = folder.name
    synonyms = [split, *(name for name in HELD_OUT if split in HELD_OUT and name != split)]
    above = [folder, *(place for place in folder.parents if place == top or top in place.parents)]
    for place in above:
        for name in synonyms:
            files = [f"{name}_annotations.txt", f"LOC_{name}_solution.csv", f"{name}.txt", f"{name}.csv",
                     f"{name}_labels.txt", f"{name}_labels.csv"]  # fmt: skip
            if name == "train":
                files.remove("LOC_train_solution.csv")  # of boxes, beside folders of classes
            files += ["labels.txt", "labels.csv", "metadata.csv"] if place == folder else []
            for file in files:
                if (place / file).is_file():
                    return place / file
        if split in HELD_OUT:
            for devkit in IN_DEVKIT:
                if (place / devkit / GROUND_TRUTH).is_file():
                    return place / devkit / GROUND_TRUTH
    return None


def read_labels(file: Path) -> Labels:
    """What a file of labels says: the class of each image by its name, as text.

    Raises UserError where it is no such file.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not a text file of names and labels") from error
    if file.name == GROUND_TRUTH:
        return _ground_truth(file, text)
    found: dict[str, str] = {}
    rows = _rows(text)
    for number, fields in enumerate(rows):
        if number == 0 and (fields[0].lower() in HEADERS or ("." not in fields[0] and "." in rows[-1][0])):
            continue
        if len(fields) < 2 or not fields[1]:
            raise UserError(f"{file} line {number + 1} should have the name of an image and its class: {fields[0]!r}")
        name = fields[0].removeprefix("./")
        label = fields[1].split()[0] if file.name.startswith("LOC_") else fields[1]  # boxes follow the class
        if found.setdefault(name, label) != label:
            raise UserError(f"{file} has two classes for {name}: {found[name]} and {label}")
    mapping = file.parent / WORDNET_IDS
    if not (file.name.startswith("LOC_") and mapping.is_file()):
        return found, [], ()
    return found, [mapping], tuple(sorted(line.split()[0] for line in mapping.read_text().splitlines() if line.strip()))


def _rows(text: str) -> list[list[str]]:
    """Lines as fields: separated by tabs, by commas, or by the last blank, as lists of names and labels are."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for separator in "\t", ",":
        if lines and separator in lines[0]:
            return [[field.strip() for field in row] for row in csv.reader(lines, delimiter=separator)]
    return [line.strip().rsplit(None, 1) for line in lines]


def _ground_truth(file: Path, text: str) -> Labels:
    """The numbers of ImageNet's devkit, in the order of the images; they are not labels, but meta.mat translates."""
    meta = file.parent / "meta.mat"
    if not meta.is_file():
        raise UserError(
            f"{file} has numbers of the devkit, which are in another order than the classes: put its meta.mat beside it"
        )
    ids = _wordnet_ids(meta)
    try:
        classes = [ids[int(line)] for line in text.split()]
    except (ValueError, KeyError) as error:
        raise UserError(f"{file} has a line that is no number of a class in {meta}: {error}") from error
    named = {f"ILSVRC2012_val_{number:08}": name for number, name in enumerate(classes, start=1)}
    return named, [meta], tuple(sorted(ids.values()))


def _wordnet_ids(meta: Path) -> dict[int, str]:
    import scipy.io

    try:
        synsets: Any = scipy.io.loadmat(meta, squeeze_me=True)["synsets"]
        return {int(entry[0]): str(entry[1]) for entry in synsets if int(entry[4]) == 0}
    except (*MISFIT, OSError, NotImplementedError) as error:  # the last: SciPy, of MATLAB 7.3
        raise UserError(f"{meta} is not the meta.mat of ImageNet's devkit") from error
