"""The names and numbers of classes, whichever way folders and columns say them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.image_files import CIFAR10_NAMES, as_stored, encode, message, pixels, write_folder, write_parquet
from helpers.wild import IMAGES, LABELS, write_image, write_mine

from suite.data import load
from suite.data.cifar import CIFAR100_CLASSES

# The names of classes


@pytest.mark.parametrize("named", ["train", "test"])
def test_names_in_one_split_are_those_of_both(tmp_path, named):
    for split in "train", "test":
        write_mine(tmp_path / f"{split}.parquet", names=["ant", "bee", "cow"] if split == named else None)
    assert load(str(tmp_path)).classes == ("ant", "bee", "cow")


def test_names_in_one_split_that_are_too_few(tmp_path):
    write_mine(tmp_path / "train.parquet")
    write_mine(tmp_path / "test.parquet", names=["ant", "bee"])
    assert "row 2 has the label 2, outside 0..1" in message(tmp_path)


def test_the_same_names_in_another_order_are_the_same_classes(tmp_path):
    write_mine(tmp_path / "train.parquet", names=["ant", "bee", "cow"])
    write_mine(tmp_path / "test.parquet", names=["cow", "ant", "bee"])
    assert load(str(tmp_path)).test.labels.tolist() == [2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize("names", [["1", "2", "10"], ["001", "2", "10"], ["-1", "3", "20"]])
def test_numbered_folders_are_in_numerical_order(tmp_path, names):
    for split in "train", "test":
        write_folder(tmp_path, split, IMAGES, LABELS, names)
    dataset = load(str(tmp_path))
    assert dataset.classes == tuple(names)
    images = torch.stack([as_stored(IMAGES)[number] for number in (0, 3, 1, 4, 2, 5)])
    assert torch.equal(dataset.train[torch.arange(6)], images)


def classes_in(root, names, size=(32, 32)):
    """One image for each class, in both splits, whose first pixel is the class's place in `names`."""
    for split in "train", "test":
        for number, name in enumerate(names):
            array = np.zeros((*size, 3), np.uint8)
            array[0, 0] = number
            write_image(root / split / name / "0.png", array)


def labels_by_place(dataset):
    """The label of the class at each place in the names that were written."""
    first = dataset.test[torch.arange(len(dataset.test))][:, 0, 0, 0]
    return dict(zip(first.tolist(), dataset.test.labels.tolist(), strict=True))


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("cifar10", CIFAR10_NAMES),
        ("cifar10", ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]),
        ("cifar10", list("0123456789")),
        ("cifar10", ["Airplane", "AUTOMOBILE", *CIFAR10_NAMES[2:]]),
        ("cifar100", [str(number) for number in range(100)]),
        ("cifar100", [f"{number:02}" for number in range(100)]),
        ("cifar100", [name.replace("_", " ").title() for name in CIFAR100_CLASSES]),
    ],
)
def test_folders_have_the_numbers_of_the_published_classes(tmp_path, name, folders):
    classes_in(tmp_path / name, folders)
    assert labels_by_place(load(name, tmp_path, download=False)) == {label: label for label in range(len(folders))}


@pytest.mark.parametrize(
    ("folders", "said"),
    [
        ([*CIFAR10_NAMES[:9], "lorry"], "'lorry' is no class of CIFAR-10"),
        ([str(number) for number in range(1, 11)], "'10' is no class of CIFAR-10"),
        ([f"class{number}" for number in range(10)], "'class0' is no class of CIFAR-10"),
        ([*CIFAR10_NAMES, "plane"], "two folders are one class of CIFAR-10"),
        (CIFAR10_NAMES[:9], "has 9 classes, not 10"),
    ],
)
def test_folders_of_other_classes_are_refused(tmp_path, folders, said):
    classes_in(tmp_path / "cifar10", folders)
    assert said in message("cifar10", tmp_path, download=False)


def test_columns_that_name_the_published_classes_in_another_order(tmp_path):
    names = CIFAR10_NAMES[::-1]
    for split in "train", "test":
        write_parquet(tmp_path / f"cifar10/{split}.parquet", list(map(encode, pixels(2))), [0, 9], names=names)
    dataset = load("cifar10", tmp_path)
    assert dataset.test.labels.tolist() == [9, 0]
    assert dataset.classes == tuple(CIFAR10_NAMES)


def test_the_names_of_cifar100():
    assert (len(set(CIFAR100_CLASSES)), CIFAR100_CLASSES) == (100, tuple(sorted(CIFAR100_CLASSES)))


@pytest.mark.parametrize("names", [[f"{number:03}" for number in range(1000)], [str(number) for number in range(1000)]])
def test_numbered_folders_of_imagenet(tmp_path, names):
    for name in names:
        write_image(tmp_path / "imagenet" / "val" / name / "0.png", IMAGES[0])
    classes = load("imagenet", tmp_path).classes
    assert (classes.index(names[2]), classes.index(names[10]), classes.index(names[999])) == (2, 10, 999)


@pytest.mark.parametrize("names", [["tench", "goldfish"], ["n01440764", "goldfish"], ["1", "2"]])
def test_folders_of_imagenet_with_other_names_are_refused(tmp_path, names):
    for name in names:
        write_image(tmp_path / "imagenet" / "val" / name / "0.png", IMAGES[0])
    wrong = sorted(name for name in names if not name.startswith("n0"))[0]
    assert f"the folder '{wrong}' is named neither by a WordNet id" in message("imagenet", tmp_path)
