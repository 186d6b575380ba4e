"""Where Hugging Face's tools put the shards of a split, and which of them belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from suite.errors import UserError

FIRST = ("data", "plain_text", "default", "cropped_digits")  # of several configurations, these are taken
DEEPEST, MOST = 4, 20  # how far below a folder shards are looked for: levels, and folders in each
SPLITS = ("train", "test", "val", "valid", "validation")


def shards_of(folder: Path, split: str) -> list[Path]:
    """The shards of `split` in a folder, or in the folder within it that is called like the split.

    train.parquet, train-00000-of-00001-HASH.parquet, train/0000.parquet (as the hub converts data sets), and the
    `datasets` library's NAME-train.arrow and train/data-00000-of-00001.arrow. Raises UserError where their names say
    that some are missing.
    """
    for kind, named in ("parquet", rf"{split}(-.*)?\.parquet"), ("arrow", rf"(\w.*-)?{split}(-\d+-of-\d+)?\.arrow"):
        shards = [path for path in visible(folder) if re.fullmatch(named, path.name)]
        within = folder / split
        if not shards and within.is_dir():
            shards = [path for path in visible(within) if re.fullmatch(rf"(?!cache-).*\.{kind}", path.name)]
            folder = within if shards else folder
        if shards:
            _check_complete(folder, shards, split, kind)
            return shards
    return []


def _check_complete(folder: Path, shards: list[Path], split: str, kind: str) -> None:
    totals = [int(total[1]) for shard in shards if (total := re.search(r"-of-(\d+)", shard.name))]
    if totals and totals[-1] > len(shards):
        raise UserError(f"{folder} holds {len(shards)} of the {totals[-1]} {split}-*.{kind} files")
    if totals and totals != [len(shards)] * len(shards):
        names = ", ".join(shard.name for shard in shards[:4])
        raise UserError(f"{folder} holds {len(shards)} files of the {split} split that do not belong together: {names}")
    counted = [int(shard.stem) for shard in shards if shard.stem.isdigit()]
    missing = sorted(set(range(max(counted, default=-1) + 1)) - set(counted))
    if missing:
        raise UserError(f"{folder} lacks {missing[0]:04}.{kind}")


def places(folder: Path) -> list[Path]:
    """The folder and those below it that shards may lie in: configurations, and the caches of the hub and `datasets`.

    The folders of a split are left out, and so are many folders side by side, which are classes.
    """
    level = found = [snapshot(folder)] if folder.is_dir() else []
    for _ in range(DEEPEST):
        below = [path for place in level for path in visible(place) if path.is_dir() and path.name not in SPLITS]
        if len(below) > MOST:
            break
        level = sorted(below, key=lambda path: (path.name not in FIRST, path))
        found = found + level
    return found


def snapshot(folder: Path) -> Path:
    """The folder, or in the hub's cache the snapshot in it: main's, else the only one.

    Raises UserError where it cannot be told which of several is meant.
    """
    if not (folder / "snapshots").is_dir():
        return folder
    revisions = visible(folder / "snapshots")
    main = folder / "refs" / "main"
    named = folder / "snapshots" / main.read_text().strip() if main.is_file() else folder
    if named in revisions:
        return named
    if len(revisions) != 1:
        names = ", ".join(path.name for path in revisions) or "none"
        raise UserError(f"{folder} has several snapshots or none ({names}): give the path of one")
    return revisions[0]


def cached(root: Path, names: Sequence[str]) -> list[Path]:
    """The folders in `root` that the hub's cache or the `datasets` library's has for data sets of these names."""
    if not root.is_dir():
        return []
    pattern = rf"(datasets--)?([\w.-]+(--|___))?({'|'.join(map(re.escape, names))})"
    found = [path for path in visible(root) if ("--" in path.name or "___" in path.name) and path.is_dir()]
    return [path for path in found if re.fullmatch(pattern, path.name)]


def visible(folder: Path) -> list[Path]:
    """What is in a folder and not hidden, in the order of names."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
