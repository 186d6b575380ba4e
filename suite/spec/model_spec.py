"""What a trained model is: the part of a run that its weights depend on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, field_validator, model_validator

from methods import METHODS
from suite.errors import OtherArchitecture, UserError
from suite.networks.code import label
from suite.ranges import Name, Scale
from suite.spec.identity import identify, model_content
from suite.spec.sections import Frozen, Training

if TYPE_CHECKING:
    from methods import Method


def missing_bound(method: str, arch: str) -> str:
    """What a method misses in an architecture without a Lipschitz bound; empty where it needs none."""
    from suite.networks.architectures import is_lipschitz

    if not METHODS.get(method).needs_lipschitz or is_lipschitz(arch):
        return ""
    return f"{method} trains a network with a Lipschitz bound, and {arch} has none"


class ModelSpec(Frozen):
    """A model: method, data, architecture, σ, seed, settings, and the model that its training starts from."""

    method: str
    dataset: Name
    data: str = Field("", description="fingerprint of the images, filled in once they are loaded")
    arch: Name
    sigma: Scale | None = Field(description="σ of the noise, pixels in [0,1]")
    seed: int = Field(0, ge=0, lt=2**31)
    parameters: dict[str, Any] = Field(default_factory=dict, description="the method's own settings")
    training: Training
    start: ModelSpec | None = Field(None, description="the model that training starts from")

    @field_validator("arch")
    @classmethod
    def _known_arch(cls, arch: str) -> str:
        from suite.networks.architectures import find_architecture
        from suite.networks.code import pin

        find_architecture(arch)
        return pin(arch)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if missing := missing_bound(self.method, self.arch):
            raise UserError(f"{missing}: --arch lipschitz-small")
        return self

    def build_method(self) -> Method[Any]:
        """The method with its settings, ready to train or to say how its model is deployed."""
        kind = METHODS.get(self.method)
        return kind(kind.Parameters(**self.parameters), self.sigma or 0.0)

    @contextmanager
    def explain_start(self) -> Iterator[None]:
        """While the start is loaded: where somebody's teacher does not fit, the error says how to name its network."""
        try:
            yield
        except OtherArchitecture as error:
            teacher = METHODS.get(self.method).start_is_teacher
            if not (teacher and self.start and self.start.method == "checkpoint"):
                raise
            raise OtherArchitecture(
                f"{error}; --init is the teacher of {self.method}, and is taken for {self.start.arch}: "
                "--set start.arch=… names its architecture"
            ) from error

    def on(self, fingerprint: str) -> Self:
        """This spec, tied to the data that was loaded."""
        start = self.start and self.start.on(fingerprint)
        return self.model_copy(update={"data": fingerprint, "start": start})

    @property
    def digest(self) -> str:
        """Ten hex digits that identify everything that the weights depend on."""
        return identify(model_content(self))

    @property
    def name(self) -> str:
        """The model's folder: readable, and unique by its digest."""
        sigma = "" if self.sigma is None else f"-sigma{self.sigma:g}"
        digest = identify(model_content(self))  # that of the model, also in a run
        network = re.sub("[:/]+", "-", label(self.arch))
        return f"{self.method}-{Path(self.dataset).name}-{network}{sigma}-seed{self.seed}-{digest}"
