"""The cache of decoded images: it changes the time that loading takes, and nothing else."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.image_files import as_stored, encode, message, pixels, write_cifar_parquet, write_folder, write_parquet
from PIL import Image

import suite.data.cache
import suite.data.decode
import suite.data.views
from suite.data import load
from suite.data.cache import cache_folder
from suite.errors import UserError
from suite.leftovers import beside


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch):
    """Counts the splits that are decoded."""
    counted = []
    for module in "suite.data.published", "suite.data.folder":
        real = importlib.import_module(module).decode_all
        monkeypatch.setattr(f"{module}.decode_all", lambda *given, real=real: counted.append(1) or real(*given))
    return counted


def age(folder, seconds=10):
    """Files that were written a while ago, as files mostly are."""
    for path in folder.rglob("*"):
        os.utime(path, (time.time() - seconds,) * 2)


def settle():
    time.sleep(2 * suite.data.cache.SETTLED)


def entries(cache):
    return sorted(path.name for path in cache.glob("*")) if cache.is_dir() else []


def everything(dataset):
    """All that a dataset says, its pixels included."""
    images = [split[torch.arange(len(split))].tolist() for split in (dataset.train, dataset.test)]
    labels = [split.labels.tolist() for split in (dataset.train, dataset.test)]
    about = vars(dataset) | {"train": None, "test": None}
    return about, images, labels


@pytest.mark.parametrize("kind", ["parquet", "images", "grey", "own parquet"])
def test_the_second_load_decodes_nothing_and_gives_the_same(tmp_path, cache, decoded, kind):
    data = tmp_path / "cifar10"
    if kind in ("parquet", "own parquet"):
        write_cifar_parquet(data, "JPEG")
    else:
        images = pixels(4, 8, 8) if kind == "images" else pixels(4, 8, 8)[..., 0]
        for split in "train", "test":
            write_folder(data, split, images, [0, 0, 1, 1], ["ant", "bee"])
    name = "cifar10" if kind == "parquet" else str(data)
    settle()
    first = everything(load(name, tmp_path))
    assert len(decoded) == 2
    assert everything(load(name, tmp_path)) == first
    assert len(decoded) == 2
    [entry] = entries(cache)
    assert entry.startswith("cifar10-")
    (cache / entry).unlink()
    assert everything(load(name, tmp_path)) == first
    assert len(decoded) == 4


def test_pixels_are_mapped_and_not_written_back(tmp_path, cache):
    write_cifar_parquet(tmp_path / "cifar10")
    settle()
    load("cifar10", tmp_path)
    mapped = load("cifar10", tmp_path)
    before = mapped.test.images.clone()
    mapped.test.images.zero_()
    assert torch.equal(load("cifar10", tmp_path).test.images, before)


def test_a_change_of_a_file_is_noticed(tmp_path, cache, decoded):
    images = pixels(3, 8, 8)
    data = tmp_path / "mine"
    for split in "train", "test":
        (data / split / "a").mkdir(parents=True)
        Image.fromarray(images[0]).save(data / split / "a" / "0.bmp")
    settle()
    first = load(str(data))
    changed = data / "test" / "a" / "0.bmp"
    status = changed.stat()
    Image.fromarray(images[1]).save(changed)  # as large as before
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))  # and as old, as tools that copy set it
    settle()
    second = load(str(data))
    assert torch.equal(second.test.images, as_stored(images[1:2]))
    assert second.fingerprint != first.fingerprint
    Image.fromarray(images[2]).save(data / "test" / "a" / "1.bmp")
    assert len(load(str(data)).test) == 2
    assert len(decoded) == 6


def test_files_that_changed_a_moment_ago_are_not_trusted(tmp_path, cache, monkeypatch):
    write_cifar_parquet(tmp_path / "cifar10")
    monkeypatch.setattr(suite.data.cache, "SETTLED", 3600)
    load("cifar10", tmp_path)
    assert entries(cache) == []


def test_of_a_place_only_the_latest_is_kept(tmp_path, cache):
    for count in 4, 5:
        for place in "mine", "yours":
            for split in "train", "test":
                path = tmp_path / place / f"{split}.parquet"
                write_parquet(path, list(map(encode, pixels(count, 8, 8))), [0, 1] * (count // 2) + [0] * (count % 2))
        settle()
        assert [len(load(str(tmp_path / place)).test) for place in ("mine", "yours")] == [count, count]
        assert [name.split("-")[0] for name in entries(cache)] == ["mine", "yours"]


def test_two_folders_of_one_name_are_two(tmp_path, cache):
    for number, who in enumerate(["alice", "bob"]):
        for split in "train", "test":
            (tmp_path / who / "data" / split / "a").mkdir(parents=True)
            file = tmp_path / who / "data" / split / "a" / "0.bmp"
            Image.fromarray(pixels(2, 8, 8)[number]).save(file)
    age(tmp_path)
    settle()
    prints = {load(str(tmp_path / who / "data")).fingerprint for who in ("alice", "bob", "alice", "bob")}
    assert (len(prints), len(entries(cache))) == (2, 2)


@pytest.mark.parametrize("damage", ["cut", "pixel", "header", "empty", "rubbish"])
def test_a_damaged_file_is_made_again(tmp_path, cache, decoded, damage):
    write_cifar_parquet(tmp_path / "cifar10")
    settle()
    first = everything(load("cifar10", tmp_path))
    [entry] = cache.iterdir()
    content = bytearray(entry.read_bytes())
    if damage == "cut":
        content = content[:-100]
    elif damage == "pixel":
        content[-5000] ^= 1
    elif damage == "header":
        content[20] ^= 1
    else:
        content = bytearray(b"" if damage == "empty" else b"rubbish" * 100)
    entry.write_bytes(content)
    assert everything(load("cifar10", tmp_path)) == first
    assert len(decoded) == 4
    assert everything(load("cifar10", tmp_path)) == first
    assert len(decoded) == 4


@pytest.mark.parametrize("place", ["/dev/null", "/dev/null/below", "/proc/none"])
def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path, monkeypatch, decoded, place):
    monkeypatch.setenv("SUITE_CACHE", place)
    write_cifar_parquet(tmp_path / "cifar10")
    settle()
    assert everything(load("cifar10", tmp_path)) == everything(load("cifar10", tmp_path))
    assert len(decoded) == 4


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_full_disk_costs_time_alone(tmp_path, cache, monkeypatch, when):
    from safetensors.torch import save_file

    def full(tensors, file, about):
        save_file(tensors, file, about)
        raise OSError(28, "No space left on device")

    if when == "before":
        monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    else:
        monkeypatch.setattr("safetensors.torch.save_file", full)
    write_cifar_parquet(tmp_path / "cifar10")
    settle()
    assert len(load("cifar10", tmp_path).test) == 2
    assert entries(cache) == []


def test_what_a_killed_process_left_is_removed(tmp_path, cache):
    write_cifar_parquet(tmp_path / "cifar10")
    settle()
    load("cifar10", tmp_path)
    [entry] = cache.glob("*.safetensors")
    dead, alive = (beside(entry, entry.name).name.replace(f".{os.getpid()}@", f".{n}@") for n in (2**22 + 1, 1))
    for name in (dead, alive):
        (cache / name).touch()
    entry.unlink()
    load("cifar10", tmp_path)
    assert entries(cache) == sorted([entry.name, alive])


def test_the_same_files_by_another_path_and_from_another_place(tmp_path, cache, decoded, monkeypatch):
    write_cifar_parquet(tmp_path / "data" / "cifar10")
    settle()
    load("cifar10", tmp_path / "data")
    (tmp_path / "elsewhere").mkdir()
    for place, root in (tmp_path, "data"), (tmp_path, "./data"), (tmp_path / "elsewhere", tmp_path / "data"):
        monkeypatch.chdir(place)
        load("cifar10", Path(root))
    assert len(decoded) == 2


def test_what_is_refused_is_not_kept(tmp_path, cache):
    write_cifar_parquet(tmp_path / "cifar10", names=["cat", "dog"])
    settle()
    for _ in range(2):
        assert "has 2 classes, not 10" in message("cifar10", tmp_path)
    assert entries(cache) == []


def test_where_the_cache_lies(monkeypatch, tmp_path):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("SUITE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "l2-robustness-suite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "l2-robustness-suite"


def test_the_tests_use_a_cache_of_their_own():
    assert "pytest" in str(cache_folder())


def test_of_streamed_images_what_was_measured_is_kept(tmp_path, cache, monkeypatch):
    write_large(tmp_path, "images")
    settle()
    first = load(str(tmp_path / "large"))
    monkeypatch.setattr("suite.data.folder.is_grey", None)
    again = load(str(tmp_path / "large"))
    assert (again.mean, again.std, again.fingerprint) == (first.mean, first.std, first.fingerprint)
    [entry] = cache.iterdir()
    assert entry.stat().st_size < 2000


def write_large(place, kind):
    """Three images of each split, which are streamed."""
    for split in "train", "test":
        if kind == "parquet":
            (place / "large").mkdir(exist_ok=True)
            write_parquet(place / "large" / f"{split}.parquet", list(map(encode, pixels(3, 90, 80))), [0, 1, 1])
        else:
            write_folder(place / "large", split, pixels(3, 90, 80), [0, 1, 1], ["x", "y"])


@pytest.fixture
def opened(monkeypatch):
    """Counts the images that are opened to be decoded in this process."""
    counted = []
    real = suite.data.decode._pixels
    monkeypatch.setattr("suite.data.decode._pixels", lambda *given: counted.append(1) or real(*given))
    return counted


def views(cache):
    return sorted((cache / "views").glob("*"))


@pytest.mark.parametrize("kind", ["images", "parquet"])
def test_test_images_are_decoded_once_and_training_images_each_time(tmp_path, cache, opened, kind):
    write_large(tmp_path, kind)
    settle()
    data = load(str(tmp_path / "large"))
    opened.clear()
    first = data.test[torch.tensor([2, 0])]
    assert (len(opened), len(views(cache))) == (2, 2)
    again = load(str(tmp_path / "large")).test
    assert torch.equal(again[torch.tensor([0, 2])], first.flip(0))
    assert torch.equal(next(again.batches([torch.tensor([2, 0])])), first)
    assert len(opened) == 2
    assert not torch.equal(again[torch.tensor([1])], first[:1])  # which is decoded, and no other
    assert (len(opened), len(views(cache))) == (3, 3)
    for _ in range(2):
        data.train[torch.tensor([0])]
        next(data.train.batches([torch.tensor([0])], crop_seed=1))
    assert (len(opened), len(views(cache))) == (7, 3)


@pytest.mark.parametrize("damage", ["cut", "pixel", "empty"])
def test_a_damaged_view_is_made_again(tmp_path, cache, opened, damage):
    write_large(tmp_path, "images")
    settle()
    test = load(str(tmp_path / "large")).test
    first = test[torch.tensor([0])]
    [view] = views(cache)
    content = bytearray(view.read_bytes())
    content[1000] ^= 1
    view.write_bytes({"cut": content[:-10], "pixel": content, "empty": b""}[damage])
    opened.clear()
    assert torch.equal(test[torch.tensor([0])], first)
    assert torch.equal(test[torch.tensor([0])], first)
    assert len(opened) == 1


def test_a_test_image_that_changed_is_decoded_again(tmp_path, cache, monkeypatch):
    write_large(tmp_path, "images")
    settle()
    test = load(str(tmp_path / "large")).test
    before = test[torch.tensor([0, 1])]
    monkeypatch.setattr("suite.data.views.SETTLED", 3600)
    changed, other = (Path(test.source.where(index)) for index in (0, 1))
    changed.write_bytes(other.read_bytes())
    assert torch.equal(test[torch.tensor([0, 1])], before[[1, 1]])
    assert len(views(cache)) == 2  # what changed a moment ago is not kept
    changed.unlink()
    with pytest.raises(UserError, match=r"cannot read .*: No such file"):
        test[torch.tensor([0])]


def test_views_have_a_bound_and_what_nobody_asked_for_makes_room(tmp_path, cache, opened, monkeypatch):
    monkeypatch.setattr("suite.data.views.MOST", 2 * (3 * 224 * 224 + 4))
    write_large(tmp_path, "images")
    settle()
    test = load(str(tmp_path / "large")).test
    for kept in (1, 2, 2):  # the latest first view stays: whoever reads all in turn finds those that are there
        test[torch.tensor([kept - 1])]
        assert len(views(cache)) == kept
    test[torch.tensor([2])]
    assert len(views(cache)) == 2
    for view in views(cache):
        os.utime(view, (time.time() - 2 * suite.data.views.STALE,) * 2)
    opened.clear()
    test[torch.tensor([0])]  # asked for now, so it is no longer stale
    test[torch.tensor([2])]
    test[torch.tensor([0, 2])]
    assert (len(opened), len(views(cache))) == (1, 2)


@pytest.mark.parametrize("place", ["/dev/null", "/proc/none"])
def test_views_that_cannot_be_kept_cost_time_alone(tmp_path, monkeypatch, opened, place):
    monkeypatch.setenv("SUITE_CACHE", place)
    write_large(tmp_path, "images")
    settle()
    test = load(str(tmp_path / "large")).test
    opened.clear()
    assert torch.equal(test[torch.tensor([0])], test[torch.tensor([0])])
    assert len(opened) == 2


@pytest.mark.slow
def test_the_second_process_loads_all_of_cifar10_in_a_second_of_its_time(cifar10, cache):
    """The same pixels, fingerprint included, that stored runs depend on."""
    program = (
        "import resource, sys; from pathlib import Path; import torch; from suite.data import load\n"
        "def spent():\n"
        "    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]\n"
        "    return sum(u.ru_utime + u.ru_stime for u in use)\n"
        "before = spent(); data = load('cifar10', Path(sys.argv[1]), download=False)\n"
        "print(data.fingerprint, data.title, int(data.train.images[-1].sum()), spent() - before, sep='|')\n"
    )
    runs = [
        subprocess.run([sys.executable, "-c", program, cifar10], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    [*first, _], [*second, seconds] = (run.strip().split("|") for run in runs)
    assert first == second
    assert first[:2] == ["e4d2874210491770", "CIFAR-10 (JPEG)"]
    assert float(seconds) < 1


def test_the_checksum_is_of_all_that_is_kept():
    from suite.data.cache import Kept

    one = Kept({"a": torch.arange(4), "b": torch.zeros(2, 2)}, {"x": 1})
    others = [
        Kept({"a": torch.arange(4), "b": torch.zeros(2, 2)}, {"x": 2}),
        Kept({"a": torch.arange(4).flip(0), "b": torch.zeros(2, 2)}, {"x": 1}),
        Kept({"a": torch.arange(4), "b": torch.from_numpy(np.eye(2, dtype=np.float32))}, {"x": 1}),
    ]
    assert one.checksum() not in {other.checksum() for other in others}
