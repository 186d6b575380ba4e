"""An epoch's order: a permutation that reads each row group of a parquet file once, however many workers there are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from suite.data import parquet, shuffle
from suite.data.parquet import Parquet
from suite.data.shuffle import LANES, MOST, WINDOW, Groups, epoch_order, layout

GROUPS, EACH, SIZE = 300, 10, 20


def stream(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_images_that_are_read_one_by_one_come_in_any_order() -> None:
    assert torch.equal(epoch_order(50, 8, None, stream(3)), torch.randperm(50, generator=stream(3)))


@pytest.mark.parametrize(("groups", "each"), [(1, 7), (2, 5), (9, 3), (300, 10), (40, 1)])
def test_every_image_comes_once(groups: int, each: int) -> None:
    of = torch.arange(groups).repeat_interleave(each)
    for size in (0, MOST // 20, MOST):
        order = epoch_order(len(of), 8, Groups(of, size), stream(0))
        assert torch.equal(order.sort().values, torch.arange(len(of)))
        assert torch.equal(order, epoch_order(len(of), 8, Groups(of, size), stream(0)))
        assert not torch.equal(order, epoch_order(len(of), 8, Groups(of, size), stream(1))) or len(of) < 8


def test_the_order_that_weights_depend_on_stays() -> None:
    """Of groups of ImageNet's size, 11 MB; as it was before there was a bound in bytes."""
    of = torch.arange(GROUPS).repeat_interleave(EACH)
    order = epoch_order(len(of), SIZE, Groups(of, 11 << 20), stream(0))
    assert order[:8].tolist() == [449, 2826, 2762, 2761, 2806, 2066, 973, 2801]


def test_a_batch_is_of_one_window_and_two_epochs_mix_differently() -> None:
    of = torch.arange(GROUPS).repeat_interleave(EACH)
    batches = epoch_order(len(of), SIZE, Groups(of), stream(0)).split(SIZE)
    dealt = len(batches) - LANES * SIZE // SIZE  # the last ones are left over from all lanes
    assert max(len(of[batch].unique()) for batch in batches[:dealt]) <= 2 * WINDOW
    assert min(len(of[batch].unique()) for batch in batches[:dealt]) > WINDOW // 2
    other = epoch_order(len(of), SIZE, Groups(of), stream(1)).split(SIZE)
    assert {frozenset(batch.tolist()) for batch in batches}.isdisjoint(frozenset(batch.tolist()) for batch in other)


def test_groups_that_lie_apart_are_still_groups() -> None:
    """Those of a part of a split, whose images are in any order."""
    of = torch.arange(GROUPS).repeat(EACH)
    first = epoch_order(len(of), SIZE, Groups(of), stream(0))[:SIZE]
    assert len(of[first].unique()) <= WINDOW


def test_lanes_are_a_power_of_two_that_has_windows() -> None:
    assert [layout(groups, 0) for groups in (1, 15, 16, 47, 64, 128, 10_000)] == [
        (1, 8), (1, 8), (2, 8), (4, 8), (8, 8), (16, 8), (16, 8),
    ]  # fmt: skip


def test_open_windows_stay_below_their_bound_whatever_the_size_of_the_groups() -> None:
    sizes = [MOST >> shift for shift in range(12)] + [MOST // 3, MOST // 7 * 5, 3 * MOST]
    for size in sizes:
        lanes, window = layout(10**6, size)
        assert lanes * window == 1 or lanes * window * size <= MOST
        assert lanes * window == LANES * WINDOW or 2 * lanes * window * size > MOST  # and not far below it
    assert [layout(10**6, MOST // n) for n in (1, 3, 8, 64)] == [(1, 1), (2, 1), (4, 2), (8, 8)]


@pytest.mark.parametrize(("workers", "room"), [(1, 128), (2, 128), (4, 128), (16, 128), (8, 64), (2, 6), (1, 1)])
def test_each_group_is_read_by_one_worker_alone(
    workers: int, room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Worker w takes batches w, w + n, …, as torch's loader deals them. In a lane are 16 groups in two windows, 25
    batches, of which the one in the middle is of both; in fewer lanes more. In the bound there is `room` for so many
    groups."""
    groups, each, batch_size = 256, 50, 32
    images = [{"bytes": bytes([number % 256]) * 5, "path": None} for number in range(groups * each)]
    table = pa.table({"image": images, "label": [0] * len(images)})
    pq.write_table(table, tmp_path / "train-0.parquet", row_group_size=each)
    read: Counter[int] = Counter()
    real = pq.ParquetFile.read_row_group

    def counted(file: Any, group: int, **options: Any) -> Any:
        read[group] += 1
        return real(file, group, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counted)
    monkeypatch.setattr(parquet, "get_worker_info", lambda: SimpleNamespace(num_workers=workers))
    sources = [Parquet([tmp_path / "train-0.parquet"], "label") for _ in range(workers)]
    size = sources[0].groups.size
    assert each * 5 < size < 2 * each * (5 + 4)  # bytes, and what says how long each image is
    monkeypatch.setattr(shuffle, "MOST", room * size)
    lanes, window = layout(groups, size)
    batches = epoch_order(len(images), batch_size, sources[0].groups, stream(0)).split(batch_size)
    most = 0
    for number, batch in enumerate(batches):
        source = sources[number % workers]
        assert source.read(batch.tolist()) == [images[index]["bytes"] for index in batch.tolist()]
        most = max(most, sum(len(each.held) for each in sources))
    assert read == dict.fromkeys(range(groups), 1)
    assert most <= lanes * window + workers * window
