"""How fast training reads images of ImageNet's size from parquet shards, and how many bytes it reads for one.

Writes shards of JPEG images of 500x375 pixels into a temporary folder, 100 images a row group as Hugging Face's have
them. Then reads them as training does, decoded and cropped to 224x224: one after the other, in the order of an epoch
(`suite.data.shuffle`), and in an order of all images at random, of which only some are read. Bytes are those of files
that the workers asked the system for, from the disk or from its cache.

    python benchmarks/imagenet.py [--gigabytes 2] [--batch 256]
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from suite.data.decode import SIDE
from suite.data.images import Streamed
from suite.data.parquet import Parquet
from suite.data.shuffle import epoch_order

WIDTH, HEIGHT, EACH, DIFFERENT, SHARDS = 500, 375, 100, 200, 4
FEW = 1_024  # images that are read in an order at random


def pictures() -> list[bytes]:
    """JPEG images of about 110 kB, as ImageNet's are on average: smooth shapes with noise."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(DIFFERENT):
        coarse = generator.integers(0, 256, (15, 20, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), float)
        noisy = (smooth + generator.normal(0, 14, smooth.shape)).clip(0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noisy).save(buffer, "JPEG", quality=90)
        found.append(buffer.getvalue())
    return found


def write(folder: Path, gigabytes: float) -> list[Path]:
    """The shards, that many bytes in all."""
    images = pictures()
    total = round(gigabytes * 1e9 / np.mean([len(image) for image in images]) / EACH / SHARDS) * EACH
    shards = []
    for number in range(SHARDS):
        shards.append(folder / f"train-{number:05}-of-{SHARDS:05}.parquet")
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        with pq.ParquetWriter(shards[-1], pa.schema([("image", kind), ("label", pa.int64())])) as writer:
            for first in range(0, total, EACH):
                own = [{"bytes": images[(first + k) % DIFFERENT], "path": None} for k in range(EACH)]
                writer.write_table(pa.table({"image": pa.array(own, kind), "label": pa.array(range(EACH))}))
    return shards


def asked_for() -> int:
    """Bytes that this process and its children that have ended asked the system for."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(dict(line.split(": ") for line in lines)["rchar"])


def read(split: Streamed, order: torch.Tensor, batch: int) -> tuple[float, float, float]:
    """Images a second, bytes an image, and the seconds until the first batch."""
    begun, before, first = time.perf_counter(), asked_for(), 0.0
    for _ in split.batches(order.split(batch), crop_seed=0):
        first = first or time.perf_counter() - begun
    files = (asked_for() - before) / len(order) - 3 * SIDE**2  # the pixels come back through a pipe
    return len(order) / (time.perf_counter() - begun), files, first


def main() -> None:
    parser = argparse.ArgumentParser(description="Reading images of ImageNet's size.")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=256)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        shards = write(Path(folder), given.gigabytes)
        split = Streamed(Parquet(shards, "label"))
        size = sum(shard.stat().st_size for shard in shards)
        print(f"{len(split)} images in {SHARDS} shards of {size / 1e9:.2f} GB, {size / len(split):.0f} B an image")
        stream = torch.Generator().manual_seed(0)
        orders = {
            "one after the other": torch.arange(len(split)),
            "an epoch's order": epoch_order(len(split), given.batch, split.groups, stream),
            "at random": torch.randperm(len(split), generator=stream)[:FEW],
        }
        for name in ("one after the other", *orders):  # the first time fills the system's cache
            speed, each, first = read(split, orders[name], given.batch)
            print(f"{name:20} {speed:7.0f} images/s, {each / 1e3:8.0f} kB an image, first batch after {first:.1f} s")


if __name__ == "__main__":
    main()
