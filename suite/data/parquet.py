"""Tables as Hugging Face writes them, parquet shards or arrow files, read lazily."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from suite.data.shuffle import Groups, layout
from suite.errors import MISFIT, UserError

IMAGE_COLUMNS = ("img", "image")
LABEL_COLUMNS = ("fine_label", "labels", "target", "class")  # the first that is there
NOT_LABELS = ("id", "idx", "index", "image_id", "__index_level_0__")  # integers that count rows


@dataclass
class Contents:
    """What is known of a split's shards once they have been opened."""

    groups: list[tuple[Path, int, int]]  # shard, row group, its first row
    starts: list[int]  # the index of each group's first image
    size: int  # bytes of the largest group's images
    image_columns: dict[Path, str]
    label_column: str
    labels: Tensor
    classes: tuple[str, ...] | None


@dataclass
class Held:
    """The images of a row group, and how many of them have not been asked for."""

    images: Any
    left: int

    def take(self, place: int) -> Any:
        self.left -= 1
        return self.images[place].as_py()


class Parquet:
    """One split: a column of images (structs with `bytes`) and one of integer labels, in one or more shards.

    The shards are opened at the first question: labels are then read at once, images a row group at a time. `classes`
    are the labels' names, where the first shard carries Hugging Face's description of its columns. Where no
    `label_column` is asked for, the columns are looked for.
    """

    def __init__(self, shards: list[Path], label_column: str | None):
        self.shards, self.wanted = shards, label_column
        self.held: OrderedDict[int, Held] = OrderedDict()  # the latest groups, in the order of their use

    @cached_property
    def contents(self) -> Contents:
        with _opened(self.shards[0]) as file:
            label_column = self.wanted or _find_labels(self.shards[0], file.schema)
            classes = _class_names(file.schema, label_column)
        found = Contents([], [], 0, {}, label_column, torch.empty(0), classes)
        labels: list[Tensor] = []
        total = 0
        for shard in self.shards:
            with _opened(shard) as file:
                found.image_columns[shard] = _image_column(shard, file.schema, guess=self.wanted is None)
                labels.append(_labels(shard, file, label_column))
                first = 0
                for number, rows in enumerate(file.rows):
                    found.groups.append((shard, number, first))
                    found.starts.append(total + first)
                    first += rows
                    found.size = max(found.size, file.size(number, f"{found.image_columns[shard]}.bytes"))
                total += first
        found.labels = torch.cat(labels)
        return found

    @property
    def paths(self) -> list[str]:
        """The files that the split depends on."""
        return list(map(str, self.shards))

    @property
    def labels(self) -> Tensor:
        return self.contents.labels

    @property
    def classes(self) -> tuple[str, ...] | None:
        return self.contents.classes

    @cached_property
    def groups(self) -> Groups:
        starts = torch.tensor([*self.contents.starts, len(self.labels)])
        return Groups(torch.arange(len(starts) - 1).repeat_interleave(starts.diff()), self.contents.size)

    def renumber(self, numbers: Sequence[int], classes: tuple[str, ...] | None) -> None:
        """Give label k the number `numbers[k]`; labels out of its range keep theirs."""
        self.contents.labels, self.contents.classes = renumbered(self.labels, numbers), classes

    def read(self, indices: Sequence[int]) -> list[bytes]:
        found: dict[int, bytes] = {}
        for index in sorted(set(indices)):
            group = bisect_right(self.contents.starts, index) - 1
            image = self._open(group).take(index - self.contents.starts[group])
            if not image or image["bytes"] is None:
                raise UserError(f"{self.where(index)} has no image bytes")
            found[index] = image["bytes"]
        return [found[index] for index in indices]

    def _open(self, group: int) -> Held:
        """A group's images, read if they are not held. Held are those that are not used up, as a worker needs them."""
        if group not in self.held:
            for used_up in [number for number, held in self.held.items() if held.left <= 0]:
                del self.held[used_up]
            shard, number, _ = self.contents.groups[group]
            with _opened(shard) as file:
                images = file.read(number, f"{self.contents.image_columns[shard]}.bytes").column(0)
            self.held[group] = Held(images, len(images))
            worker, (lanes, window) = get_worker_info(), layout(len(self.contents.starts), self.contents.size)
            most = lanes * window // worker.num_workers + window if worker else 1  # a batch may be of two windows
            while len(self.held) > most:
                self.held.popitem(last=False)
        self.held.move_to_end(group)
        return self.held[group]

    def where(self, index: int) -> str:
        group = bisect_right(self.contents.starts, index) - 1
        shard, _, first = self.contents.groups[group]
        return f"{shard} row {first + index - self.contents.starts[group]}"

    def file(self, index: int) -> str:
        return str(self.contents.groups[bisect_right(self.contents.starts, index) - 1][0])

    def files(self) -> list[tuple[str, int]]:
        return [(shard.name, shard.stat().st_size) for shard in self.shards]


def renumbered(labels: Tensor, numbers: Sequence[int]) -> Tensor:
    known = (labels >= 0) & (labels < len(numbers))
    return torch.where(known, torch.tensor(numbers)[labels.clamp(0, len(numbers) - 1)], labels)


class Shard(Protocol):
    """An opened file: its schema, the rows of each group, and one column of a group, or of all (None).

    `size` is how many bytes of memory a group's column takes once it is read.
    """

    schema: Any
    rows: list[int]

    def read(self, group: int | None, column: str) -> Any: ...

    def size(self, group: int, column: str) -> int: ...


class ParquetShard:
    def __init__(self, file: Any):
        self.file, self.schema = file, file.schema_arrow
        self.rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]

    def read(self, group: int | None, column: str) -> Any:
        # No threads: the workers that call this are forks.
        if group is None:
            return self.file.read(columns=[column], use_threads=False)
        return self.file.read_row_group(group, columns=[column], use_threads=False)

    def size(self, group: int, column: str) -> int:
        about = self.file.metadata.row_group(group)
        columns = map(about.column, range(about.num_columns))
        return sum(each.total_uncompressed_size for each in columns if each.path_in_schema == column)


class ArrowShard:
    """A file of the `datasets` library's cache, or of its `save_to_disk`; nothing of it is copied."""

    def __init__(self, mapped: Any):
        import pyarrow

        stream = pyarrow.ipc.open_stream(mapped)
        self.schema, self.batches = stream.schema, list(stream)
        self.rows = [batch.num_rows for batch in self.batches]

    def read(self, group: int | None, column: str) -> Any:
        import pyarrow

        batches = self.batches if group is None else [self.batches[group]]
        return pyarrow.Table.from_batches(batches, self.schema).select([column.removesuffix(".bytes")])

    def size(self, group: int, column: str) -> int:
        return 0  # the system reads the pages of a mapped file, and lets go of them


@contextmanager
def _opened(shard: Path) -> Iterator[Shard]:
    import pyarrow
    from pyarrow.parquet import ParquetFile

    kind = shard.suffix.removeprefix(".")
    try:
        if kind == "arrow":
            yield ArrowShard(pyarrow.memory_map(str(shard)))
        else:
            with ParquetFile(shard) as file:
                yield ParquetShard(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"cannot read {shard} as {kind}: {str(error).splitlines()[0]}") from error


def _image_column(shard: Path, schema: Any, *, guess: bool) -> str:
    column = next((name for name in IMAGE_COLUMNS if name in schema.names), None)
    with_bytes = [name for name in schema.names if _has_bytes(schema.field(name).type)]
    if column is None and guess and len(with_bytes) == 1:
        column = with_bytes[0]
    if column is None:
        wanted = " or ".join(IMAGE_COLUMNS)
        raise UserError(f"{shard} has no column {wanted}; it has {', '.join(schema.names)}")
    if column not in with_bytes:
        kind = schema.field(column).type
        raise UserError(f"{shard}: the column {column} should hold structs with bytes; it is of type {kind}")
    return column


def _has_bytes(kind: Any) -> bool:
    return hasattr(kind, "get_field_index") and kind.get_field_index("bytes") >= 0


def _find_labels(shard: Path, schema: Any) -> str:
    """The column "label", or the one that holds classes or else integers; of several one with a usual name."""
    if "label" in schema.names:
        return "label"
    described = [name for name in schema.names if _class_names(schema, name) is not None]
    integers = [name for name in schema.names if _is_integer(schema.field(name).type) and name not in NOT_LABELS]
    for candidates in described, integers:
        named = [name for name in LABEL_COLUMNS if name in candidates]
        if len(candidates) == 1 or named:
            return named[0] if named else candidates[0]
    several = f" (is it {' or '.join(described or integers)}? Call it label)" if described or integers else ""
    raise UserError(f"{shard} has no column label; it has {', '.join(schema.names)}{several}")


def _is_integer(kind: Any) -> bool:
    return str(kind).startswith(("int", "uint"))


def _labels(shard: Path, file: Shard, column: str) -> Tensor:
    if column not in file.schema.names:
        raise UserError(f"{shard} has no column {column}; it has {', '.join(file.schema.names)}")
    labels = file.read(None, column).column(0)
    if not _is_integer(labels.type):
        raise UserError(f"{shard}: the column {column} should hold integers; it is of type {labels.type}")
    if labels.null_count:
        raise UserError(f"{shard} row {labels.is_null().to_pylist().index(True)} has no label")
    return torch.from_numpy(labels.to_numpy().astype(np.int64))


def _class_names(schema: Any, column: str) -> tuple[str, ...] | None:
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(map(str, features[column]["names"]))
    except MISFIT:  # another writer's description, or none
        return None
