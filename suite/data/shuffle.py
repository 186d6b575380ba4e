"""The order in which an epoch goes through its images: a random one, which reads what lies together but once.

Images of one row group of a parquet file can only be read together. So groups are shuffled and dealt to lanes, and in
each lane images are shuffled within a window of groups. Batches come from one lane after the other: a worker that takes
every n-th batch, n a divisor of LANES, meets each group in one window alone. The order depends on neither n nor
anything else of the machine.
"""

from __future__ import annotations

from itertools import chain, zip_longest

import torch
from torch import Tensor

LANES, WINDOW = 16, 8  # windows that are open at once, and the groups in one: what is held in memory


def epoch_order(count: int, size: int, groups: Tensor | None, stream: torch.Generator) -> Tensor:
    """A permutation of `count` images, int64, for batches of `size`; at its end what is left of each lane.

    `groups` (count,) says which images are read together; None: each by itself, and all orders are equally likely.
    """
    if groups is None:
        return torch.randperm(count, generator=stream)
    lying, sizes = groups.argsort(stable=True), groups.unique(return_counts=True)[1].tolist()
    members = lying.split(sizes)
    shuffled = [members[number] for number in torch.randperm(len(members), generator=stream).tolist()]
    lanes = lanes_of(len(members))
    batches, rest = [], []
    for lane in range(lanes):
        own = shuffled[lane::lanes]
        total = -(-len(own) // WINDOW)
        windows = (torch.cat(own[number::total]) for number in range(total))
        images = torch.cat([window[torch.randperm(len(window), generator=stream)] for window in windows])
        whole = len(images) // size * size
        batches.append(images[:whole].split(size) if whole else ())
        rest.append(images[whole:])
    dealt = (batch for batch in chain.from_iterable(zip_longest(*batches)) if batch is not None)
    return torch.cat([*dealt, *rest])


def lanes_of(groups: int) -> int:
    """How many lanes so many groups are dealt to: a power of two, and a window's groups or more in each."""
    return min(LANES, 1 << max(groups // WINDOW, 1).bit_length() - 1)
