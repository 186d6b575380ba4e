"""What sets rows of one method and network apart: the settings in which their commands differ."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from typing import Any, Protocol

import pandas as pd

from leaderboards.rows import Row
from suite.spec.sections import PROTOCOLS
from suite.spec.shell_line import CERTIFY

WORDS = re.compile(r"'([^']*)'|(\S+)")  # of a shell line without an apostrophe; shlex takes a hundred times as long
SHOWN = {"dataset", "method", "arch", "seed", "protocols", *(name.rpartition(".")[2] for name in CERTIFY)}
SECTIONS = ("training.", "parameters.")  # a setting goes by its last part: κ is kappa
CLASHES = ("training.precision",)  # but for one that would go by the name of another


class Commanded(Protocol):
    """A row with the command that makes it, or what will be one."""

    @property
    def run_id(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def arch(self) -> str: ...
    @property
    def data(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def sigma(self) -> float | None: ...
    @property
    def command(self) -> str: ...


def name_variants(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of runs with `variant`."""
    found = variants(row for row in rows if row.source == "run")
    return [replace(row, variant=found[row.run_id]) if found.get(row.run_id) else row for row in rows]


def variants(rows: Iterable[Commanded]) -> dict[str, str]:
    """What sets each row apart, by its run_id: "start.method=average", "kappa=5, epochs=3"; empty where nothing does.

    A setting is named where rows of the same method, network and data differ in it. A row without it has the value that
    its profile gives. What the board shows besides is not named: σ, what certificates are made with, and seeds. A row
    without a command is not told apart.
    """
    alike: dict[tuple[str, str, str], list[Commanded]] = {}
    for row in rows:
        if row.command:
            alike.setdefault((row.method, row.arch, row.data), []).append(row)
    found = {}
    for group in alike.values():
        given = [own_settings(row) for row in group]
        shared = set.intersection(*(set(own.items()) for own in given))
        for row, own in zip(group, given, strict=True):
            apart = (f"{name}={rounded(value)}" for name, value in own.items() if (name, value) not in shared)
            found[row.run_id] = ", ".join(apart)
    return found


def variant_text(row: Row | Any) -> str:
    """What sets a row, or a line of a table, apart from others of its method and network."""
    return ", ".join(filter(None, (row.variant, trained_at(row))))


def trained_at(row: Row | Any) -> str:
    """The noise of training, where the certificates of a vote have another: "trained at σ = 0.25"."""
    other = row.kind == "vote" and pd.notna(row.trained_sigma) and row.trained_sigma != row.sigma
    return f"trained at σ = {row.trained_sigma:g}" if other else ""


def own_settings(row: Commanded) -> dict[str, str]:
    """The settings of a row's command, without the σ of its votes, which its model and one it starts from may share."""
    own = f"{row.sigma:g}" if row.sigma is not None and row.kind == "vote" else None
    return {
        name: value
        for name, value in settings_of(row.command).items()
        if not (name == "sigma" and own) and not (name.endswith(".sigma") and rounded(value) == own)
    }


def settings_of(command: str) -> dict[str, str]:
    """The settings of its model that a shell line gives, by name; of several, which differ in the seed, the first's.

    Not what certificates and the other protocols are made with. Of a call in Python nothing is known.
    """
    if not command.startswith("suite run ") and not command.startswith("suite certify "):
        return {}
    words = shlex.split(command) if '"\'"' in command else [a or b for a, b in WORDS.findall(command)]
    words = words[: words.index("&&")] if "&&" in words else words
    found = {}
    for option, value in pairwise(words):
        name, text = value.partition("=")[::2] if option == "--set" else (option.removeprefix("--"), value)
        shown = name in SHOWN or name.endswith(".seed") or name.partition(".")[0] in PROTOCOLS.paths()
        if option.startswith("--") and not shown:
            for section in () if name in CLASHES else SECTIONS:
                name = name.removeprefix(section)
            found[name] = text
    return found


def rounded(value: str) -> str:
    """A number to three digits, as its text."""
    with suppress(ValueError):
        return f"{float(value):.3g}"
    return value
