"""Data as people have them: the hub's layouts, challenges' folders, archives, grey images, and what is odd in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import urllib.error

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import torch
import torchvision
from helpers.image_files import CIFAR10_NAMES, as_stored, encode, message, pixels, write_folder, write_parquet
from PIL import Image

from suite.data import Streamed, load
from suite.data.cifar import CIFAR100_CLASSES

IMAGES = pixels(6, 8, 8)
LABELS = [0, 1, 2, 0, 1, 2]
CLASS_LABEL = {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}


def write_mine(path, count=6, **options):
    write_parquet(path, [encode(array) for array in IMAGES[:count]], LABELS[:count], **options)


def assert_mine(dataset, test=6):
    assert dataset.train.labels.tolist() == LABELS
    assert torch.equal(dataset.train[torch.arange(6)], as_stored(IMAGES))
    assert len(dataset.test) == test


def write_image(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


# Where Hugging Face's tools put their files


@pytest.mark.parametrize(
    "name",
    [
        "plain_text/{}/0000.parquet",
        "default/{}/0000.parquet",
        "my_config/{}-00000-of-00001.parquet",
        "{}.parquet",
        "{}/data.parquet",
        "data/{}-00000-of-00001-a09b74b3ef9c3b56.parquet",
        "datasets--me--mine/snapshots/0a1b2c/data/{}-00000-of-00001.parquet",
        "snapshots/0a1b2c/{}-00000-of-00001.parquet",
    ],
)
def test_the_hubs_layouts(tmp_path, name):
    for split in "train", "validation":
        write_mine(tmp_path / "mine" / name.format(split), image="image", names=CLASS_LABEL["names"])
    dataset = load(str(tmp_path / "mine"))
    assert_mine(dataset)
    assert dataset.classes == ("ant", "bee", "cow")


def test_of_several_snapshots_main_is_taken(tmp_path):
    for revision, count in ("old", 3), ("new", 6):
        for split in "train", "test":
            write_mine(tmp_path / "snapshots" / revision / f"{split}.parquet", count)
    assert "several snapshots or none (new, old)" in message(tmp_path)
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs" / "main").write_text("new")
    assert_mine(load(str(tmp_path)))


def test_configurations_side_by_side_are_named(tmp_path):
    for config in "full", "small":
        for split in "train", "test":
            write_mine(tmp_path / config / f"{split}.parquet")
    assert f"{tmp_path} holds several data sets: give the path of full or small" in message(tmp_path)
    assert_mine(load(str(tmp_path / "small")))


@pytest.mark.parametrize(
    "files",
    [
        ["train-00000-of-00001-aa.parquet", "train-00000-of-00001-bb.parquet"],
        ["train-00000-of-00001.parquet", "train.parquet"],
    ],
)
def test_shards_of_two_exports_are_not_added_up(tmp_path, files):
    for name in [*files, "test.parquet"]:
        write_mine(tmp_path / name)
    assert f"that do not belong together: {', '.join(files)}" in message(tmp_path)


def test_a_missing_shard_of_the_hubs_conversion_is_named(tmp_path):
    for name in "train/0000", "train/0002", "test/0000":
        write_mine(tmp_path / f"{name}.parquet")
    assert f"{tmp_path / 'train'} lacks 0001.parquet" in message(tmp_path)


@pytest.mark.parametrize(
    "hub", ["datasets--uoft-cs--cifar10/snapshots/0a1b", "uoft-cs___cifar10/plain_text/0.0.0/0a1b"]
)
def test_cifar10_in_the_caches_of_the_hub_and_of_datasets(tmp_path, hub):
    images = pixels(2)
    for split in "train", "test":
        write_parquet(tmp_path / hub / f"{split}.parquet", list(map(encode, images)), [3, 9], names=CIFAR10_NAMES)
    for root in tmp_path, (tmp_path / hub).parents[0 if "___" in hub else 1], tmp_path / hub:
        dataset = load("cifar10", root, download=False)
        assert torch.equal(dataset.test[torch.arange(2)], as_stored(images))
        assert dataset.test.labels.tolist() == [3, 9]
        if "___" in hub:
            break  # above its configurations only the cache's own name tells what it is


def arrow(path, image="image", features=None):
    """A file as the `datasets` library has it in its cache: a stream of batches, with its description."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = pa.array([{"bytes": encode(array), "path": None} for array in IMAGES], kind)
    about = {"huggingface": json.dumps({"info": {"features": features or {"label": CLASS_LABEL}}})}
    table = pa.table({image: structs, "label": LABELS}).replace_schema_metadata(about)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)


@pytest.mark.parametrize(
    "name", ["default/0.0.0/0a1b2c/mine-{}.arrow", "{}/data-00000-of-00001.arrow", "mine-{}-00000-of-00001.arrow"]
)
def test_the_datasets_librarys_own_files(tmp_path, name):
    for split in "train", "test":
        arrow(tmp_path / name.format(split))
    write_image(tmp_path / "cache-0a1b.arrow.png", IMAGES[0])
    dataset = load(str(tmp_path))
    assert_mine(dataset)
    assert dataset.classes == ("ant", "bee", "cow")
    assert dataset.source.startswith("arrow in")


def test_a_broken_arrow_file_is_named(tmp_path):
    for split in "train", "test":
        arrow(tmp_path / f"mine-{split}.arrow")
    (tmp_path / "mine-train.arrow").write_bytes(b"rubbish" * 20)
    assert f"cannot read {tmp_path / 'mine-train.arrow'} as arrow" in message(tmp_path)


@pytest.mark.parametrize(
    ("columns", "described", "expected"),
    [
        ({"labels": LABELS}, ["labels"], None),
        ({"category": LABELS}, [], None),
        ({"id": list(range(6)), "species": LABELS}, [], None),
        ({"coarse_label": [0] * 6, "fine_label": LABELS}, ["coarse_label", "fine_label"], None),
        ({"width": [8] * 6, "kind": LABELS}, ["kind"], None),
        ({"width": [8] * 6, "height": [8] * 6}, [], "has no column label; it has picture, width, height (is it width"),
        ({"text": list("abcdef")}, [], "has no column label; it has picture, text"),
    ],
)
def test_labels_in_a_column_of_another_name(tmp_path, columns, described, expected):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = pa.array([{"bytes": encode(array), "path": None} for array in IMAGES], kind)
    about = {"huggingface": json.dumps({"info": {"features": {name: CLASS_LABEL for name in described}}})}
    for split in "train", "test":
        table = pa.table({"picture": structs, **columns}).replace_schema_metadata(about)
        pq.write_table(table, tmp_path / f"{split}.parquet")
    if expected:
        assert expected in message(tmp_path)
    else:
        assert_mine(load(str(tmp_path)))


def test_a_test_split_with_secret_labels_is_passed_over(tmp_path):
    for split in "train", "validation":
        write_mine(tmp_path / f"{split}.parquet")
    write_parquet(tmp_path / "test.parquet", [encode(IMAGES[0])], [-1])
    assert_mine(load(str(tmp_path)))


def test_what_lies_in_a_folder_without_splits_is_said(tmp_path):
    write_mine(tmp_path / "partial-train" / "0000.parquet")
    assert "partial-train/0000.parquet lies there" in message(tmp_path)
    (tmp_path / "zipped").mkdir()
    (tmp_path / "zipped" / "tiny-imagenet-200.zip").write_bytes(b"PK")
    assert "tiny-imagenet-200.zip lies there: unpack it" in message(tmp_path / "zipped")


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


# Challenges: images of a class in folders below it, and lists of labels


def write_tiny(root):
    for number, name in enumerate(["n02", "n01"]):
        write_image(root / "train" / name / "images" / f"{name}_0.JPEG", IMAGES[number])
        (root / "train" / name / f"{name}_boxes.txt").write_text("0 0 1 1")
    for number in range(3):
        write_image(root / "val" / "images" / f"val_{number}.JPEG", IMAGES[number])
        write_image(root / "test" / "images" / f"test_{number}.JPEG", IMAGES[number])
    (root / "val" / "val_annotations.txt").write_text(
        "val_2.JPEG\tn02\t0\t0\t9\t9\nval_0.JPEG\tn01\t0\t0\t9\t9\nval_1.JPEG\tn02\t1\t1\t5\t5\n"
    )


def test_tiny_imagenet(tmp_path):
    write_tiny(tmp_path)
    dataset = load(str(tmp_path))
    assert dataset.classes == ("n01", "n02")
    assert dataset.train.labels.tolist() == [0, 1]
    assert dataset.test.labels.tolist() == [0, 1, 1]  # the test images have no labels: val stands for them


def test_a_list_that_does_not_fit_says_so(tmp_path, capsys):
    write_tiny(tmp_path)
    annotations = tmp_path / "val" / "val_annotations.txt"
    lines = annotations.read_text().splitlines()
    annotations.write_text("\n".join([lines[0], "val_7.JPEG\tn01"]))
    assert load(str(tmp_path)).test.labels.tolist() == [1]
    said = capsys.readouterr().err
    assert f"2 of the 3 images in {tmp_path / 'val'} are not in {annotations} and are left out: val_0.JPEG" in said
    assert f"{annotations} lists 2 images, 1 of which are in {tmp_path / 'val'}" in said
    annotations.write_text(lines[0].replace("n02", "n09"))
    assert "val_2.JPEG has the class n09, which is not one of the 2 of train" in message(tmp_path)
    annotations.write_text("val_9.JPEG\tn01\n")
    assert f"{annotations} lists none of the 3 images" in message(tmp_path)
    annotations.write_text("val_0.JPEG\tn01\nval_0.JPEG\tn02\n")
    assert "has two classes for val_0.JPEG: n01 and n02" in message(tmp_path)
    annotations.unlink()
    assert "nothing that names their classes" in message(tmp_path)


def test_images_of_a_class_in_folders_below_it(tmp_path):
    for split in "train", "test":
        write_image(tmp_path / split / "ant" / "1.png", IMAGES[0])
        write_image(tmp_path / split / "ant" / "more" / "deep" / "0.png", IMAGES[1])
        write_image(tmp_path / split / "ant" / ".thumbnails" / "0.png", IMAGES[2])
        write_image(tmp_path / split / "bee" / "images" / "0.png", IMAGES[2])
        os.symlink(tmp_path / split / "ant", tmp_path / split / "ant" / "more" / "round")
    dataset = load(str(tmp_path))
    assert dataset.train.labels.tolist() == [0, 0, 1]
    assert torch.equal(dataset.train[torch.arange(3)], as_stored(IMAGES[:3]))


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("val.txt", "a.png 1\nb.png 0\nc d.png 1\n"),
        ("val.csv", "filename,label\nc d.png,bee\na.png,bee\nb.png,ant\n"),
        ("val/metadata.csv", "file_name,label\na.png,bee\nb.png,ant\nc d.png,bee\n"),
        ("val/labels.txt", "# of the held-out images\n./a.png\tbee\n./b.png\tant\n./c d.png\tbee\n"),
        (
            "LOC_val_solution.csv",
            "ImageId,PredictionString\na,bee 1 2 3 4\nb,ant 1 2 3 4 ant 5 6 7 8\nc d,bee 1 2 3 4\n",
        ),
    ],
)
def test_lists_of_names_and_labels(tmp_path, file, text):
    write_folder(tmp_path, "train", IMAGES[:2], [0, 1], ["ant", "bee"])
    for number, name in enumerate(["a.png", "b.png", "c d.png"]):
        write_image(tmp_path / "val" / name, IMAGES[number])
    (tmp_path / file).write_text(text)
    dataset = load(str(tmp_path))
    assert dataset.test.labels.tolist() == [1, 0, 1]
    assert torch.equal(dataset.test[torch.arange(3)], as_stored(IMAGES[:3]))


WNIDS = [f"n{number:08}" for number in range(1000)]


def flat_imagenet(root):
    """Three validation images of the labels 7, 999 and 0, and their file of labels by name."""
    for number in (1, 2, 4):
        write_image(root / "val" / f"ILSVRC2012_val_{number:08}.JPEG", pixels(1, 20, 30, seed=number)[0])
    return {1: 7, 2: 999, 4: 0}


def test_flat_imagenet_with_numbers_in_a_list(tmp_path):
    labels = flat_imagenet(tmp_path / "imagenet")
    lines = [f"ILSVRC2012_val_{number:08}.JPEG {label}" for number, label in labels.items()]
    (tmp_path / "imagenet" / "val.txt").write_text("\n".join(lines))
    dataset = load("imagenet", tmp_path)
    assert (dataset.test.labels.tolist(), dataset.title) == ([7, 999, 0], "ImageNet (part: 3 images)")


@pytest.mark.parametrize("inside", [".", "ILSVRC/Data/CLS-LOC"])
def test_flat_imagenet_from_kaggle(tmp_path, inside):
    labels = flat_imagenet(tmp_path / "imagenet" / inside)
    lines = [f"ILSVRC2012_val_{number:08},{WNIDS[label]} 1 2 3 4" for number, label in labels.items()]
    (tmp_path / "imagenet" / inside / "LOC_val_solution.csv").write_text(
        "\n".join(["ImageId,PredictionString", *lines])
    )
    (tmp_path / "imagenet" / inside / "LOC_synset_mapping.txt").write_text(
        "\n".join(f"{w} a thing" for w in WNIDS[::-1])
    )
    dataset = load("imagenet", tmp_path)
    assert dataset.test.labels.tolist() == [7, 999, 0]
    assert dataset.classes == tuple(WNIDS)


def test_flat_imagenet_with_the_devkits_numbers(tmp_path):
    flat_imagenet(tmp_path / "imagenet")
    ids = {3: WNIDS[7], 1: WNIDS[999], 2: WNIDS[0]}  # the devkit's order is not that of the classes
    ids |= dict(enumerate((name for name in WNIDS if name not in ids.values()), start=4))
    devkit = tmp_path / "imagenet" / "ILSVRC2012_devkit_t12" / "data"
    devkit.mkdir(parents=True)
    (devkit / "ILSVRC2012_validation_ground_truth.txt").write_text("3\n1\n9\n2\n")
    assert "put its meta.mat beside it" in message("imagenet", tmp_path)
    entries = [(number, name, "words", "gloss", 0, [], 0, 0) for number, name in [*ids.items(), (1001, "n99999999")]]
    entries[-1] = (1001, "n99999999", "words", "gloss", 5, [], 0, 0)  # a class of classes
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O"),
             ("children", "O"), ("wordnet_height", "O"), ("num_train_images", "O")]  # fmt: skip
    scipy.io.savemat(devkit / "meta.mat", {"synsets": np.array(entries, dtype=kinds)})
    assert load("imagenet", tmp_path).test.labels.tolist() == [7, 999, 0]


def test_flat_imagenet_without_labels(tmp_path):
    flat_imagenet(tmp_path / "imagenet")
    said = message("imagenet", tmp_path)
    assert f"{tmp_path / 'imagenet' / 'val'} holds 3 images and nothing that names their classes" in said


# Archives


@pytest.fixture
def archived(monkeypatch):
    """Writes CIFAR-10's archive, whose checksums torchvision takes for the published ones."""
    import pickle

    raw = pixels(4).transpose(0, 3, 1, 2).reshape(4, -1)
    files = {
        "data_batch_1": pickle.dumps({"data": raw, "labels": [1, 2, 3, 4]}),
        "test_batch": pickle.dumps({"data": raw[:2], "labels": [5, 6]}),
        "batches.meta": pickle.dumps({"label_names": CIFAR10_NAMES}),
    }
    kind = torchvision.datasets.CIFAR10
    md5 = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(kind, "train_list", [["data_batch_1", md5["data_batch_1"]]])
    monkeypatch.setattr(kind, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5["batches.meta"]})

    def write(folder):
        folder.mkdir(parents=True, exist_ok=True)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        (folder / "cifar-10-python.tar.gz").write_bytes(packed.getvalue())
        monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
        return folder / "cifar-10-python.tar.gz"

    return write


@pytest.mark.parametrize("place", [".", "cifar10"])
def test_an_archive_is_unpacked_beside_itself(tmp_path, archived, place):
    archive = archived(tmp_path / place)
    dataset = load("cifar10", tmp_path, download=False)
    assert dataset.test.labels.tolist() == [5, 6]
    assert sorted(path.name for path in archive.parent.iterdir()) == ["cifar-10-batches-py", archive.name]
    archive.unlink()
    assert load("cifar10", tmp_path, download=False).fingerprint == dataset.fingerprint


def test_an_archive_that_was_cut_is_named_and_nothing_is_downloaded(tmp_path, archived, monkeypatch):
    archive = archived(tmp_path)
    archive.write_bytes(archive.read_bytes()[:-10])
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", None)
    assert f"{archive} is not the published archive of CIFAR-10" in message("cifar10", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


def test_unpacking_that_fails_leaves_nothing(tmp_path, archived, monkeypatch):
    archive = archived(tmp_path)

    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    assert f"{archive} cannot be unpacked beside itself (No space left on device)" in message("cifar10", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [archive.name]


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
