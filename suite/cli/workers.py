"""The options of commands whose work many workers can share, and the executor that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import wraps
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

    @contextmanager
    def at_work(self, device: str, *, asked: bool = False) -> Iterator[Executor | None]:
        """The executor, closed at the end; None where no option names one, and none is `asked` for otherwise."""
        from suite.executors import open_executor

        given: dict[str, Any] = {
            "workers": self.workers, "devices": self.devices and self.devices.split(","), "address": self.address,
        }  # fmt: skip
        more = dict(map(parse_setting, self.more or ()))
        if twice := sorted(given.keys() & more.keys()):
            raise UserError(f"--with {twice[0]}=…: that is the option --{twice[0]}")
        given = {name: value for name, value in given.items() if value} | more
        if "address" in given and self.executor in (None, "local"):
            raise UserError("--address is of a Ray cluster: add --executor ray")
        if not (self.executor or given or asked):
            yield None
            return
        if device != "auto":
            if "devices" in given:
                raise UserError("--device is one worker's and --devices are several workers': give one of the two")
            given["devices"] = [device]
        with open_executor(self.executor or "local", given) as executor:
            yield executor


def with_workers(command: Callable[..., None]) -> Callable[..., None]:
    """A command that takes a `crew`, with the options that name it."""
    names = {field.name for field in fields(Crew)}

    @wraps(command)
    def shared_command(**given: Any) -> None:
        crew = Crew(**{name: given.pop(name) for name in names})
        command(crew=crew, **given)

    add_options(shared_command, command, OPTIONS, instead_of="crew")
    return shared_command
