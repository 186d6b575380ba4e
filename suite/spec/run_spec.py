"""What a run is: every setting that its result depends on, validated, frozen, and hashed to a digest."""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from methods import METHODS, Method
from suite.boards.board import load_board
from suite.errors import UserError, unknown
from suite.networks.architectures import split_arch
from suite.ranges import Scale, one_line
from suite.registry import Registry
from suite.spec.profiles import PROFILES, default_profile, fast_precision
from suite.spec.sections import Agreement, Attack, Audit, Certify, Frozen, LBound, Timing, Training

PROTOCOLS: Registry[Any] = Registry(
    "protocol",
    "suite.protocols",
    {
        name: f"suite.protocols.{name}:PROTOCOL"
        for name in ("accuracy", "certify", "lbound", "attack", "timing", "agreement", "audit")
    },
    of="suite.protocols.protocol:Protocol",
)
SECTIONS: dict[str, type[Frozen]] = {
    "certify": Certify, "lbound": LBound, "attack": Attack, "timing": Timing, "agreement": Agreement, "audit": Audit,
}  # fmt: skip


class ModelSpec(Frozen):
    """What a trained model is: the part of a run that its weights depend on."""

    method: str
    dataset: str
    data: str = Field("", description="fingerprint of the images, filled in once they are loaded")
    arch: str
    sigma: Scale | None = Field(description="σ of the noise, pixels in [0,1]")
    seed: int = Field(0, ge=0, lt=2**31)
    parameters: dict[str, Any] = Field(default_factory=dict, description="the method's own settings")
    training: Training
    start: ModelSpec | None = Field(None, description="the model that training starts from")

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        split_arch(arch)
        return arch

    def build_method(self) -> Method:
        """The method with its settings, ready to train or to say how its model is deployed."""
        kind = METHODS.get(self.method)
        return kind(kind.Parameters(**self.parameters), self.sigma or 0.0)

    def on(self, fingerprint: str) -> Self:
        """This spec, tied to the data that was loaded."""
        start = self.start and self.start.on(fingerprint)
        return self.model_copy(update={"data": fingerprint, "start": start})

    @property
    def digest(self) -> str:
        """Ten hex digits that identify everything here but the profile's name and which protocols were asked for."""
        return identify(self.model_dump(mode="json", exclude={"profile", "protocols"}))

    @property
    def name(self) -> str:
        """The run's folder: readable, and unique by its digest."""
        sigma = "" if self.sigma is None else f"-sigma{self.sigma:g}"
        return f"{self.method}-{Path(self.dataset).name}-{self.arch}{sigma}-seed{self.seed}-{self.digest}"


class RunSpec(ModelSpec):
    """A run: a model and the protocols it is put through.

    `RunSpec(method="heat", dataset="cifar10")` is complete: whatever is not given comes from the profile (`demo`,
    `quick` or `paper`; by default the one that fits data and machine) and from the method's recipe for it. Settings
    may be given flat (`lr=0.05, kappa=5, n=1000`), nested (`training={"lr": 0.05}`), or dotted
    (`**{"start.training.epochs": 3}` is the model that training starts from). Raises UserError for an unknown
    method, profile or setting, pydantic's ValidationError (a ValueError) for a value out of range.
    """

    profile: str
    protocols: tuple[str, ...] = Field(("accuracy", "certify"), description="which to go through; `all` for all")
    certify: Certify
    lbound: LBound
    attack: Attack
    timing: Timing
    agreement: Agreement
    audit: Audit

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, given: Any) -> Any:
        return fill_in(dict(given)) if isinstance(given, dict) else given

    @field_validator("protocols", mode="before")
    @classmethod
    def _known_protocols(cls, given: Any) -> tuple[str, ...]:
        protocols = tuple(given.split(",")) if isinstance(given, str) else tuple(given)
        if protocols == ("all",):
            return tuple(PROTOCOLS.loadable())
        for protocol in protocols:
            if protocol not in PROTOCOLS.paths():
                raise unknown("protocol", protocol, PROTOCOLS.paths())
        return protocols

    @field_validator("sigma")
    @classmethod
    def _needs_sigma(cls, sigma: float | None) -> float | None:
        if sigma is None:
            raise ValueError("a run needs the sigma that it certifies at")
        return sigma

    @model_validator(mode="after")
    def _stochastic_model_in_range(self) -> Self:
        if self.agreement.against:
            try:
                ModelSpec(**self.agreement.against)
            except ValidationError as error:
                raise ValueError(f"agreement.against.{one_line(error)}") from error
        return self

    @property
    def model(self) -> ModelSpec:
        """The model of this run; without σ where training does not depend on it, so that runs share the model."""
        values = {name: getattr(self, name) for name in ModelSpec.model_fields}
        if not METHODS.get(self.method).uses_sigma:
            values["sigma"] = None
        return ModelSpec.model_construct(**values)

    @property
    def recipe(self) -> str:
        """The digest without the seeds: the runs of one recipe differ in those of their models alone."""
        content = without_seed(self.model_dump(mode="json", exclude={"profile", "protocols"}))
        against = content["agreement"]["against"]
        return identify(content | {"agreement": content["agreement"] | {"against": against and without_seed(against)}})


def identify(content: dict[str, Any]) -> str:
    """Ten hex digits that tell JSON values apart."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]


def without_seed(model: dict[str, Any]) -> dict[str, Any]:
    """A model's settings without its seed and that of the model it starts from."""
    kept = {name: value for name, value in model.items() if name != "seed"}
    return kept | ({"start": without_seed(kept["start"])} if kept.get("start") else {})


def make_spec(**given: Any) -> RunSpec:
    """RunSpec(**given), with a value out of range said in one line, as a UserError."""
    try:
        return RunSpec(**given)
    except ValidationError as error:
        raise UserError(one_line(error)) from error


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid over `under`, section by section."""
    merged = dict(under)
    for name, value in over.items():
        nested = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if nested else value
    return merged


def fill_in(given: dict[str, Any]) -> dict[str, Any]:
    """The complete, nested settings of a run from those `given`: profile ← method's recipe ← given."""
    for needed in ("method", "dataset"):
        if needed not in given:
            raise UserError(f"a run needs a {needed}")
    kind = METHODS.get(given["method"])
    if init := given.pop("init", None):
        given["start"] = merge(given.get("start") or {}, {"method": "checkpoint", "file": init})
    profile = given.get("profile") or default_profile(given["dataset"])
    if profile not in ("demo", "quick", "paper"):
        raise unknown("profile", profile, ("demo", "quick", "paper"))
    settings: dict[str, Any] = {}
    for table in (PROFILES, kind.recipes):
        for key in (profile, f"{profile}/{given['dataset']}"):
            settings = merge(settings, table.get(key, {}))
    settings = merge(settings, nest(given, kind))
    settings["profile"] = profile
    if settings.get("training", {}).get("precision") == "auto":
        settings = merge(settings, {"training": {"precision": fast_precision()}})
    try:
        settings["parameters"] = kind.Parameters(**settings.get("parameters", {})).model_dump()
    except ValidationError as error:
        raise UserError(f"{kind.__name__} {one_line(error)}") from error
    if kind.starts_from or settings.get("start"):
        settings["start"] = start_settings(kind.starts_from, settings)
    settings = merge({section: {} for section in SECTIONS}, settings)
    radii = settings["certify"].get("radii") or load_board(Path(settings["dataset"]).name).radii
    adaptive = settings["certify"].get("sampling") == "adaptive"
    settings["certify"] = settings["certify"] | {"radii": radii if adaptive else ()}
    against = settings["agreement"].get("against") or {}
    if against and not kind.stands_for and "method" not in against:
        raise UserError(f"{settings['method']} stands for no other method: agreement.against needs a method")
    if (kind.stands_for or against) and "training" not in against:  # a finished run's is whole
        stochastic = start_settings(kind.stands_for, settings | {"start": against})
        settings["agreement"] = settings["agreement"] | {"against": stochastic}
    return settings


def start_settings(method: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    """Another model on the same data, arch and seed, by `method`'s own recipe: the one that a run starts from."""
    shared: dict[str, Any] = {
        name: settings[name] for name in ("dataset", "profile", "arch", "data", "seed", "sigma") if name in settings
    }
    own = {name: value for name, value in (settings.get("start") or {}).items() if value is not None}
    filled = fill_in({**shared, "method": method, **own})
    if not METHODS.get(filled["method"]).uses_sigma:
        filled["sigma"] = None
    return {name: value for name, value in filled.items() if name in ModelSpec.model_fields}


def nest(given: dict[str, Any], kind: type[Method]) -> dict[str, Any]:
    """Flat and dotted settings put into their sections. Raises UserError for a name that no section has."""
    sections = {name: set(section.model_fields) for name, section in ({"training": Training} | SECTIONS).items()}
    sections["parameters"] = set(kind.Parameters.model_fields)
    nested: dict[str, Any] = {}
    for name, value in given.items():
        head, _, rest = name.partition(".")
        if rest and head == "start":
            if not (kind.starts_from or given.get("start")):
                raise UserError(f"'{name}': {given['method']} starts from no other model")
            nested = merge(nested, {head: {rest: value}})
        elif rest and name.startswith("agreement.against."):
            nested = merge(nested, {head: {"against": {rest.removeprefix("against."): value}}})
        elif rest and head in sections:
            nested = merge(nested, {head: {rest: value}})
        elif rest:
            raise unknown_setting(name, kind)
        elif name in RunSpec.model_fields or name == "profile":
            nested = merge(nested, {name: value})
        else:
            homes = [section for section in ("training", "certify", "parameters") if name in sections[section]]
            if not homes:
                raise unknown_setting(name, kind)
            nested = merge(nested, {homes[0]: {name: value}})
    for section, fields in sections.items():
        for name in nested.get(section, {}):
            if name not in fields:
                raise unknown_setting(f"{section}.{name}", kind)
    return nested


def unknown_setting(name: str, kind: type[Method]) -> UserError:
    """The error for a setting nobody has; the nearest is suggested, by its short name."""
    head, _, last = name.rpartition(".")
    top = set(RunSpec.model_fields) - {"training", "parameters", "data", "start", *SECTIONS}
    known = sorted(top | set(Training.model_fields) | set(Certify.model_fields) | set(kind.Parameters.model_fields))
    if head in SECTIONS:
        known = sorted(SECTIONS[head].model_fields)
    near = difflib.get_close_matches(last, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'? " if near else ""
    return UserError(f"unknown setting '{name}': {hint}known: {', '.join(known)}")
