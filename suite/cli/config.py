"""Settings of runs from a file: TOML of one's own, or what another run was made with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.spec.names import check_kinds, merge, nest


def read_config(file: Path) -> dict[str, Any]:
    """What a TOML file says, or what makes the run of a spec.json, or of a run's folder, again.

    Settings are flat, dotted or nested, as `RunSpec` takes them; sigma and seed may be lists. Raises UserError.
    """
    from suite.spec.shell_line import what_differs
    from suite.store.read import read_spec

    try:
        if file.is_dir() or file.suffix == ".json":
            spec = read_spec(file)
            given, changed = what_differs(spec)
            return given | changed | {"protocols": list(spec.protocols)}
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        inside = f", and {file} is no run's folder" if file.is_dir() else ""
        raise UserError(f"cannot read {error.filename or file}: {error.strerror}{inside}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is neither TOML nor the spec.json of a run: {error}") from error


def lay_over(config: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options in place of what a config says of the same settings, however either names them; nested."""
    from methods import METHODS

    both = config | options
    check_kinds(both)
    if missing := [name for name in ("method", "dataset") if name not in both]:
        raise UserError(f'a run needs a {missing[0]}: --{missing[0]} NAME, or {missing[0]} = "NAME" in the --config')
    for own in (config, options):
        if init := own.pop("init", None):
            own["start"] = merge(own.get("start") or {}, {"method": "checkpoint", "parameters": {"file": init}})
    shared = {name: own[name] for own in (config, options) for name in ("method", "start") if name in own}
    kind = METHODS.get(both["method"])
    under, over = (nest(shared | own, kind) for own in (config, options))
    forget_digest(under, over)
    forget_digest(under.get("start") or {}, over.get("start") or {})
    return merge(under, over)


def forget_digest(under: dict[str, Any], over: dict[str, Any]) -> None:
    """Another file than the one that lies under has another digest."""
    known, given = (model.get("parameters") or {} for model in (under, over))
    if "file" in given and given["file"] != known.get("file"):
        for place in (under, known):
            place.pop("sha256", None)
