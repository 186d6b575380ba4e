"""What a run's folder holds for MLflow: settings as params, measurements as metrics, what it is as tags."""

from __future__ import annotations

import getpass
import hashlib
import json
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import UserError
from suite.spec.names import flatten
from suite.spec.sections import PROTOCOLS
from suite.spec.shell_line import command
from suite.store.files import read_json
from suite.store.read import read_spec
from suite.store.result import upgrade

if TYPE_CHECKING:
    from mlflow.entities import Metric

    from suite.spec.model_spec import ModelSpec

Point = tuple[str, float, int, int]  # a metric's name, value, step and time
ABOUT = ("method", "dataset", "data", "arch", "profile", "kind", "deployed")
# numbers of a result that are settings of the run or sizes of its data, which MLflow has as params
CONSTANT = {
    "schema", "seed", "sigma", "trained_sigma", "top", "every", "images", "n0", "n", "alpha", "single_pass_images",
    "batch", "threads", "samples",
}  # fmt: skip


@dataclass(frozen=True)
class Content:
    """What is known of a run now. `stamp` is of its result, and empty before there is one."""

    spec: dict[str, Any]
    environment: dict[str, Any]
    result: dict[str, Any]
    stamp: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    model: str = ""  # the name of the model's spec: runs that share it have the same
    starts: tuple[str, ...] = ()  # and of those that its training began with, the nearest first

    @property
    def data(self) -> dict[str, Any]:
        """Shape, number of classes and sizes of the data set; empty in a run of an earlier version."""
        found: dict[str, Any] = self.environment.get("data", {})
        return found


def read_content(folder: Path) -> Content:
    """All that a run's folder holds, finished or not; what is not there is empty."""
    spec, environment = (_read(folder / name) for name in ("spec.json", "environment.json"))
    file = folder / "result.json"
    raw = file.read_bytes() if file.exists() else b""
    result = upgrade(json.loads(raw)) if raw else {}
    tags, names = dict[str, str](), list[str]()
    with suppress(UserError, FileNotFoundError):  # of another version, or with a plugin that is not here
        found = read_spec(folder)
        names = [each.name for each in lineage(found.model)]
        tags |= {
            "method": found.build_method().label or found.method,
            "dataset": found.dataset,
            "arch": found.arch,
            "profile": found.profile,
            "command": command(found, found.protocols),
            "protocols": ",".join(found.protocols),
        }
    tags |= {name: str(result[name]) for name in (*ABOUT, "claim", "command") if result.get(name) is not None}
    tags |= {"protocols": ",".join(result["protocols"])} if result.get("protocols") else {}
    return Content(
        spec, environment, result,
        stamp=hashlib.sha256(raw).hexdigest() if raw else "",
        params=params_of(spec, result.get("protocols", ())),
        tags={f"suite.{name}": text for name, text in tags.items()} | source_tags(environment),
        metrics=metrics_of(result),
        model=names[0] if names else "",
        starts=tuple(names[1:]),
    )  # fmt: skip


def lineage(spec: ModelSpec) -> list[ModelSpec]:
    """A model and those that its training began with, the nearest first."""
    return [spec, *(lineage(spec.start) if spec.start else ())]


def params_of(spec: Mapping[str, Any], measured: Any) -> dict[str, str]:
    """The settings of a run, but for sections of protocols that it was neither asked for nor has records of.

    MLflow takes a param once and for all; these are what may still change in the same folder.
    """
    asked = {*spec.get("protocols", ()), *measured}
    idle = {name for name in PROTOCOLS.paths() if name not in asked}
    kept = {name: value for name, value in spec.items() if name not in idle and name not in ("schema", "protocols")}
    return {name: str(value) for name, value in flatten(kept).items()}


def metrics_of(result: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a result that were measured: not its settings, which a protocol's part may repeat."""
    settings = {name: _settings(name) for name in PROTOCOLS.loadable() if isinstance(result.get(name), Mapping)}
    found = {}
    for path, value in flatten(result).items():
        head, _, rest = path.partition(".")
        leaf = path.rpartition(".")[2]
        constant = leaf in CONSTANT or (rest and leaf in settings.get(head, ()))
        if isinstance(value, int | float) and not constant:
            found[path] = float(value)
    return found


def _settings(protocol: str) -> set[str]:
    section = PROTOCOLS.get(protocol).settings
    return set(section.model_fields) if section else set()


def source_tags(environment: Mapping[str, Any]) -> dict[str, str]:
    """The commit of the code that made the run, as MLflow names it; nothing where it was no checkout."""
    commit = str(environment.get("git_commit") or "")
    if not commit:
        return {}
    dirty = commit.endswith("-dirty")
    return {"mlflow.source.git.commit": commit.removesuffix("-dirty"), "mlflow.source.git.dirty": str(dirty).lower()}


def own_tags() -> dict[str, str]:
    """Who makes a run, where, and with what: tags that a run in MLflow gets once, when it is made there."""
    found = {"mlflow.source.name": "suite", "mlflow.source.type": "LOCAL", "suite.host": platform.node()}
    with suppress(OSError, KeyError, ImportError):  # a user without an entry in the system's list
        found["mlflow.user"] = getpass.getuser()
    return found


def loss_points(entry: Mapping[str, float], prefix: str = "") -> list[Point]:
    """A point of a training's history as metrics. The step is the optimizer's; `training.epoch` counts passes.

    An entry of an earlier version lacks its step: it stands at 1,000 times its epoch.
    """
    names = ("loss", "epoch", "lr") if "step" in entry else ("loss",)
    step = int(entry.get("step", round(1000 * entry["epoch"])))
    return [(f"{prefix}training.{name}", float(entry[name]), step, now()) for name in names]


def now() -> int:
    """The time as MLflow has it, in milliseconds."""
    return int(1000 * time.time())


def make_metrics(values: Mapping[str, object]) -> list[Metric]:
    """The values that are numbers, as metrics."""
    return [make_metric(name, value) for name, value in values.items() if isinstance(value, float | int)]


def make_metric(name: str, value: float, step: int = 0, time: int | None = None, model: str | None = None) -> Metric:
    """A metric, of now unless it was measured at another `time`."""
    from mlflow.entities import Metric

    return Metric(name.replace("@", "."), float(value), time or now(), step, model_id=model)


def _read(file: Path) -> dict[str, Any]:
    found = read_json(file) if file.exists() else {}
    return found if isinstance(found, dict) else {}
