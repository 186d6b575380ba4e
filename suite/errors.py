"""What a user can do wrong, said in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import import_module


class UserError(Exception):
    """A mistake that the user can fix: the command line prints it as one line and exits with 2."""


# what code raises that meets content of other types, names or sizes than it was written for: that of a damaged file
MISFIT = (ValueError, TypeError, KeyError, AttributeError, IndexError, ArithmeticError, RecursionError)


class OtherArchitecture(UserError):
    """Weights of another network than the one that they are for."""


class Diverged(UserError):
    """Training whose loss or weights are no longer finite."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name nobody registered, with the nearest known one suggested."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown {kind} '{name}': {hint}known: {', '.join(names)}")


def require(user: str, extra: str, *modules: str) -> None:
    """Raises UserError, naming the extra of this package to install, where a module that `user` needs is missing."""
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            reason = "" if error.name == module else f" (it does not import: {error})"
            raise UserError(f"{user} needs {module}{reason}: pip install 'l2-robustness-suite[{extra}]'") from error


def comes_of_interrupt(error: BaseException | None) -> bool:
    """Whether it is Ctrl-C, or was raised while somebody cleaned up after it, as a database's driver does."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def unless_interrupted(error: Exception) -> None:
    """Raises KeyboardInterrupt where an error that is about to be survived comes of Ctrl-C, which must not be lost."""
    if comes_of_interrupt(error):
        raise KeyboardInterrupt from error


def first_line(error: BaseException) -> str:
    """What an error of other people's code says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
