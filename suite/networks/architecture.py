"""What an architecture is: how its networks are built, and what other people call their parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

Shape = tuple[int, int, int]  # C, H, W


def every_size(*numbers: int) -> None:
    """The check of an architecture that takes all numbers."""


@dataclass(frozen=True)
class Architecture:
    """A family of networks. `network(classes, shape, width, *numbers)` builds one behind the normalising layer.

    `width` is the default one, in channels, that a name ending in -wN replaces; None where there is only one width.
    `lipschitz` says that its networks have a Lipschitz bound (`suite.networks.lipschitz`); they get pixels that are
    centred and not divided by a standard deviation, so that distances stay those of pixels. `runs_code` says that it
    fetches code and runs it, for which `--trust` is asked.

    What is in braces in its registered name stands for `numbers`, as in 'resnet{D}'; `check(*numbers)` raises UserError
    for some that it has no network of, and `usual` are those that people use, the smallest first. `other_names` are
    what other people call parts of the same network in their checkpoints: (their name, its name here).
    """

    network: Callable[..., nn.Module]
    width: int | None = None
    lipschitz: bool = False
    runs_code: bool = False
    check: Callable[..., None] = every_size
    usual: tuple[tuple[int, ...], ...] = ()
    other_names: tuple[tuple[str, str], ...] = ()
