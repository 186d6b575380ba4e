"""What a run is: a model and the protocols that it is put through, validated, frozen, and hashed to digests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
    model_validator,
)

from methods import METHODS
from suite.errors import UserError, unknown
from suite.ranges import one_line
from suite.spec.fill_in import fill_in
from suite.spec.identity import identify, model_content, records_content
from suite.spec.model_spec import ModelSpec
from suite.spec.sections import PROTOCOLS, Frozen, Training

SCHEMA = 4  # of spec.json; before 4 it had no number


class RunSpec(ModelSpec):
    """A run: a model, the protocols it is put through, and a section of settings for each of them.

    `RunSpec(method="heat", dataset="cifar10")` is complete: whatever is not given comes from the profile (`demo`,
    `quick` or `paper`; by default the one that fits data and machine) and from the method's recipe for it. Settings
    may be given flat (`lr=0.05, kappa=5, n=1000`), nested (`training={"lr": 0.05}`), or dotted
    (`**{"start.training.epochs": 3}` is the model that training starts from). A protocol's section is an attribute by
    the protocol's name (`spec.certify.n`). Raises UserError for an unknown method, profile or setting, and for a
    value out of range.
    """

    model_config = ConfigDict(extra="allow")

    profile: str
    protocols: tuple[str, ...] = Field(("accuracy", "certify"), description="which to go through; `all` for all")

    if TYPE_CHECKING:

        def __init__(self, **settings: Any):
            """Flat, dotted or nested settings: at least `method` and `dataset`."""

        def __getattr__(self, name: str) -> Any:
            """A protocol's section."""

    @model_validator(mode="wrap")
    @classmethod
    def _say_in_a_line(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return validate(given)
        except ValidationError as error:
            raise UserError(one_line(error)) from error

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, dict):
            return given
        stored = bool(info.context and info.context.get("stored"))
        settings = dict(given) if stored else fill_in(dict(given))
        names = [name for name in settings if name not in cls.model_fields]
        return settings | validate_sections({name: settings.pop(name) for name in names})

    @field_validator("protocols")
    @classmethod
    def _known_protocols(cls, protocols: tuple[str, ...]) -> tuple[str, ...]:
        for protocol in protocols:
            if protocol not in PROTOCOLS.paths():
                raise unknown("protocol", protocol, PROTOCOLS.paths())
        return protocols

    @model_validator(mode="after")
    def _needs_sigma(self) -> Self:
        if self.certify.kind == "vote":
            if self.sigma is None:
                raise UserError("a vote needs its noise: --sigma 0.25")
            return self
        for protocol in self.protocols:
            if PROTOCOLS.get(protocol).needs_noise:
                raise UserError(f"{protocol} needs the noise of a vote, and this run has none: --kind vote --sigma …")
        return self

    @property
    def noise_sigma(self) -> float | None:
        """σ of the noise that votes are certified under; None for margins, whatever noise trained their network."""
        return self.sigma if self.certify.kind == "vote" else None

    @property
    def deployed(self) -> Literal["pass", "vote"]:
        """What a user of the row runs: one pass, or the vote of many noisy ones."""
        found: Literal["pass", "vote"] = self.certify.deployed or self.build_method().deployed
        return found

    @property
    def sections(self) -> dict[str, Frozen]:
        """The settings of each protocol that has some, by its name."""
        return dict(self.__pydantic_extra__ or {})

    @property
    def model(self) -> ModelSpec:
        """The model alone, without σ where training does not depend on it, so that runs share the model."""
        values = {name: getattr(self, name) for name in ModelSpec.model_fields}
        if not METHODS.get(self.method).uses_sigma:
            values["sigma"] = None
        return ModelSpec.model_construct(**values)

    @property
    def digest(self) -> str:
        """Ten hex digits that identify everything that the result depends on: the model and the sections."""
        return identify([model_content(self), {name: records_content(self, name) for name in self.sections}])

    @property
    def name(self) -> str:
        """The run's folder, which makes one row: a model, and the digest of its certificates' settings."""
        return f"{super().name}-{self.records_digest('certify')}"

    @property
    def recipe(self) -> str:
        """The name's digests without the seeds: runs of one recipe differ in the seeds of their models alone."""
        return identify([model_content(self, seeds=False), records_content(self, "certify", seeds=False)])

    def records_digest(self, protocol: str, *, seeds: bool = True) -> str:
        """Eight hex digits that identify what a protocol's records depend on besides the model."""
        return identify(records_content(self, protocol, seeds=seeds), digits=8)

    def to_json(self) -> dict[str, Any]:
        """What `from_json` reads again."""
        return {"schema": SCHEMA, **self.model_dump(mode="json")}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """A stored spec: whole, nested, and of this schema. Raises UserError for anything else."""
        if content.get("schema") != SCHEMA:
            raise UserError(f"a spec of schema {content.get('schema')} is not known here: this version has {SCHEMA}")
        settings = {name: value for name, value in content.items() if name != "schema"}
        return cls.model_validate(settings, context={"stored": True})


def validate_sections(sections: dict[str, Any]) -> dict[str, Frozen]:
    """The sections of protocols, each as its settings. UserError for a name that no protocol with settings has."""
    types: dict[str, Any] = {}
    for name in sections:
        kind = PROTOCOLS.get(name).settings
        if kind is None:
            raise UserError(f"protocol '{name}' has no settings")
        types[name] = (kind, ...)
    found = create_model("Sections", **types).model_validate(sections)
    return {name: getattr(found, name) for name in sections}


def refuse_noise(spec: RunSpec, asked: Mapping[str, Any]) -> None:
    """Raise UserError where noise was `asked` for, by flat or dotted names, of a run of margins, which have none."""
    if spec.certify.kind == "vote":
        return
    given = {name: value for name, value in asked.items() if value is not None and name not in Training.model_fields}
    section = {name.removeprefix("certify."): value for name, value in given.items()} | given.get("certify", {})
    kept = PROTOCOLS.get("certify").resolve(section | {"kind": "margin", "deployed": "pass"}, spec.model_dump())
    wrong = [name for name in section if name not in kept]
    if "sigma" in given and spec.sigma is None and not (spec.start and spec.start.sigma):
        wrong.append("sigma")
    if wrong:
        raise UserError(f"a margin has no {' and no '.join(sorted(wrong))}: --kind vote --sigma 0.25 certifies a vote")
