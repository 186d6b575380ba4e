"""Names to things: built in by import path, or registered by another package through an entry point."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from suite.errors import UserError, unknown

T = TypeVar("T")


@cache
def others(group: str, path: tuple[str, ...]) -> dict[str, str]:
    """What installed packages add, read once for a path: every look at them takes milliseconds."""
    return {point.name: point.value for point in entry_points(group=group)}


class Registry(Generic[T]):
    """Looks a thing up by name and imports it only then.

    `builtin` maps each name to "module:attribute". Any installed package adds to it with an entry point in `group`,
    for example in its pyproject.toml::

        [project.entry-points."suite.methods"]
        my-method = "my_package.my_method:MyMethod"
    """

    def __init__(self, kind: str, group: str, builtin: dict[str, str]):
        self.kind, self.group, self.builtin = kind, group, builtin

    def paths(self) -> dict[str, str]:
        """Every registered name and the import path behind it; a built-in name cannot be taken over."""
        return others(self.group, tuple(sys.path)) | self.builtin

    def get(self, name: str) -> T:
        """The thing called `name`. Raises UserError for an unknown name, or one whose module does not import."""
        paths = self.paths()
        if name not in paths:
            raise unknown(self.kind, name, paths)
        module, _, attribute = paths[name].partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise UserError(
                f"{self.kind} '{name}' is registered as {paths[name]}, which fails to load: {error}"
            ) from error

    def summary(self, name: str) -> str:
        """The first line of the docstring of the module that has it, read without importing it; empty without one."""
        spec = importlib.util.find_spec(self.paths()[name].partition(":")[0])
        if spec is None or spec.origin is None:
            return ""
        docstring = ast.get_docstring(ast.parse(Path(spec.origin).read_bytes())) or ""
        return docstring.partition("\n")[0]

    def loadable(self) -> dict[str, T]:
        """Everything that loads, by name; what another package registers and that fails to load is left out."""
        found = {}
        for name in self.paths():
            try:
                found[name] = self.get(name)
            except UserError:
                if name in self.builtin:
                    raise
        return found
