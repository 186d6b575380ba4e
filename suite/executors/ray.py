"""Ray: workers of a Ray cluster, on this machine or on many."""

from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from threading import Lock, current_thread, main_thread
from typing import Any

from suite.errors import UserError, first_line, require
from suite.executors.executor import Answer, Executor, Function, Lost, answer

GRACE = 5.0  # seconds that interrupted workers have to end


class Ray(Executor):
    """Tasks of a Ray cluster: of the one at `address`, else of $RAY_ADDRESS, else of one begun here.

    Each has one CPU and, where the cluster has GPUs, `gpus` of them (a fraction lets tasks share one). Without
    `workers` as many tasks are at work as the cluster has room for when it is first used.
    """

    def __init__(
        self,
        workers: int | None = None,
        devices: Sequence[str] = (),
        address: str | None = None,
        cpus: float = 1,
        gpus: float = 1,
    ):
        require("--executor ray", "ray", "ray")
        if any(device != "cpu" for device in devices):
            raise UserError("Ray gives each task its device: --device and --devices take cpu alone, or leave them out")
        for name, value in (("cpus", cpus), ("gpus", gpus)):
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < 1e6:
                raise UserError(f"--with {name}={value}: a task takes a number of {name} above 0")
        self._address, self._asked, self._cpus = address or os.environ.get("RAY_ADDRESS"), workers, cpus
        self._gpus = 0 if devices else gpus
        self._ours = self._closed = False
        self._refs: set[Any] = set()
        self._giving = Lock()  # so that no task is given to a cluster that is closed: Ray would begin another one

    @cached_property
    def _ray(self) -> Any:
        """The module, connected to a cluster."""
        import ray

        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        if not ray.is_initialized():
            quietly: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
            if not self._address:
                quietly |= {"include_dashboard": False, "num_cpus": self._asked and math.ceil(self._asked * self._cpus)}
            self._ours = True
            try:
                with _own_sigterm():
                    ray.init(self._address or "local", **quietly)  # not one that somebody has begun here
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(f"no Ray cluster at {self._address or 'this machine'}: {first_line(error)}") from error
        return ray

    @cached_property
    def workers(self) -> int:  # type: ignore[override]
        has = self._ray.cluster_resources()
        self._gpus = self._gpus if has.get("GPU") else 0
        room = has["GPU"] / self._gpus if self._gpus else has.get("CPU", 1) / self._cpus
        return self._asked or max(1, int(room))

    @cached_property
    def _remote(self) -> Any:
        options = {"num_cpus": self._cpus, "num_gpus": self._gpus if self.workers else 0, "max_retries": 0}
        return self._ray.remote(**options)(_there)

    def carry_out(self, function: Function, argument: Any) -> Answer:
        from ray.exceptions import RayError, RayTaskError

        with self._giving:
            if self._closed:
                raise Lost("the executor is closed")
            ref = self._remote.remote(sys.path, pickle.dumps((function, argument)))
            self._refs.add(ref)
        try:
            given: Answer = self._ray.get(ref)
            return given
        except RayTaskError as error:
            raise error.cause or error from error
        except RayError as error:
            raise Lost(type(error).__name__) from error
        finally:
            self._refs.discard(ref)

    def close(self) -> None:
        with self._giving:
            self._closed = True
        if not self._ours and not self._refs:
            return
        import ray
        import psutil  # Ray's own, after it  # isort: skip

        left = list(self._refs)
        for force in (False, True):
            for ref in left:
                ray.cancel(ref, force=force)
            if left:
                _, left = ray.wait(left, num_returns=len(left), timeout=GRACE)
        if self._ours:
            begun = [] if self._address else _processes()
            ray.shutdown()
            for process in begun:  # agents of a node that was interrupted while it began would look for it for minutes
                with suppress(psutil.Error):
                    process.kill()


def _processes() -> list[Any]:
    """Those of Ray's that this process has begun, itself or by others."""
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if any("/ray/" in word or word.startswith("ray::") for word in process.cmdline()):
                found.append(process)
    return found


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """What SIGTERM does to this process stays as it is; meanwhile, as Ray has it end the process, it is Ctrl-C."""
    if current_thread() is not main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    except SystemExit as error:
        raise KeyboardInterrupt from error
    finally:
        signal.signal(signal.SIGTERM, before)


def _there(path: list[str], task: bytes) -> Answer:
    """A task in a worker of Ray's, with the modules of where it was given, as far as they are here."""
    sys.path += [place for place in path if place not in sys.path and os.path.exists(place)]
    function, argument = pickle.loads(task)
    return answer(function, argument)
