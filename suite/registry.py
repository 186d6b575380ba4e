"""Names to things: built in by import path, or registered by another package through an entry point."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from suite.errors import UserError, first_line, unknown
from suite.progress import logger

T = TypeVar("T")


class Registry(Generic[T]):
    """Looks a thing up by name and imports it only then.

    `builtin` maps each name to "module:attribute". Any installed package adds to it with an entry point in `group`,
    for example in its pyproject.toml::

        [project.entry-points."suite.methods"]
        my-method = "my_package.my_method:MyMethod"

    and a notebook with `register`. `of` is the import path of the class that things are instances or subclasses of;
    empty where anything that can be called will do.
    """

    def __init__(self, kind: str, group: str, builtin: dict[str, str], of: str = ""):
        self.kind, self.group, self.builtin, self.of = kind, group, builtin, of
        self._registered: dict[str, T] = {}
        self._left_out: set[str] = set()

    def register(self, name: str, thing: T) -> None:
        """Add a thing in this process alone, or replace it. Raises UserError for the name of a built-in one."""
        if name in self.builtin:
            raise UserError(f"{self.kind} '{name}' is built in: choose another name")
        self._registered[name] = thing

    def paths(self) -> dict[str, str]:
        """Every name and the import path behind it, built-in ones first: none of these can be taken over."""
        here = {name: f"{type(thing).__name__} of this process" for name, thing in self._registered.items()}
        return self.builtin | read_entry_points(self.group, tuple(sys.path)) | here | self.builtin

    def get(self, name: str) -> T:
        """The thing called `name`. Raises UserError for an unknown name, and for another package's that fails to load.

        An error in a built-in module is raised as it is.
        """
        return self._get(name, self.paths())

    def _get(self, name: str, paths: dict[str, str]) -> T:
        if name in self._registered:
            return self._registered[name]
        if name not in paths:
            raise unknown(self.kind, name, paths)
        try:
            found = cast(T, load(paths[name]))
            if name not in self.builtin and not self._fits(found):
                raise TypeError(f"it is not a {self.of.rpartition(':')[2] or 'function'}")
        except (Exception, SystemExit) as error:  # other people's code may raise anything
            if name in self.builtin:
                raise
            raise UserError(
                f"{self.kind} '{name}' is registered as {paths[name]}, which fails to load: {first_line(error)}"
            ) from error
        return found

    def loadable(self) -> dict[str, T]:
        """Everything that loads, by name. What fails to load is left out, with one line of warning in a process."""
        found, paths = {}, self.paths()
        for name in paths:
            if name in self._left_out:
                continue
            try:
                found[name] = self._get(name, paths)
            except UserError as error:
                self._left_out.add(name)
                logger.warning(f"left out: {error}")
        return found

    def summary(self, name: str) -> str:
        """The first line of the docstring of the module that has it, read without importing it; empty without one."""
        module = self.paths()[name].partition(":")[0]
        try:
            spec = importlib.util.find_spec(module)
            source = Path(spec.origin).read_bytes() if spec and spec.origin else b""
            return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        except (Exception, SystemExit):  # a parent package of somebody else's is imported, and may raise anything
            return ""

    def _fits(self, thing: object) -> bool:
        if not self.of:
            return callable(thing)
        kind = load(self.of)
        assert isinstance(kind, type)
        return isinstance(thing, kind) or (isinstance(thing, type) and issubclass(thing, kind))


@cache
def read_entry_points(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """What installed packages add, read once for a path: every look at them takes milliseconds."""
    return {point.name: point.value.partition("[")[0].strip() for point in entry_points(group=group)}


def load(path: str) -> object:
    """What is at "module:attribute", or "module:Class.attribute"."""
    module, _, attribute = path.partition(":")
    found: object = importlib.import_module(module)
    for name in attribute.split("."):
        found = getattr(found, name)
    return found
