"""Folders of a store as values, for a process that does not share its files."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from suite.store.files import write_atomically

Packed = dict[str, dict[str, bytes]]  # files by name, of folders by their place in the store
COMPLETE = ("model.safetensors", "result.json")  # say that a model, or a run, is all there


def pack(runs: Path, folders: Iterable[Path], but: Collection[str] = ()) -> Packed:
    """The files of those folders of a store that are there, but for some names, and for what is being made."""
    return {
        folder.relative_to(runs).as_posix(): {
            file.name: file.read_bytes()
            for file in sorted(folder.iterdir())
            if file.is_file() and not file.name.startswith(".") and file.name not in but
        }
        for folder in folders
        if folder.is_dir()
    }


def unpack(runs: Path, packed: Packed) -> None:
    """Put folders into a store, file by file: at any moment each is one that a process was killed in, or complete."""
    for place, content in packed.items():
        (runs / place).mkdir(parents=True, exist_ok=True)
        for name in sorted(content, key=lambda name: name in COMPLETE):
            write_atomically(runs / place / name, content[name])
