"""What a protocol is: its settings, its records, its metrics, and the columns in which a reader sees them.

Everything after a protocol derives from this: the sections of a run's spec, its command, the rows of a board, tables,
exports, the app and the JSON schema. Nothing here imports torch, so that a board can be read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from suite.spec.sections import PROTOCOLS, Frozen

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from suite.data import Images
    from suite.spec.model_spec import ModelSpec
    from suite.spec.run_spec import RunSpec

    Example = tuple[int, Tensor, int]  # index in the test set, image (C, H, W) of pixels in [0,1], label
Record = dict[str, Any]  # JSON values; "idx" is the image's index


@dataclass(frozen=True)
class Column:
    """One metric of a row: where a result has it, and how every reader sees it.

    - `key` its name in rows, in tables, in CSV and JSON;
    - `path` its dotted place in a result (`attack.best.median`);
    - `heading` above it in tables as wide as a terminal, and `title` where there is room;
    - `unit` of the number: a share is shown in percent;
    - `form` how it is printed, a format specification;
    - `help` what it is, in a sentence or two without a full stop at the end;
    - `larger_is_better` None where neither end is better;
    - `interval` the dotted places of the ends of its 95 % interval, where a result has them;
    - `of` for a count, the place of the total that it is counted of: it is shown as 19/80 and added up over seeds,
      whereas other metrics are averaged;
    - `compact` whether tables as wide as a terminal have it; the app and the exports have all columns;
    - `by_radius` for certified accuracies, which have a number at each of the board's radii.
    """

    key: str
    path: str
    heading: str
    title: str
    unit: Literal["share", "pixels", "seconds", "draws", "count", ""]
    form: str
    help: str
    larger_is_better: bool | None = None
    interval: tuple[str, str] | None = None
    of: str | None = None
    compact: bool = True
    by_radius: bool = False


@dataclass(frozen=True)
class Subject:
    """What a protocol examines, and what it may ask for besides.

    `model` is in evaluation mode on `device`. `records` gives this run's records of a protocol that this one `needs`;
    `other` gives another trained model on the device, in evaluation mode, trained first where no run has done it.
    """

    model: nn.Module
    spec: RunSpec
    batch_size: int
    device: torch.device
    records: Callable[[str], pd.DataFrame]
    other: Callable[[ModelSpec], nn.Module]


@dataclass(frozen=True)
class Protocol:
    """What the suite runs. The first line of its file's docstring is its command's help.

    - `indices` which of N test images a run covers;
    - `records` a record for each of the images given, in any order; each has "idx", and "claim": what it says, of
      which classifier, how surely and under which assumption;
    - `metrics` what all its records put into the run's result (JSON values);
    - `passes` about how many forward passes of one image it makes on N test images, for the time announced;
    - `settings` its section of a run's spec, None where it has none;
    - `resolve` fills in, of the settings given for its section, what follows from those of the run (both nested);
    - `columns` how its metrics are seen on a board;
    - `reads` settings of other sections, by dotted name, that its records depend on;
    - `needs` the protocols whose records it reads;
    - `needs_noise` whether it is about noise: a run of margin certificates, which have none, goes without;
    - `group_size` how many successive images go through the model as one batch, for a batch size, where the last digits
      of a record depend on that: such a group is made as a whole, also when a run goes on in the middle of it;
    - `in_parts` whether several processes may make the records of some images each, and they stay the same;
    - `faults` what is wrong with records by their own arithmetic, for `suite verify`, which has no network;
    - `version` to be raised when the same settings make other records, or when a setting's default changes.
    """

    indices: Callable[[RunSpec, int], Sequence[int]]
    records: Callable[[Subject, Iterable[Example]], Iterator[Record]]
    metrics: Callable[[RunSpec, pd.DataFrame], dict[str, Any]]
    passes: Callable[[RunSpec, int], float]
    settings: type[Frozen] | None = None
    resolve: Callable[[dict[str, Any], dict[str, Any]], dict[str, Any]] = lambda section, run: section
    columns: tuple[Column, ...] = ()
    reads: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    needs_noise: bool = False
    group_size: Callable[[RunSpec, int], int] = lambda spec, batch_size: 1
    in_parts: bool = True
    faults: Callable[[RunSpec, pd.DataFrame], Iterator[str]] = lambda spec, records: iter(())
    version: int = 1


def columns() -> dict[str, Column]:
    """The columns of all protocols by key, in the order of the registry; the first of a key counts.

    Protocols of other packages that do not load are left out.
    """
    found: dict[str, Column] = {}
    for protocol in PROTOCOLS.loadable().values():
        for column in protocol.columns:
            found.setdefault(column.key, column)
    return found


def draws_per_image(protocol: str, spec: RunSpec) -> int:
    """Of the noise, in a step of a protocol that searches; 0 for a single pass."""
    return 0 if spec.deployed == "pass" else int(getattr(spec, protocol).draws)


def images_per_batch(protocol: str, spec: RunSpec, batch_size: int) -> int:
    """How many images such a protocol takes at once, all their draws in one batch as far as they fit."""
    return max(1, batch_size // (draws_per_image(protocol, spec) or 1))


def examples(split: Images, indices: Sequence[int]) -> Iterator[Example]:
    """The images of a split by index, decoded ahead where the split streams."""
    import torch

    groups = torch.tensor(indices, dtype=torch.int64).split(64)
    for group, images in zip(groups, split.batches(groups), strict=True):
        for index, image, label in zip(group.tolist(), images, split.labels[group].tolist(), strict=True):
            yield index, image.float() / 255, label


def stack(images: Iterable[Example], size: int, device: torch.device) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of at most `size` examples: their indices, pixels (B, C, H, W) and labels (B,)."""
    import torch

    stream = iter(images)
    while group := list(islice(stream, size)):
        indices, pixels, labels = zip(*group, strict=True)
        yield list(indices), torch.stack(pixels).to(device), torch.tensor(labels, device=device)
