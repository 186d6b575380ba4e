"""How fast training reads images of ImageNet's size from parquet shards, and how many bytes it reads for one.

Writes shards of JPEG images of 500x375 pixels into a temporary folder, 100 images a row group as Hugging Face's have
them. Then reads them as training does, decoded and cropped to 224x224: one after the other, in the order of an epoch
(`suite.data.shuffle`), and in an order of all images at random, of which only some are read. Bytes are those of files
that the workers asked the system for, from the disk or from its cache. At the end come the memory of the largest
worker, beside that of this process, and the time in which Pillow and torchvision decode these images.

    python benchmarks/imagenet.py [--gigabytes 2] [--batch 256] [--group 100]
"""

from __future__ import annotations

import argparse
import io
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torchvision.io import ImageReadMode, decode_jpeg

from suite.data.decode import SIDE
from suite.data.images import Streamed
from suite.data.parquet import Parquet
from suite.data.shuffle import epoch_order

WIDTH, HEIGHT, DIFFERENT, SHARDS = 500, 375, 200, 4
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


def write(folder: Path, images: list[bytes], gigabytes: float, each: int) -> list[Path]:
    """The shards, that many bytes in all, with so many images in each group."""
    total = round(gigabytes * 1e9 / np.mean([len(image) for image in images]) / each / SHARDS) * each
    shards = []
    for number in range(SHARDS):
        shards.append(folder / f"train-{number:05}-of-{SHARDS:05}.parquet")
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        with pq.ParquetWriter(shards[-1], pa.schema([("image", kind), ("label", pa.int64())])) as writer:
            for first in range(0, total, each):
                own = [{"bytes": images[(first + k) % DIFFERENT], "path": None} for k in range(each)]
                table = pa.table({"image": pa.array(own, kind), "label": pa.array(range(each))})
                writer.write_table(table, row_group_size=each)
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


def compare_decoders(images: list[bytes]) -> str:
    """Milliseconds an image by each library, one after the other so that both meet the same machine."""
    times: dict[str, float] = {"Pillow": 0.0, "torchvision": 0.0}
    differing = 0
    for image in images * 3:
        begun = time.perf_counter()
        one = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
        between = time.perf_counter()
        other = decode_jpeg(torch.frombuffer(bytearray(image), dtype=torch.uint8), ImageReadMode.RGB)
        times["Pillow"] += between - begun
        times["torchvision"] += time.perf_counter() - between
        differing += not np.array_equal(one, other.permute(1, 2, 0).numpy())
    each = ", ".join(f"{name} {1000 * seconds / len(images) / 3:.2f} ms" for name, seconds in times.items())
    return f"decoding an image: {each}; {differing} of {3 * len(images)} differ"


def main() -> None:
    parser = argparse.ArgumentParser(description="Reading images of ImageNet's size.")
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--group", type=int, default=100, help="images in a row group")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = pictures()
        shards = write(Path(folder), images, given.gigabytes, given.group)
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
    worker, own = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF))
    print(f"memory of the largest worker: {worker / 1e3:.0f} MB; of this process: {own / 1e3:.0f} MB")
    print(compare_decoders(images))


if __name__ == "__main__":
    main()
