"""Where a run's settings come from: the profile, over it the method's recipe, over both what was given."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from methods import METHODS
from suite.errors import UserError, unknown
from suite.ranges import Scale, check, one_line
from suite.spec.model_spec import ModelSpec, missing_bound
from suite.spec.names import check_kinds, merge, nest
from suite.spec.profiles import PROFILES, default_profile, fast_precision
from suite.spec.sections import PROTOCOLS


def fill_in(given: dict[str, Any]) -> dict[str, Any]:
    """The complete, nested settings of a run from those `given`."""
    check_kinds(given)
    for needed in ("method", "dataset"):
        if needed not in given:
            raise UserError(f"a run needs a {needed}")
    kind = METHODS.get(given["method"])
    if given.get("sigma") is not None:
        check("sigma", given["sigma"], Scale)
    if init := given.pop("init", None):
        given["start"] = merge(given.get("start") or {}, {"method": "checkpoint", "file": init})
    settings = under(given)
    settings = merge(settings, nest(given, kind)) | {"profile": settings["profile"]}
    if settings.get("training", {}).get("precision") == "auto":
        settings = merge(settings, {"training": {"precision": fast_precision()}})
    try:
        settings["parameters"] = kind.Parameters(**settings.get("parameters", {})).model_dump()
    except ValidationError as error:
        raise UserError(f"{kind.__name__} {one_line(error)}") from error
    if kind.starts_from or settings.get("start"):
        settings["start"] = start_settings(kind.starts_from, settings)
    asked = settings.get("protocols", ())
    if "protocols" in settings:
        settings["protocols"] = protocol_names(asked)
    for name in [*PROTOCOLS.builtin, *settings.get("protocols", ()), *settings]:
        protocol = PROTOCOLS.get(name) if name in PROTOCOLS.paths() else None
        if protocol and protocol.settings:
            settings[name] = protocol.resolve(settings.get(name, {}), settings)
    if settings["certify"]["kind"] == "margin":
        if not kind.uses_sigma:
            settings["sigma"] = None
        if is_all(asked):
            settings["protocols"] = tuple(n for n in settings["protocols"] if not PROTOCOLS.get(n).needs_noise)
    return settings


def under(given: dict[str, Any]) -> dict[str, Any]:
    """What lies under the settings given: the profile, and over it the method's recipe for it and for the data set."""
    profile = given.get("profile") or default_profile(given["dataset"])
    if profile not in ("demo", "quick", "paper"):
        raise unknown("profile", profile, ("demo", "quick", "paper"))
    settings: dict[str, Any] = {"profile": profile}
    for table in (PROFILES, METHODS.get(given["method"]).recipes):
        for key in (profile, f"{profile}/{given['dataset']}"):
            settings = merge(settings, table.get(key, {}))
    return settings


def protocol_names(given: Any) -> tuple[str, ...]:
    """The protocols asked for: names, or one text of them with commas, or `all`, which is all that load."""
    if is_all(given):
        return tuple(PROTOCOLS.loadable())
    return tuple(given.split(",")) if isinstance(given, str) else tuple(given)


def is_all(given: Any) -> bool:
    return given == "all" or tuple(given) == ("all",)


def start_settings(method: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Another model on the same data, arch and seed, by `method`'s own recipe: the one that a run starts from."""
    names = ["dataset", "profile", "data", "seed", "sigma"]
    teacher = METHODS.get(settings["method"]).start_is_teacher
    if not teacher:
        names.append("arch")  # its weights are where training begins
    shared: dict[str, Any] = {name: settings[name] for name in names if name in settings}
    own = {name: value for name, value in (settings.get("start") or {}).items() if value is not None}
    filled = fill_in({**shared, "method": method, **own})
    if teacher and (missing := missing_bound(filled["method"], filled["arch"])):
        raise UserError(f"the teacher of {settings['method']}: {missing}: --set start.arch=lipschitz-small")
    if not METHODS.get(filled["method"]).uses_sigma:
        filled["sigma"] = None
    return {name: value for name, value in filled.items() if name in ModelSpec.model_fields}
