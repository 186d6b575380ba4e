from __future__ import annotations

import hashlib
import io
import json
import pickle
import urllib.error
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torchvision
from PIL import Image
from torchvision.transforms import v2

from suite.data import DATASETS, InMemory, Streamed, load
from suite.data.augment import augment
from suite.data.parquet import Parquet
from suite.errors import UserError

SHARED = Path(__file__).parents[2] / "shared" / "data"
CIFAR10_NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LABELS = {"train": [3, 0, 9, 3, 1], "test": [7, 7]}


def pixels(count, height=32, width=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)


PIXELS = {"train": pixels(5), "test": pixels(2, seed=1)}


def encode(array, kind="PNG"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind)
    return file.getvalue()


def write_parquet(path, images, labels, *, image="img", label="label", names=None, rows=2):
    """`images` are encoded already; two rows to a row group."""
    path.parent.mkdir(parents=True, exist_ok=True)
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    structs = pa.array([{"bytes": data, "path": None} for data in images], struct)
    table = pa.table({image: structs, label: labels})
    if names:
        description = {"info": {"features": {label: {"names": names, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(description)})
    pq.write_table(table, path, row_group_size=rows)


def write_cifar_parquet(folder, kind="PNG", **options):
    for split, labels in LABELS.items():
        images = [encode(array, kind) for array in PIXELS[split]]
        write_parquet(folder / f"{split}-00000-of-00001.parquet", images, labels, **options)


def write_folder(root, split, images, labels, names):
    for number, (array, label) in enumerate(zip(images, labels, strict=True)):
        folder = root / split / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / f"{number}.png")


def as_stored(array):
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def assert_cifar_pixels(dataset):
    for split, images in ("train", dataset.train), ("test", dataset.test):
        assert images.labels.tolist() == LABELS[split]
        assert torch.equal(images[torch.arange(len(images))], as_stored(PIXELS[split]))


def message(name, root=None, **options):
    """The one line of the UserError that loading raises."""
    with pytest.raises(UserError) as caught:
        load(str(name), root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


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
    assert (dataset.variant, dataset.title, dataset.augmentation) == ("", "CIFAR-10", "crop-flip")
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
    assert (dataset.variant, dataset.title) == ("JPEG", "CIFAR-10 (JPEG)")
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
    assert dataset.title == "CIFAR-10 (JPEG)"
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
        ({"names": ["cat", "dog"]}, "train and test differ in the classes cat, dog"),
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


def test_grey_images_become_rgb_and_deep_ones_are_refused(tmp_path):
    grey = pixels(2, 8, 8)[..., 0]
    for split in ("train", "test"):
        write_folder(tmp_path, split, grey, [0, 1], ["x", "y"])
    train = load(str(tmp_path)).train
    assert torch.equal(train[torch.tensor([1])], torch.from_numpy(grey[1]).expand(1, 3, 8, 8))
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


def test_training_windows_are_spread_as_they_should_be():
    from suite.data.decode import training_view

    ramp = np.zeros((100, 200, 3), np.uint8)  # channels 0 and 1 tell the column and the row
    ramp[..., 0], ramp[..., 1] = np.arange(200), np.arange(100)[:, None]
    areas, aspects = [], []
    for index in range(300):
        view = np.asarray(training_view(0, Image.fromarray(ramp), index)).astype(int)
        width, height = np.ptp(view[..., 0]) + 1, np.ptp(view[..., 1]) + 1
        areas.append(width * height / 20_000)
        aspects.append(width / height)
    assert 0.06 < min(areas) < 0.12
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


# Augmentation

POSITIONS = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(1000, 1, 16, 16)


def windows(pad, mode):
    """Every window of the padded image, by NumPy."""
    padded = np.pad(POSITIONS[0, 0].numpy(), pad, mode)
    steps = range(2 * pad + 1)
    return [torch.from_numpy(padded[y : y + 16, x : x + 16].copy()) for y in steps for x in steps]


@pytest.mark.parametrize(("kind", "pad", "mode"), [("crop-flip", 4, "reflect"), ("shift", 1, "constant")])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_are_windows_of_the_padded_image_all_equally_often(kind, pad, mode, dtype):
    seen = augment(POSITIONS.to(dtype), kind, torch.Generator().manual_seed(0))
    assert seen.dtype == dtype
    known = torch.stack(windows(pad, mode)).to(dtype)
    plain = (seen == known).flatten(2).all(2)
    flipped = (seen == known.flip(2)).flatten(2).all(2)
    assert ((plain | flipped).sum(1) == 1).all()
    assert abs(flipped.any(1).float().mean() - (0.5 if kind == "crop-flip" else 0)) < 0.05
    counts = (plain | flipped).sum(0)
    expected = len(seen) / len(known)
    assert (counts - expected).abs().max() < 5 * expected**0.5


def test_flips_are_half_of_the_images_and_none_is_none():
    seen = augment(POSITIONS, "flip", torch.Generator().manual_seed(1))
    flipped = (seen == POSITIONS.flip(3)).flatten(1).all(1)
    assert torch.equal(seen[~flipped], POSITIONS[~flipped])
    assert abs(flipped.float().mean() - 0.5) < 0.05
    assert torch.equal(augment(POSITIONS, "none", torch.Generator()), POSITIONS)


@pytest.mark.parametrize("kind", ["crop-flip", "shift", "flip"])
def test_augmentation_follows_its_generator(kind):
    generators = [torch.Generator().manual_seed(seed) for seed in (3, 3, 4)]
    first, again, other = (augment(POSITIONS, kind, generator) for generator in generators)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_an_unknown_augmentation():
    with pytest.raises(UserError, match="unknown augmentation 'flop': did you mean 'flip'"):
        augment(POSITIONS, "flop", torch.Generator())
