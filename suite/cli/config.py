"""Settings of runs from a file: TOML of one's own, or what another run was made with."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from suite.errors import UserError
from suite.spec.names import merge, nest


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
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file} is neither TOML nor the spec.json of a run: {error}") from error


def lay_over(config: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Options in place of what a config says of the same settings, however either names them; nested."""
    from methods import METHODS

    for own in (config, options):
        if init := own.pop("init", None):
            own["start"] = merge(own.get("start") or {}, {"method": "checkpoint", "file": init})
    both = config | options
    if missing := [name for name in ("method", "dataset") if name not in both]:
        raise UserError(f'a run needs a {missing[0]}: --{missing[0]} NAME, or {missing[0]} = "NAME" in the --config')
    shared = {name: both[name] for name in ("method", "start") if name in both}
    kind = METHODS.get(both["method"])
    return merge(nest(shared | config, kind), nest(shared | options, kind))
