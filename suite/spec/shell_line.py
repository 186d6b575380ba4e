"""The shell line that makes a run again, on any machine."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from suite.spec.profiles import PROFILES
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS

CERTIFY = tuple(
    f"certify.{name}"
    for name in ("kind", "deployed", "n0", "n", "alpha", "images", "sampling", "radii", "noise", "precision")
)
DECISIVE = ("certify.deployed", "certify.kind")  # what is usual for other settings of certify follows from these
RUN = ("arch", "sigma", "seed", "training.epochs", "training.lr", "parameters.kappa", *CERTIFY)
CHECKPOINT = ("parameters.mean", "parameters.std", *CERTIFY)
WORD = re.compile(r"(?!(true|false|null|NaN|Infinity)$)[A-Za-z_./~][\w./~-]*")


def command(spec: RunSpec, protocols: Sequence[str]) -> str:
    """The shortest `suite run …` that goes through `protocols` with this spec; `suite certify …` for a checkpoint.

    What is left to the machine, the precision of training, and to the board, the radii of adaptive sampling, is written
    out: the digest is the same elsewhere and later.
    """
    given, changed = what_differs(spec)
    if spec.arch.startswith("python:"):
        return python_call(spec, changed, protocols)
    usual = RunSpec(**given, **changed).protocols
    options: tuple[str, ...] = RUN
    if certifies := spec.method == "checkpoint" and set(protocols) == {"accuracy", "certify"}:
        words = ["certify", "--checkpoint", given["file"], "--dataset", spec.dataset, "--arch", spec.arch]
        words += [] if spec.sigma is None else ["--sigma", str(spec.sigma)]
        words += setting("profile", spec.profile)
        changed = {name: value for name, value in changed.items() if name not in ("arch", "sigma")}
        options = CHECKPOINT
    else:
        words = ["run", "--method", spec.method, "--dataset", spec.dataset, "--profile", spec.profile]
        words += ["--init", given["init"]] if "init" in given else []
        words += setting("file", given["file"]) if "file" in given else []
    for name, value in changed.items():
        if name in options and value is not None:
            text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
            words += [f"--{name.rpartition('.')[2]}", text]
        else:
            words += setting(name, value)
    if not certifies and set(protocols) != set(usual):
        words += ["--protocols", "all" if set(protocols) == set(PROTOCOLS.loadable()) else ",".join(protocols)]
    return shlex.join(["suite", *words])


def python_call(spec: RunSpec, changed: dict[str, Any], protocols: Sequence[str]) -> str:
    """The call that makes the row of a network from Python, which no shell has."""
    own = {"name": changed["parameters.name"], "protocols": list(protocols), "profile": spec.profile}
    own |= {name: changed[name] for name in ("sigma", "seed") if name in changed}
    more = {
        name: value
        for name, value in changed.items()
        if name not in ("arch", "sigma", "seed") and not name.startswith("parameters.")
    }
    words = [f"{name}={value!r}" for name, value in own.items()]
    return f"suite.evaluate(model, {spec.dataset!r}, {', '.join(words)}{f', **{more!r}' if more else ''})"


def what_differs(spec: RunSpec) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a spec begins with (method, data set, profile, files), and its settings that do not follow from that."""
    given: dict[str, Any] = {"method": spec.method, "dataset": spec.dataset, "profile": spec.profile}
    if spec.method == "checkpoint":
        given |= {"file": spec.parameters["file"], "sha256": spec.parameters["sha256"]}
    if spec.start and spec.start.method == "checkpoint":
        given |= {"init": spec.start.parameters["file"], "start.sha256": spec.start.parameters["sha256"]}
    automatic = PROFILES[spec.profile]["training"].get("precision") == "auto"
    wanted = dict(settings(spec.model_dump(mode="json")))
    wanted = {DECISIVE[0]: wanted.pop(DECISIVE[0])} | wanted
    if spec.sigma is None:  # which follows from a margin
        del wanted["sigma"]
    changed: dict[str, Any] = {}
    for _, section in groupby(wanted, key=lambda name: name if name in DECISIVE else name.rpartition(".")[0]):
        usual = dict(settings(RunSpec(**given, **changed).model_dump(mode="json")))
        for name in section:
            left_to_machine = automatic and name.endswith("training.precision")
            left_to_board = name == "certify.radii" and wanted[name]
            if left_to_machine or left_to_board or name not in usual or usual[name] != wanted[name]:
                changed[name] = wanted[name]
    return given, changed


def settings(model: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The settings of a run or model by dotted name: its own, those of its sections, those of models within it.

    But for what follows from others: the data, a file's SHA-256, the profile and the protocols.
    """
    derived = ("data", "sha256", "profile", "protocols", *(("dataset",) if prefix else ("method", "dataset")))
    models = {"start": model.get("start")}
    sections = [name for name, value in model.items() if isinstance(value, dict) and name != "start"]
    for name, value in model.items():
        if name not in (*sections, *derived, "start"):
            yield f"{prefix}{name}", value
    for section in sections:
        for name, value in model[section].items():
            if isinstance(value, dict):
                models[f"{section}.{name}"] = value
            elif name not in derived:
                yield f"{prefix}{section}.{name}", value
    for nested, found in models.items():
        if found:
            yield from settings(found, f"{prefix}{nested}.")


def setting(name: str, value: Any) -> list[str]:
    """As --set takes it: JSON, or text that cannot be taken for JSON or for a list."""
    plain = isinstance(value, str) and WORD.fullmatch(value)
    return ["--set", f"{name}={value if plain else json.dumps(value, separators=(',', ':'))}"]
