"""Small images in the files that data sets come in, and what loading them says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from suite.data import load
from suite.errors import UserError

SHARED = Path(__file__).parents[3] / "shared" / "data"
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
