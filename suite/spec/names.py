"""The names of settings as people give them: flat (`lr`), dotted (`training.lr`) or nested; inside they are nested."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from suite.errors import UserError
from suite.spec.sections import PROTOCOLS, Training, section_types

if TYPE_CHECKING:
    from methods import Method

RUN = ("method", "dataset", "data", "arch", "sigma", "seed", "start", "profile", "protocols")
TEXTS = ("method", "dataset", "profile", "arch", "init")
TABLES = ("training", "parameters", "start", *(name for name in PROTOCOLS.builtin if name != "accuracy"))
FLAT = ("training", "certify", "parameters")  # sections whose settings need no dotted name


def check_kinds(given: Mapping[str, Any]) -> None:
    """Raise UserError for a value that is none of its kind: names are text, sections and models are tables."""
    for name, value in given.items():
        last = name.rpartition(".")[2]
        if last in TEXTS and name in (last, f"start.{last}") and not (isinstance(value, str) and value):
            raise UserError(f"{name} is a name, not {value!r}")
        if name in ("sigma", "seed") and isinstance(value, bool):
            raise UserError(f"{name} is a number, not {value!r}")
        if last in TABLES and name.count(".") < 2 and not isinstance(value, dict) and (last, value) != ("start", None):
            raise UserError(f"{name} is a section of settings, not {value!r}: --set {name}.SETTING=VALUE")
    protocols = given.get("protocols", "all")
    listed = isinstance(protocols, list | tuple) and all(isinstance(name, str) for name in protocols)
    if not protocols or not (isinstance(protocols, str) or listed):
        raise UserError(f"protocols are names, with commas, or all, not {protocols!r}")


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `under`, section by section."""
    merged = dict(under)
    for name, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if nested else value
    return merged


def flatten(tree: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """A tree of settings with dotted names."""
    found = {f"{prefix}{name}": value for name, value in tree.items() if not isinstance(value, Mapping)}
    for name, value in tree.items():
        found |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {}
    return found


def nest(given: dict[str, Any], kind: type[Method[Any]]) -> dict[str, Any]:
    """Flat and dotted settings put into their sections. Raises UserError for a name that no section has."""
    sections = section_fields(kind)
    nested: dict[str, Any] = {}
    for name, value in given.items():
        head, _, rest = name.partition(".")
        if rest and head == "start":
            if not (kind.starts_from or given.get("start")):
                raise UserError(f"'{name}': {given['method']} starts from no other model")
            nested = merge(nested, {head: {rest: value}})
        elif rest and head in sections:
            field, _, inner = rest.partition(".")  # of a model within a section
            nested = merge(nested, {head: {field: {inner: value} if inner else value}})
        elif not rest and (name in RUN or name in sections):
            nested = merge(nested, {name: value})
        elif homes := [section for section in FLAT if not rest and name in sections[section]]:
            nested = merge(nested, {homes[0]: {name: value}})
        else:
            raise unknown_setting(name, kind)
    for section, fields in sections.items():
        for name in nested.get(section, {}):
            if name not in fields:
                raise unknown_setting(f"{section}.{name}", kind)
    return nested


def section_fields(kind: type[Method[Any]]) -> dict[str, set[str]]:
    """The settings of each section of a run with a method of this kind."""
    types: dict[str, type[BaseModel]] = {"training": Training, **section_types(), "parameters": kind.Parameters}
    return {name: set(section.model_fields) for name, section in types.items()}


def unknown_setting(name: str, kind: type[Method[Any]]) -> UserError:
    """The error for a setting nobody has; the nearest is suggested, by its short name."""
    sections = section_fields(kind)
    head, _, last = name.rpartition(".")
    if head in sections and head not in FLAT:
        known = sorted(sections[head])
    else:
        known = sorted((set(RUN) - {"data", "start"}).union(*(sections[section] for section in FLAT)))
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown setting '{name}': {hint}known: {', '.join(known)}")
