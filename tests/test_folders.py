"""Folders of one's own, and images that are too large or too many to keep: ImageNet, and how streams are read."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.image_files import (
    CIFAR10_NAMES,
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
from torchvision.transforms import v2

from suite.data import InMemory, Streamed, load
from suite.data.parquet import Parquet
from suite.errors import UserError

# Folders of one's own


def test_small_images_of_one_size_stay_in_memory(tmp_path):
    images = pixels(6, 10, 12)
    write_folder(tmp_path / "mine", "train", images[:4], [0, 0, 1, 1], ["b cat", "a dog"])
    write_folder(tmp_path / "mine", "val", images[4:], [0, 1], ["b cat", "a dog"])
    dataset = load(f"{tmp_path}/mine/")
    assert (dataset.name, dataset.title, dataset.variant) == ("mine", "mine", "")
    assert dataset.classes == ("a dog", "b cat")
    assert dataset.shape == (3, 10, 12)
    assert isinstance(dataset.train, InMemory)
    assert dataset.train.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(dataset.train.images, as_stored(images[[2, 3, 0, 1]]))
    values = images[:4] / 255
    assert dataset.mean == pytest.approx(values.mean(axis=(0, 1, 2)), abs=1e-3)
    assert dataset.std == pytest.approx(values.std(axis=(0, 1, 2)), abs=1e-3)
    Image.fromarray(images[0] // 2).save(tmp_path / "mine" / "train" / "b cat" / "0.png")
    assert load(f"{tmp_path}/mine").fingerprint != dataset.fingerprint


def test_a_folder_in_the_working_directory_needs_no_separator(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_cifar_parquet(Path("mine"), names=CIFAR10_NAMES)
    assert_cifar_pixels(load("mine"))
    assert load("./mine").classes == tuple(CIFAR10_NAMES)
    assert "unknown dataset 'mien'" in message("mien")
    assert "no dataset in mien" in message("./mien")


def test_grey_images_keep_their_one_channel_and_deep_ones_are_refused(tmp_path):
    grey = pixels(2, 8, 8)[..., 0]
    for split in ("train", "test"):
        write_folder(tmp_path, split, grey, [0, 1], ["x", "y"])
    train = load(str(tmp_path)).train
    assert torch.equal(train[torch.tensor([1])], torch.from_numpy(grey[1]).expand(1, 1, 8, 8))
    deep = tmp_path / "test" / "y" / "1.png"
    Image.fromarray(np.full((8, 8), 40_000, np.uint16)).save(deep)
    assert f"{deep} has more than 8 bits" in message(tmp_path)


@pytest.mark.parametrize(("size", "streams"), [(64, False), (65, True)])
def test_large_images_are_streamed(tmp_path, size, streams):
    for split in ("train", "test"):
        write_folder(tmp_path, split, pixels(2, 20, size), [0, 1], ["x", "y"])
    dataset = load(str(tmp_path))
    assert isinstance(dataset.train, Streamed) == streams
    assert dataset.shape == ((3, 224, 224) if streams else (3, 20, 64))


def test_small_images_of_two_sizes_are_streamed(tmp_path):
    write_folder(tmp_path, "train", pixels(2, 20, 20), [0, 1], ["x", "y"])
    write_folder(tmp_path, "test", pixels(2, 20, 21), [0, 1], ["x", "y"])
    assert load(str(tmp_path)).test[torch.tensor([1, 0])].shape == (2, 3, 224, 224)


def test_folders_that_do_not_fit(tmp_path):
    for split, names in ("train", ["ant", "bee"]), ("test", ["ant", "cow"]):
        write_folder(tmp_path, split, pixels(2, 8, 8), [0, 1], names)
    assert "train and test differ in the classes bee, cow" in message(tmp_path)
    (tmp_path / "train" / "bee" / "1.png").unlink()
    assert f"{tmp_path / 'train' / 'bee'} holds no images" in message(tmp_path)
    (tmp_path / "empty" / "train").mkdir(parents=True)
    (tmp_path / "empty" / "test").mkdir()
    assert "the train split is empty" in message(tmp_path / "empty")


# ImageNet and streaming


@pytest.fixture
def streamed(tmp_path):
    sizes = [(300, 260), (256, 400), (90, 120), (500, 280), (256, 256)]
    images = [encode(pixels(1, *size, seed=number)[0]) for number, size in enumerate(sizes)]
    path = tmp_path / "imagenet" / "validation-00000-of-00001.parquet"
    write_parquet(path, images, [999, 0, 8, 8, 7], image="image")
    return load("imagenet", tmp_path).test, images


def test_the_evaluation_view_is_the_usual_one(streamed):
    test, images = streamed
    usual = v2.Compose([v2.Resize(256), v2.CenterCrop(224), v2.PILToTensor()])
    for index, data in enumerate(images):
        assert torch.equal(test[torch.tensor([index])][0], usual(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("cores", [1, 2])
def test_streams_are_the_same_however_they_are_read(streamed, monkeypatch, cores):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(cores), raising=False)
    test, _ = streamed
    order = torch.tensor([4, 0, 3, 0, 1])
    state = torch.get_rng_state()
    batches = list(test.batches(order.split(2)))
    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert torch.equal(torch.cat(batches), test[order])
    crops = torch.cat(list(test.batches(order.split(2), crop_seed=5)))
    one_by_one = [next(iter(test.batches([index[None]], crop_seed=5))) for index in order]
    assert torch.equal(crops, torch.cat(one_by_one))
    assert torch.equal(crops[1], crops[3])
    other = torch.cat(list(test.batches(order.split(3), crop_seed=6)))
    assert all((a != b).any() for a, b in zip(crops, other, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert not list(test.batches([]))


@pytest.mark.parametrize("smallest", [0.08, 0.2])
def test_training_windows_are_spread_as_they_should_be(smallest):
    from suite.data.decode import training_view

    ramp = np.zeros((100, 200, 3), np.uint8)  # channels 0 and 1 tell the column and the row
    ramp[..., 0], ramp[..., 1] = np.arange(200), np.arange(100)[:, None]
    areas, aspects = [], []
    for index in range(300):
        view = np.asarray(training_view(0, smallest, Image.fromarray(ramp), index)).astype(int)
        width, height = np.ptp(view[..., 0]) + 1, np.ptp(view[..., 1]) + 1
        areas.append(width * height / 20_000)
        aspects.append(width / height)
    assert 0.75 * smallest < min(areas) < 1.5 * smallest
    assert 0.6 < max(areas) <= 1
    assert 0.7 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.4
    assert np.mean(np.log(aspects)) == pytest.approx(0, abs=0.04)


def test_a_corrupt_image_in_a_stream_is_raised_in_the_consumer(tmp_path):
    path = tmp_path / "imagenet" / "data" / "validation-00000-of-00001.parquet"
    write_parquet(path, [encode(pixels(1)[0])] * 3 + [b"\xff\xd8\xffrubbish"], [0, 1, 2, 3], image="image")
    test = load("imagenet", tmp_path).test
    batches = test.batches(torch.arange(4).split(2))
    assert next(batches).shape == (2, 3, 224, 224)
    with pytest.raises(UserError) as caught:
        next(batches)
    assert str(caught.value) == f"{path} row 3 is not a readable image"
    with pytest.raises(UserError, match="row 3"):
        test[torch.tensor([3])]


def test_a_row_group_is_read_once_for_a_run_of_its_images(tmp_path, monkeypatch):
    path = tmp_path / "test-0.parquet"
    write_parquet(path, [bytes([number]) for number in range(7)], list(range(7)), rows=3)
    source = Parquet([path], "label")
    groups = []
    real = pq.ParquetFile.read_row_group

    def counted(file, group, **options):
        groups.append(group)
        return real(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    assert source.read([5, 0, 6, 0, 3]) == [b"\5", b"\0", b"\6", b"\0", b"\3"]
    assert source.read([6]) == [b"\6"]
    assert groups == [0, 1, 2]


def test_imagenet_folders(tmp_path):
    names = [f"n{number:08}" for number in range(1000)]
    small = Image.fromarray(pixels(1, 8, 8)[0])
    for name in names:
        (tmp_path / "imagenet" / "val" / name).mkdir(parents=True)
        small.save(tmp_path / "imagenet" / "val" / name / "0.JPEG")
    dataset = load("imagenet", tmp_path)
    assert dataset.classes == tuple(names)
    assert dataset.test.labels.tolist() == list(range(1000))
    assert len(dataset.train) == 0
    (tmp_path / "imagenet" / "val" / names[3] / "0.JPEG").unlink()
    (tmp_path / "imagenet" / "val" / names[3]).rmdir()
    assert "has 999 classes, not 1000" in message("imagenet", tmp_path)


def test_imagenet_is_not_downloaded(tmp_path):
    text = message("imagenet", tmp_path)
    layouts = "{train,validation}-*.parquet", "{train,val}/WNID/*.JPEG"
    for word in ("image-net.org", str(tmp_path / "imagenet" / "data"), *layouts):
        assert word in text


def test_the_shared_imagenet():
    if not SHARED.exists():
        pytest.skip(f"{SHARED} is absent")
    dataset = load("imagenet", SHARED)
    assert dataset.test.labels.tolist() == list(range(0, 1000, 8))
    assert (len(dataset.train), len(dataset.classes), dataset.shape) == (0, 1000, (3, 224, 224))
    assert dataset.test[torch.tensor([77, 3])].float().std() > 30
