"""Parquet shards as Hugging Face writes them, read lazily."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.errors import UserError

IMAGE_COLUMNS = ("img", "image")


class Parquet:
    """One split: a column of images (structs with `bytes`) and one of integer labels, in one or more shards.

    Labels are read at once, images a row group at a time. `classes` are the labels' names, where the first
    shard carries Hugging Face's description of its columns.
    """

    def __init__(self, shards: list[Path], label_column: str):
        self.shards = shards
        self.groups: list[tuple[Path, int, int, str]] = []  # shard, row group, its first row, column
        self.starts: list[int] = []  # the index of each group's first image
        self.latest: tuple[int, Any] = (-1, None)  # images are mostly read in order
        labels: list[Tensor] = []
        total = 0
        for shard in shards:
            with _opened(shard) as file:
                image_column = _image_column(shard, file.schema_arrow)
                labels.append(_labels(shard, file, label_column))
                first = 0
                for number in range(file.num_row_groups):
                    self.groups.append((shard, number, first, image_column))
                    self.starts.append(total + first)
                    first += file.metadata.row_group(number).num_rows
                total += first
        self.labels = torch.cat(labels)
        with _opened(shards[0]) as file:
            self.classes = _class_names(file.schema_arrow, label_column)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        found: dict[int, bytes] = {}
        for index in sorted(set(indices)):
            group = bisect_right(self.starts, index) - 1
            if group != self.latest[0]:
                shard, number, _, column = self.groups[group]
                with _opened(shard) as file:
                    # No threads: the workers that call this are forks.
                    images = file.read_row_group(number, columns=[f"{column}.bytes"], use_threads=False)
                self.latest = group, images.column(0)
            image = self.latest[1][index - self.starts[group]].as_py()
            if not image or image["bytes"] is None:
                raise UserError(f"{self.where(index)} has no image bytes")
            found[index] = image["bytes"]
        return [found[index] for index in indices]

    def where(self, index: int) -> str:
        group = bisect_right(self.starts, index) - 1
        shard, _, first, _ = self.groups[group]
        return f"{shard} row {first + index - self.starts[group]}"

    def files(self) -> list[tuple[str, int]]:
        return [(shard.name, shard.stat().st_size) for shard in self.shards]


@contextmanager
def _opened(shard: Path) -> Iterator[Any]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(shard) as file:
            yield file
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"cannot read {shard} as parquet: {str(error).splitlines()[0]}") from error


def _image_column(shard: Path, schema: Any) -> str:
    column = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    if column is None:
        wanted = " or ".join(IMAGE_COLUMNS)
        raise UserError(f"{shard} has no column {wanted}; it has {', '.join(schema.names)}")
    kind = schema.field(column).type
    if not hasattr(kind, "get_field_index") or kind.get_field_index("bytes") < 0:
        raise UserError(f"{shard}: the column {column} should hold structs with bytes; it is of type {kind}")
    return column


def _labels(shard: Path, file: Any, column: str) -> Tensor:
    if column not in file.schema_arrow.names:
        raise UserError(f"{shard} has no column {column}; it has {', '.join(file.schema_arrow.names)}")
    labels = file.read(columns=[column], use_threads=False).column(0)
    if not str(labels.type).startswith(("int", "uint")):
        raise UserError(f"{shard}: the column {column} should hold integers; it is of type {labels.type}")
    if labels.null_count:
        raise UserError(f"{shard} row {labels.is_null().to_pylist().index(True)} has no label")
    return torch.from_numpy(labels.to_numpy().astype(np.int64))


def _class_names(schema: Any, column: str) -> tuple[str, ...] | None:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except (KeyError, TypeError, ValueError):  # another writer's description, or none
        return None
