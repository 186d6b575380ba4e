"""Data sets by name: their pixels, labels and splits, and what can be wrong with their files."""

from __future__ import annotations

import hashlib
import io
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from helpers.image_files import (
    CIFAR10_NAMES,
    LABELS,
    PIXELS,
    SHARED,
    as_stored,
    assert_cifar_pixels,
    encode,
    message,
    pixels,
    write_cifar_parquet,
    write_folder,
    write_parquet,
)
from PIL import Image

from suite.data import DATASETS, load
from suite.data.parquet import Parquet

# Digits


def test_digits_are_sklearns_scans():
    from sklearn.datasets import load_digits

    scans, dataset = load_digits(), load("digits")
    images = torch.cat([dataset.train[torch.arange(1297)], dataset.test[torch.arange(500)]])
    labels = torch.cat([dataset.train.labels, dataset.test.labels])
    ours = sorted((image.flatten().tolist(), int(label)) for image, label in zip(images, labels, strict=True))
    theirs = sorted(
        ([round(value * 255 / 16) for value in scan], int(label))
        for scan, label in zip(scans.data, scans.target, strict=True)
    )
    assert ours == theirs  # so each scan is in exactly one of the splits
    assert images.shape == (1797, 1, 8, 8)
    assert images.dtype == torch.uint8
    assert dataset.shape == (1, 8, 8)
    assert dataset.classes == tuple("0123456789")
    train = dataset.train[torch.arange(1297)] / 255
    assert train.mean().item() == pytest.approx(dataset.mean[0], abs=1e-4)
    assert train.std().item() == pytest.approx(dataset.std[0], abs=1e-4)


def test_digits_split_is_stratified_and_fixed():
    dataset = load("digits")
    per_class = torch.bincount(torch.cat([dataset.train.labels, dataset.test.labels])) * 500 / 1797
    assert (torch.bincount(dataset.test.labels) - per_class).abs().max() <= 1
    assert dataset.fingerprint == load("digits").fingerprint == "da465d82aff501a0"


def test_in_memory_ignores_the_crop_seed():
    train = load("digits").train
    order = torch.tensor([5, 3, 1000]).split(2)
    plain, seeded = torch.cat(list(train.batches(order))), torch.cat(list(train.batches(order, crop_seed=1)))
    assert torch.equal(plain, train[torch.tensor([5, 3, 1000])])
    assert torch.equal(seeded, plain)


# CIFAR


@pytest.mark.parametrize("place", ["cifar10", "cifar10/data", "cifar10/plain_text", "."])
def test_cifar10_from_parquet(tmp_path, place):
    write_cifar_parquet(tmp_path / place)
    dataset = load("cifar10", tmp_path)
    assert_cifar_pixels(dataset)
    assert (dataset.variant, dataset.title, dataset.augmentation) == ("", "CIFAR-10 (part: 2 images)", "crop-flip")
    assert dataset.classes == tuple(CIFAR10_NAMES)
    assert str(tmp_path) in dataset.source


def test_cifar10_from_several_shards_and_another_column_name(tmp_path):
    images = [encode(array) for array in PIXELS["train"]]
    for shard, part in enumerate([slice(0, 3), slice(3, 5)]):
        path = tmp_path / "cifar10" / f"train-0000{shard}-of-00002.parquet"
        write_parquet(path, images[part], LABELS["train"][part], image="image")
    test = tmp_path / "cifar10" / "test-00000-of-00001.parquet"
    write_parquet(test, [encode(array) for array in PIXELS["test"]], LABELS["test"], image="image")
    assert_cifar_pixels(load("cifar10", tmp_path))
    path.unlink()
    assert "1 of the 2 train-*.parquet" in message("cifar10", tmp_path)


def test_cifar100_reads_the_fine_labels_and_their_names(tmp_path):
    names = [f"kind {number}" for number in range(100)]
    write_cifar_parquet(tmp_path / "cifar100", label="fine_label", names=names)
    dataset = load("cifar100", tmp_path)
    assert_cifar_pixels(dataset)
    assert dataset.classes == tuple(names)


def test_jpeg_is_a_variant_with_its_own_title(tmp_path):
    write_cifar_parquet(tmp_path / "cifar10", "JPEG")
    dataset = load("cifar10", tmp_path)
    assert (dataset.variant, dataset.title) == ("JPEG", "CIFAR-10 (JPEG, part: 2 images)")
    expected = Image.open(io.BytesIO(encode(PIXELS["test"][1], "JPEG")))
    assert torch.equal(dataset.test[torch.tensor([1])], as_stored(np.array(expected)[None]))


@pytest.mark.parametrize("held_out", ["test", "val", "validation"])
def test_cifar10_from_image_folders(tmp_path, held_out):
    every_class = np.arange(10).repeat(2)
    images = pixels(20)
    write_folder(tmp_path / "cifar10", "train", images, every_class, CIFAR10_NAMES)
    write_folder(tmp_path / "cifar10", held_out, images[::-1], every_class, CIFAR10_NAMES)
    (tmp_path / "cifar10" / "train" / "cat" / "notes.txt").write_text("not an image")
    dataset = load("cifar10", tmp_path)
    assert dataset.train.labels.tolist() == dataset.test.labels.tolist() == every_class.tolist()
    in_name_order = sorted(range(20), key=lambda number: (every_class[number], str(number)))
    assert torch.equal(dataset.train[torch.arange(20)], as_stored(images[in_name_order]))
    assert torch.equal(dataset.test[torch.arange(20)], as_stored(images[::-1][in_name_order]))


@pytest.fixture
def published(monkeypatch):
    """Writes files as torchvision's CIFAR-10; torchvision takes their checksums for the published ones."""

    def batch(split):
        rows = PIXELS[split].transpose(0, 3, 1, 2).reshape(-1, 3072)
        return pickle.dumps({"data": rows, "labels": LABELS[split]})

    files = {
        "data_batch_1": batch("train"),
        "test_batch": batch("test"),
        "batches.meta": pickle.dumps({"label_names": CIFAR10_NAMES}),
    }
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    kind = torchvision.datasets.CIFAR10
    monkeypatch.setattr(kind, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    monkeypatch.setattr(kind, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5["batches.meta"]})

    def write(url, root, *, names=tuple(files), **_):
        folder = Path(root) / "cifar-10-batches-py"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(files[name])

    return write


@pytest.fixture
def downloader(monkeypatch):
    return lambda fetch: monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fetch)


@pytest.mark.parametrize("place", [".", "cifar10"])
def test_cifar10_from_torchvisions_files(tmp_path, published, place):
    published(None, tmp_path / place)
    dataset = load("cifar10", tmp_path)
    assert_cifar_pixels(dataset)
    write_cifar_parquet(tmp_path / "parquet" / "cifar10")
    assert dataset.fingerprint == load("cifar10", tmp_path / "parquet").fingerprint


def test_cifar10_is_downloaded_where_nothing_is_found(tmp_path, published, downloader):
    downloader(published)
    assert_cifar_pixels(load("cifar10", tmp_path / "new"))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cifar-10-batches-py"]
    downloader(None)
    assert_cifar_pixels(load("cifar10", tmp_path / "new"))


def test_a_broken_file_is_named_and_can_be_downloaded_anew(tmp_path, published, downloader):
    published(None, tmp_path)
    folder = tmp_path / "cifar-10-batches-py"
    (folder / "test_batch").write_bytes(b"half")
    assert f"{folder / 'test_batch'} differs" in message("cifar10", tmp_path)
    (folder / "test_batch").unlink()
    assert f"{folder / 'test_batch'} is missing: delete {folder}" in message("cifar10", tmp_path)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    downloader(published)
    assert_cifar_pixels(load("cifar10", tmp_path))


def unreachable(*_, **__):
    raise urllib.error.URLError("no route to host")


def slow(*_, **__):
    raise TimeoutError("timed out")


def cut_short(*_, **__):
    raise RuntimeError("File not found or corrupted.")


@pytest.mark.parametrize("failure", [unreachable, slow, cut_short])
def test_a_failed_download_says_where_to_put_what(tmp_path, downloader, failure):
    downloader(failure)
    text = message("cifar10", tmp_path)
    assert "no CIFAR-10 found, and downloading it failed" in text
    places = [tmp_path / place for place in ("cifar10", "cifar10/data", "cifar10/plain_text", ".")]
    layouts = "cifar-10-batches-py", "{train,test}-*.parquet", "{train,test}/CLASS/*.png"
    for word in (*map(str, places), *layouts):
        assert word in text
    assert not list(tmp_path.iterdir())
    assert "downloading is off" in message("cifar10", tmp_path, download=False)


def test_a_download_that_lacks_files_is_never_taken_for_the_dataset(tmp_path, published, downloader):
    downloader(lambda url, root, **_: published(url, root, names=["data_batch_1"]))
    assert "failed (Dataset not found or corrupted" in message("cifar10", tmp_path)
    downloader(published)
    assert_cifar_pixels(load("cifar10", tmp_path))


def test_the_shared_cifar10(tmp_path):
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is absent")
    (tmp_path / "cifar10").mkdir()
    for split, per_class in ("train", 5000), ("test", 1000):
        path = SHARED / "cifar10" / f"{split}-00000-of-00001.parquet"
        assert torch.bincount(Parquet([path], "label").labels).tolist() == [per_class] * 10
        few = pq.ParquetFile(path).read_row_group(0).slice(0, 1500)  # decoding all takes seconds
        pq.write_table(few, tmp_path / "cifar10" / path.name)
    dataset = load("cifar10", tmp_path, download=False)
    assert dataset.title == "CIFAR-10 (JPEG, part: 1500 images)"
    std, mean = torch.std_mean(dataset.train[torch.arange(1500)] / 255, dim=(0, 2, 3))
    assert torch.allclose(mean, torch.tensor(dataset.mean), atol=0.01)
    assert torch.allclose(std, torch.tensor(dataset.std), atol=0.01)


# What can be wrong with files


def test_broken_parquet_is_named(tmp_path):
    write_cifar_parquet(tmp_path / "cifar10")
    broken = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    data = bytearray(broken.read_bytes())
    broken.write_bytes(data[:100])
    assert f"cannot read {broken} as parquet" in message("cifar10", tmp_path)
    data[4:4000] = bytes(3996)
    broken.write_bytes(data)
    assert f"cannot read {broken} as parquet" in message("cifar10", tmp_path)


@pytest.mark.parametrize("data", [b"rubbish", encode(PIXELS["train"][3])[:900], None])
def test_a_broken_image_is_named_by_file_and_row(tmp_path, data):
    write_cifar_parquet(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    images = [encode(array) for array in PIXELS["train"]]
    images[3] = data
    write_parquet(path, images, LABELS["train"])
    assert f"{path} row 3 " in message("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"image": "picture"}, "has no column img or image; it has picture, label"),
        ({"label": "class"}, "has no column label; it has img, class"),
        ({"labels": [3, 0, 10, 3, 1]}, "row 2 has the label 10, outside 0..9"),
        ({"labels": [3, 0, 9, -1, 1]}, "row 3 has the label -1, outside 0..9"),
        ({"labels": [3, None, 9, 3, 1]}, "row 1 has no label"),
        ({"labels": list("abcde")}, "the column label should hold integers; it is of type string"),
        ({"labels": pa.array([], pa.int64()), "images": []}, "the train split is empty"),
        ({"names": ["cat", "dog"]}, "has 2 classes, not 10"),
        ({"images": [encode(array) for array in pixels(5, 32, 31)]}, "row 0 has 31x32 pixels, not 32x32"),
    ],
)
def test_parquet_that_does_not_fit(tmp_path, options, expected):
    write_cifar_parquet(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / "train-00000-of-00001.parquet"
    given = {"images": [encode(array) for array in PIXELS["train"]], "labels": LABELS["train"]} | options
    write_parquet(path, **given)
    assert expected in message("cifar10", tmp_path)


def test_parquet_whose_images_are_not_structs(tmp_path):
    write_cifar_parquet(tmp_path / "cifar10")
    path = tmp_path / "cifar10" / "test-00000-of-00001.parquet"
    pq.write_table(pa.table({"img": [b"x"], "label": [0]}), path)
    assert f"{path}: the column img should hold structs with bytes" in message("cifar10", tmp_path)


@pytest.mark.parametrize(("split", "expected"), [("train", "no train split"), ("test", "no test or val or")])
def test_a_missing_split(tmp_path, split, expected):
    write_cifar_parquet(tmp_path / "cifar10")
    (tmp_path / "cifar10" / f"{split}-00000-of-00001.parquet").unlink()
    assert expected in message("cifar10", tmp_path)


def test_an_unreadable_directory_is_named(tmp_path, monkeypatch):
    write_cifar_parquet(tmp_path / "cifar10")

    def forbidden(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", forbidden)  # root, who often runs tests, may read everything
    assert message("cifar10", tmp_path) == f"cannot read {tmp_path / 'cifar10'}: Permission denied"


# Loading by name


def test_the_root_is_the_argument_or_the_environments_or_data(tmp_path, monkeypatch):
    for place in ("given", "environment", "work/data"):
        write_cifar_parquet(tmp_path / place)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("SUITE_DATA", str(tmp_path / "environment"))
    assert load("cifar10", tmp_path / "given").source.endswith("given")
    assert load("cifar10").source.endswith("environment")
    monkeypatch.delenv("SUITE_DATA")
    assert load("cifar10").source.endswith("data")


def test_an_unknown_name():
    assert "did you mean 'cifar10'?" in message("cifar")


def test_another_package_can_register_a_dataset(tmp_path, monkeypatch):
    (tmp_path / "noise_package.py").write_text(
        "import torch\n"
        "from suite.data import Dataset, InMemory, fingerprint\n"
        "def load(root, download):\n"
        "    split = InMemory(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4))\n"
        "    return Dataset('noise', '', 'Noise', tuple('abcd'), (1, 2, 2), (0.5,), (0.5,), 'none',\n"
        "                   split, split, str(root), fingerprint(split, split))\n"
    )
    info = tmp_path / "noise_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: noise-package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[suite.datasets]\nnoise = noise_package:load\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "noise" in DATASETS.paths()
    assert len(load("noise", tmp_path).train) == 4
