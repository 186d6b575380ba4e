"""The order in which an epoch goes through its images: a random one, which reads what lies together but once.

Images of one row group of a parquet file can only be read together. So groups are shuffled and dealt to lanes, and in
each lane images are shuffled within a window of groups. Batches come from one lane after the other: a worker that takes
every n-th batch, n a divisor of the number of lanes, meets each group in one window alone. Large groups have fewer
lanes and smaller windows, so that those in memory take no more than MOST bytes, or are two. The order depends on
neither n nor anything else of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain, zip_longest

import torch
from torch import Tensor

LANES, WINDOW = 16, 8  # windows that are open at once, and the groups in one, at most
MOST = 2 << 30  # bytes of all groups in open windows


@dataclass(frozen=True)
class Groups:
    """Which images are read together: `of` (N,) says the group of each image; `size` is the bytes of the largest."""

    of: Tensor
    size: int = 0

    def __getitem__(self, indices: Tensor) -> Groups:
        return replace(self, of=self.of[indices])


def epoch_order(count: int, size: int, groups: Groups | None, stream: torch.Generator) -> Tensor:
    """A permutation of `count` images, int64, for batches of `size`; at its end what is left of each lane.

    Without groups each image is read by itself, and all orders are equally likely.
    """
    if groups is None:
        return torch.randperm(count, generator=stream)
    lying, sizes = groups.of.argsort(stable=True), groups.of.unique(return_counts=True)[1].tolist()
    members = lying.split(sizes)
    shuffled = [members[number] for number in torch.randperm(len(members), generator=stream).tolist()]
    lanes, window = layout(len(members), groups.size)
    batches, rest = [], []
    for lane in range(lanes):
        own = shuffled[lane::lanes]
        total = -(-len(own) // window)
        windows = [torch.cat(own[number::total]) for number in range(total)]
        images = torch.cat([each[torch.randperm(len(each), generator=stream)] for each in windows])
        whole = len(images) // size * size
        batches.append(images[:whole].split(size) if whole else ())
        rest.append(images[whole:])
    dealt = (batch for batch in chain.from_iterable(zip_longest(*batches)) if batch is not None)
    return torch.cat([*dealt, *rest])


def layout(groups: int, size: int) -> tuple[int, int]:
    """How many lanes so many groups, of at most so many bytes each, are dealt to, and how many groups are a window.

    Lanes are a power of two, and have a window's groups or more each.
    """
    lanes, window = LANES, WINDOW
    while lanes * window > 1 and lanes * window * size > MOST:
        lanes, window = (lanes // 2, window) if lanes > window else (lanes, window // 2)
    return min(lanes, 1 << max(groups // window, 1).bit_length() - 1), window
