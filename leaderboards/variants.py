"""What sets rows of one method and network apart: the settings in which their commands differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from leaderboards.rows import Row
from suite.spec.sections import PROTOCOLS
from suite.spec.shell_line import CERTIFY

WORDS = re.compile(r"'([^']*)'|(\S+)")  # of a shell line; shlex takes a hundred times as long
SHOWN = {"dataset", "method", "arch", "sigma", "seed", "protocols", *(name.rpartition(".")[2] for name in CERTIFY)}
SECTIONS = ("training.", "parameters.")  # a setting goes by its last part: κ is kappa


def name_variants(rows: Sequence[Row]) -> list[Row]:
    """The rows, those of runs with `variant`: "start.method=average", "kappa=5, epochs=3".

    A setting is named where rows of the same method, network and data differ in it; a row without it has the usual
    value. What the board shows besides, σ and what certificates are made with, is not named, nor are seeds.
    """
    alike: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.source == "run":
            alike.setdefault((row.method, row.arch, row.data), []).append(row)
    variants = {}
    for group in alike.values():
        given = [settings_of(row.command).items() for row in group]
        shared = set.intersection(*map(set, given))
        for row, own in zip(group, given, strict=True):
            variants[row.run_id] = ", ".join(f"{name}={value}" for name, value in own if (name, value) not in shared)
    return [replace(row, variant=variants[row.run_id]) if variants.get(row.run_id) else row for row in rows]


def settings_of(command: str) -> dict[str, str]:
    """The settings that a row's command gives, by name; of several commands, which differ in the seed, the first's."""
    words = [quoted or plain for quoted, plain in WORDS.findall(command.partition(" && ")[0])]
    found = {}
    for option, value in pairwise(words):
        name, text = value.partition("=")[::2] if option == "--set" else (option.removeprefix("--"), value)
        if option.startswith("--") and not is_shown(name):
            for section in SECTIONS:
                name = name.removeprefix(section)
            found[name] = text
    return found


def is_shown(name: str) -> bool:
    """Whether the board has it elsewhere: in its title, in a column, or in the results of a protocol."""
    return name in SHOWN or name.endswith(".sigma") or name.partition(".")[0] in PROTOCOLS.paths()
