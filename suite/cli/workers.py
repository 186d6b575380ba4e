"""The options of commands whose work many workers can share, and the executor that they name."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Annotated, Any

from suite.cli.options import add_options, option, parse_setting
from suite.errors import UserError

if TYPE_CHECKING:
    from suite.executors.executor import Executor


def executors() -> list[str]:
    from suite.executors import EXECUTORS

    return list(EXECUTORS.paths())


WORKERS = "Workers"
OPTIONS: dict[str, tuple[Any, Any]] = {  # by parameter: its type and its default
    "executor": (
        Annotated[
            str | None,
            option(panel=WORKERS, help="local (worker processes), ray, or a package's own", autocompletion=executors),
        ],
        None,
    ),
    "workers": (
        Annotated[int | None, option(panel=WORKERS, min=1, help="tasks at once (default: a device or a core each)")],
        None,
    ),
    "devices": (
        Annotated[str | None, option(panel=WORKERS, help="cuda:0,cuda:1: one for each local worker, in turn")],
        None,
    ),
    "address": (
        Annotated[str | None, option(panel=WORKERS, help="of a Ray cluster (default: $RAY_ADDRESS, or begin one)")],
        None,
    ),
    "more": (
        Annotated[
            list[str] | None,
            option("--with", panel=WORKERS, metavar="KEY=VALUE", help="another setting of the executor"),
        ],
        None,
    ),
    "shared_files": (
        Annotated[bool, option(panel=WORKERS, help="whether the workers see the folder of the runs")],
        True,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Crew:
    """Who does the work of a command, as its options say."""

    executor: str | None = None
    workers: int | None = None
    devices: str | None = None
    address: str | None = None
    more: list[str] | None = None
    shared_files: bool = True

    @property
    def given(self) -> list[str]:
        """The options that were given, as they are written."""
        changed = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        written = {"more": "--with", "shared_files": "--no-shared-files"}
        return [written.get(name, f"--{name}") for name in changed]

    @contextmanager
    def at_work(self, device: str, *, asked: bool = False) -> Iterator[Executor | None]:
        """The executor, closed at the end; None where no option names one, and none is `asked` for otherwise.

        Meanwhile SIGTERM ends the command as Ctrl-C does, so workers end with it.
        """
        from suite.executors import open_executor
        from suite.leftovers import sweep

        if not (self.given or asked):
            yield None
            return
        sweep(Path(gettempdir()))  # of folders that workers had for themselves
        name = "local" if self.executor is None else self.executor
        with open_executor(name, self._settings(name, device)) as executor:
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                yield executor
            finally:
                signal.signal(signal.SIGTERM, before)

    def _settings(self, name: str, device: str) -> dict[str, Any]:
        """The executor's, by name. Raises UserError for an option that it would not heed."""
        devices = None if self.devices is None else self.devices.split(",")
        options: dict[str, Any] = {"workers": self.workers, "devices": devices, "address": self.address}
        more = dict(map(parse_setting, self.more or ()))
        for key, _, value in (text.partition("=") for text in self.more or ()):
            if key == "executor" or key in options:
                raise UserError(f"--with {key}={value}: write --{key} {value}")
        if name == "local" and self.address is not None:
            raise UserError("--address is of a Ray cluster: add --executor ray")
        if name == "local" and not self.shared_files:
            raise UserError("--no-shared-files is for workers on other machines: add --executor ray")
        if "" in (self.address, *(devices or ())):
            raise UserError("--address and --devices take no empty name")
        if device != "auto":
            if devices:
                raise UserError("--device is one worker's and --devices are several workers': give one of the two")
            options["devices"] = [device]
        return {option: value for option, value in options.items() if value is not None} | more


def with_workers(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes a `crew`, with the options that name it."""
    names = {field.name for field in fields(Crew)}

    @wraps(command)
    def shared_command(**given: Any) -> None:
        crew = Crew(**{name: given.pop(name) for name in names})
        command(crew=crew, **given)

    add_options(shared_command, command, OPTIONS, instead_of="crew")
    return shared_command
