"""Which architecture a checkpoint is of, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from suite.networks.architecture import Architecture, Shape
from suite.networks.architectures import ARCHITECTURES, build_member
from suite.networks.checkpoint_files import read_entries
from suite.networks.checkpoints import COUNTER, find_fit, rename

ENOUGH = 4


def fitting(path: Path, classes: int, shape: Shape) -> list[str]:
    """The registered architectures that a checkpoint fits, the narrowest name first; for images of `shape` (C, H, W).

    Raises UserError where the file is no checkpoint.
    """
    entries = read_entries(path)
    return list(islice(candidates_that_fit(entries, classes, shape), ENOUGH))


def candidates_that_fit(entries: Mapping[str, Mapping[str, Tensor]], classes: int, shape: Shape) -> Iterator[str]:
    for name, found in ARCHITECTURES.loadable().items():
        for numbers in found.usual or ((),):
            build = partial(build_member, found, numbers, classes, shape)
            usual = outline(partial(build, found.width or 0))
            if usual is None or not named_alike(usual, found, entries):
                break  # deeper ones have the same names, and more
            if not any(convolutions(usual.state_dict()) == convolutions(state) for state in entries.values()):
                continue
            for width in (found.width, *sorted(widths(entries) - {found.width or 0})) if found.width else (None,):
                network = usual if width == found.width else outline(partial(build, width or 0))
                if network is None:
                    continue
                wanted = network.state_dict()
                fits = (find_fit(wanted, state, shape[0], found.other_names) for state in entries.values())
                if any(fit and not fit.unknown for fit in fits):
                    left = list(map(str, numbers))
                    member = re.sub(r"\{\w+\}", lambda _, left=left: left.pop(0), name)  # type: ignore[misc]
                    yield member if width == found.width else f"{member}-w{width}"
                    break


def named_alike(network: nn.Module, found: Architecture, entries: Mapping[str, Mapping[str, Tensor]]) -> bool:
    """Whether some dict has a tensor for each of the network's, by name."""
    wanted = [name for name in network.state_dict() if not name.endswith(COUNTER)]
    return any(
        all(any(theirs.endswith(name) for theirs in ours) for name in wanted)
        for ours in (
            {rename(name, names) for name in state} for state in entries.values() for names in ((), found.other_names)
        )
    )


def convolutions(state: Mapping[str, Tensor]) -> int:
    """How many tensors of convolutions there are."""
    return sum(tensor.dim() == 4 for tensor in state.values())


def widths(entries: Mapping[str, Mapping[str, Tensor]]) -> set[int]:
    """How wide the convolutions are: one of these is what an architecture calls its width."""
    return {tensor.shape[0] for state in entries.values() for tensor in state.values() if tensor.dim() == 4}


def outline(build: partial[nn.Module]) -> nn.Module | None:
    """The network without memory for its weights; None where it cannot be had for these images."""
    try:
        with torch.device("meta"):
            return build()
    except Exception:  # too narrow, another number of channels, a library that is not there
        return None
