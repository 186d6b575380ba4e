"""Where data lie as people have them: the hub's layouts, challenges' folders, lists of labels, archives."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.io
import torch
import torchvision
from helpers.image_files import CIFAR10_NAMES, as_stored, encode, message, pixels, write_folder, write_parquet
from helpers.wild import CLASS_LABEL, IMAGES, LABELS, assert_mine, write_image, write_mine

from suite.data import load

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
