"""Data sets of grey images and of digits; images, sizes and labels that are odd."""

from __future__ import annotations

import gzip
import hashlib
import struct
import urllib.error

import numpy as np
import pytest
import scipy.io
import torch
import torchvision
from helpers.image_files import as_stored, encode, message, pixels, write_folder, write_parquet
from helpers.wild import IMAGES
from PIL import Image

from suite.data import Streamed, load

# MNIST, Fashion-MNIST, SVHN

SCANS = np.random.default_rng(3).integers(0, 256, (4, 28, 28), dtype=np.uint8)


def write_idx(folder, packed=False, monkeypatch=None):
    """Four training images of the classes 5, 0, 4 and 1, and two test images."""
    folder.mkdir(parents=True)
    checksums = []
    for split, count in ("train", 4), ("t10k", 2):
        images = struct.pack(">IIII", 0x803, count, 28, 28) + SCANS[:count].tobytes()
        labels = struct.pack(">II", 0x801, count) + bytes([5, 0, 4, 1][:count])
        for what, data in ("images-idx3", images), ("labels-idx1", labels):
            name = f"{split}-{what}-ubyte"
            data = gzip.compress(data) if packed else data
            (folder / (f"{name}.gz" if packed else name)).write_bytes(data)
            checksums.append((f"{name}.gz", hashlib.md5(data).hexdigest()))
    return checksums


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("mnist", "MNIST/raw"),
        ("mnist", "mnist"),
        ("fashion-mnist", "FashionMNIST/raw"),
        ("fashion-mnist", "fashion-mnist/raw"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_and_fashion_mnist_from_their_own_files(tmp_path, monkeypatch, name, place, packed):
    checksums = write_idx(tmp_path / place, packed)
    kind = torchvision.datasets.MNIST if name == "mnist" else torchvision.datasets.FashionMNIST
    monkeypatch.setattr(kind, "resources", checksums)
    dataset = load(name, tmp_path, download=False)
    assert dataset.shape == (1, 28, 28)
    assert dataset.train.labels.tolist() == [5, 0, 4, 1]
    assert torch.equal(dataset.train[torch.arange(4)], torch.from_numpy(SCANS)[:, None])
    assert dataset.title == f"{'MNIST' if name == 'mnist' else 'Fashion-MNIST'} (part: 2 images)"
    assert dataset.classes[5] == ("5" if name == "mnist" else "Sandal")
    assert len(dataset.mean) == len(dataset.std) == 1


def test_mnist_is_never_mirrored():
    from suite.data.augment import KINDS
    from suite.data.mnist import FASHION_MNIST, MNIST
    from suite.data.svhn import SVHN

    assert [KINDS[data.augmentation][2] for data in (MNIST, SVHN, FASHION_MNIST)] == [False, False, True]


def test_broken_files_of_mnist_are_named(tmp_path, monkeypatch):
    folder = tmp_path / "MNIST" / "raw"
    checksums = write_idx(folder, packed=True)
    assert "train-images-idx3-ubyte.gz differs from the published file" in message("mnist", tmp_path)
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", checksums)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    assert "t10k-labels-idx1-ubyte.gz is missing" in message("mnist", tmp_path)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01")
    assert "t10k-labels-idx1-ubyte is damaged" in message("mnist", tmp_path)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 2) + bytes([3, 10]))
    assert "these are not labelled images of 28x28 pixels in 10 classes" in message("mnist", tmp_path)


def test_svhn_from_its_own_files(tmp_path, monkeypatch):
    images, split_list = pixels(3), {}
    (tmp_path / "svhn").mkdir()
    for split in "train", "test":
        file = tmp_path / "svhn" / f"{split}_32x32.mat"
        scipy.io.savemat(file, {"X": images.transpose(1, 2, 3, 0), "y": np.array([[1], [10], [9]], np.uint8)})
        split_list[split] = ["", file.name, hashlib.md5(file.read_bytes()).hexdigest()]
    assert "train_32x32.mat differs from the published file" in message("svhn", tmp_path)
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", split_list)
    dataset = load("svhn", tmp_path, download=False)
    assert dataset.test.labels.tolist() == [1, 0, 9]  # the files call a nought 10
    assert torch.equal(dataset.test[torch.arange(3)], as_stored(images))
    assert dataset.title == "SVHN (part: 3 images)"


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "svhn"])
def test_without_a_network_one_line_says_where_to_put_what(tmp_path, monkeypatch, name):
    def unreachable(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", unreachable)
    monkeypatch.setattr("torchvision.datasets.svhn.download_url", unreachable)
    said = message(name, tmp_path)
    assert "downloading it failed" in said
    assert "no route to host" in said
    assert str(tmp_path / name) in said
    assert not list(tmp_path.iterdir())
    assert "downloading is off" in message(name, tmp_path, download=False)


@pytest.mark.parametrize("place", [".", "mnist/mnist", "datasets--ylecun--mnist/snapshots/0a/mnist"])
def test_mnist_from_the_hub(tmp_path, place):
    for split in "train", "test":
        images = [encode(scan) for scan in SCANS[:2]]
        write_parquet(tmp_path / place / f"{split}-00000-of-00001.parquet", images, [7, 2], image="image")
    dataset = load("mnist", tmp_path, download=False)
    assert torch.equal(dataset.test[torch.arange(2)], torch.from_numpy(SCANS[:2])[:, None])


def test_grey_data_sets_take_grey_pixels_in_colour_files_and_no_colours(tmp_path):
    for split in "train", "test":
        grey = np.repeat(SCANS[:2, ..., None], 3, axis=-1)
        write_folder(tmp_path / "mnist", split, [*grey, *np.repeat(grey[:1], 8, axis=0)], range(10), "0123456789")
    dataset = load("mnist", tmp_path, download=False)
    assert torch.equal(dataset.test[torch.arange(2)], torch.from_numpy(SCANS[:2])[:, None])
    coloured = tmp_path / "mnist" / "test" / "3" / "3.png"
    Image.fromarray(pixels(1, 28, 28)[0]).save(coloured)
    assert f"{coloured} is in colour" in message("mnist", tmp_path, download=False)


def test_a_folder_of_the_name_of_an_absent_data_set_goes_on_loading(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for split in "train", "test":
        write_folder(tmp_path / "mnist", split, SCANS[:2], [0, 1], ["one", "two"])
    dataset = load("mnist")
    assert (dataset.title, dataset.classes, dataset.shape) == ("mnist", ("one", "two"), (1, 28, 28))
    assert "the folder mnist is taken as data of your own" in capsys.readouterr().err
    write_idx(tmp_path / "data" / "MNIST" / "raw")
    assert load("mnist").title == "MNIST (part: 2 images)"
    assert not capsys.readouterr().err


# Channels, sizes and labels that are odd


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
@pytest.mark.parametrize("side", [8, 80])
def test_grey_images_have_one_channel(tmp_path, mode, side):
    for split in "train", "test":
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            Image.fromarray(pixels(1, side, side)[0]).convert("L").convert(mode).save(tmp_path / split / name / "0.png")
    dataset = load(str(tmp_path))
    assert dataset.shape == ((1, 8, 8) if side == 8 else (1, 224, 224))
    assert isinstance(dataset.train, Streamed) == (side == 80)
    assert len(dataset.mean) == 1
    assert dataset.test[torch.tensor([1])].shape == (1, *dataset.shape)
    grey = dataset.fingerprint
    Image.fromarray(pixels(1, side, side)[0]).save(
        tmp_path / "test" / "b" / "0.png"
    )  # one in colour, and all have three
    assert load(str(tmp_path)).shape[0] == 3
    assert load(str(tmp_path)).fingerprint != grey


def test_grey_images_in_parquet_have_one_channel(tmp_path):
    for split in "train", "test":
        write_parquet(tmp_path / f"{split}.parquet", [encode(scan) for scan in SCANS], [0, 1, 0, 1])
    dataset = load(str(tmp_path))
    assert dataset.shape == (1, 28, 28)
    assert torch.equal(dataset.train[torch.arange(4)], torch.from_numpy(SCANS)[:, None])


def test_grey_images_in_three_channels_are_said(tmp_path, capsys):
    for split in "train", "test":
        write_folder(tmp_path, split, np.repeat(SCANS[:2, ..., None], 3, axis=-1), [0, 1], ["x", "y"])
    for _ in range(2):  # also when the images come from the cache
        assert load(str(tmp_path)).shape == (3, 28, 28)
        assert "three equal channels" in capsys.readouterr().err


@pytest.mark.parametrize("split", ["train", "test"])
def test_an_image_of_another_size_is_named(tmp_path, capsys, split):
    for place in "train", "test":
        write_folder(tmp_path, place, pixels(4, 16, 16), [0, 0, 1, 1], ["ant", "bee"])
    odd = tmp_path / split / "bee" / "3.png"
    Image.fromarray(pixels(1, 15, 16)[0]).save(odd)
    for _ in range(2):
        assert load(str(tmp_path)).shape == (3, 224, 224)
        said = capsys.readouterr().err
        assert f"{odd} has 16x15 pixels, not 16x16" in said
        assert "all 8 images are resized to 224x224 (196 times the pixels)" in said


def test_an_image_of_another_size_in_parquet_is_named_by_its_row(tmp_path, capsys):
    images = [*map(encode, pixels(3, 8, 8)), encode(pixels(1, 9, 8)[0])]
    for split in "train", "test":
        write_parquet(tmp_path / f"{split}.parquet", images, [0, 1, 0, 1])
    load(str(tmp_path))
    assert f"{tmp_path / 'train.parquet'} row 3 has 8x9 pixels, not 8x8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "names", "said"),
    [
        ([1, 2, 3, 1, 2, 3], None, "the labels seem to begin at 1: there are 4 classes, and the first is empty"),
        ([1, 2, 3, 1, 2, 3], ["none", "ant", "bee", "cow"], "the labels seem to begin at 1"),
        ([0, 2, 4, 0, 2, 4], None, "has the label 1, 3: 2 of the 5 classes are empty"),
        ([10, 20, 10, 20, 10, 20], None, "has the label 0, 1, 2, 3, 4, …: 19 of the 21 classes are empty"),
    ],
)
def test_classes_without_images_are_said(tmp_path, capsys, labels, names, said):
    for split in "train", "test":
        write_parquet(tmp_path / f"{split}.parquet", list(map(encode, IMAGES)), labels, names=names)
    load(str(tmp_path))
    assert said in capsys.readouterr().err


def test_labels_from_one_that_leave_the_named_classes(tmp_path):
    for split in "train", "test":
        write_parquet(tmp_path / f"{split}.parquet", list(map(encode, IMAGES[:2])), [1, 2], names=["ant", "bee"])
    assert "has the label 2, outside 0..1; the labels seem to begin at 1" in message(tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize(("kind", "mark"), [("PNG", "(part: 3 images)"), ("JPEG", "(JPEG, part: 3 images)")])
def test_a_part_is_titled_as_one(tmp_path, name, kind, mark):
    label = "fine_label" if name == "cifar100" else "label"
    for split, count in ("train", 5), ("test", 3):
        images = [encode(array, kind) for array in pixels(count)]
        write_parquet(tmp_path / name / f"{split}.parquet", images, [0] * count, label=label)
    assert load(name, tmp_path).title == f"{name.upper().replace('CIFAR', 'CIFAR-')} {mark}"


def test_the_whole_test_set_makes_no_part(tmp_path):
    for split, count in ("train", 10), ("test", 10_000):
        images = [encode(pixels(1)[0])] * count
        write_parquet(tmp_path / "cifar10" / f"{split}.parquet", images, [0] * count, rows=1000)
    assert load("cifar10", tmp_path).title == "CIFAR-10"
