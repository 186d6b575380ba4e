"""The sections of a run's spec: that of training, and one for each protocol, which the protocol's own file defines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat

from suite.registry import Registry

if TYPE_CHECKING:
    from suite.protocols.protocol import Protocol

PROTOCOLS: Registry[Protocol] = Registry(
    "protocol",
    "suite.protocols",
    {
        name: f"suite.protocols.{name}:PROTOCOL"
        for name in ("accuracy", "certify", "lbound", "attack", "timing", "agreement", "audit")
    },
    of="suite.protocols.protocol:Protocol",
)


class Frozen(BaseModel):
    """Settings: validated, and never changed after."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Training(Frozen):
    """How the weights are found: SGD or AdamW on augmented batches."""

    epochs: float = Field(gt=0, le=100_000, description="passes over the training images; a fraction stops inside one")
    batch_size: int = Field(ge=2, le=100_000)
    lr: float = Field(gt=0, description="the highest learning rate of the schedule")
    schedule: Literal["constant", "cosine", "linear", "one-cycle", "steps"] = "cosine"
    milestones: tuple[PositiveFloat, ...] = Field(
        (), description="epochs at which `steps` multiplies the lr by `factor`; the last ends the fall of `linear`"
    )
    factor: float = Field(0.1, gt=0, le=1)
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD; the first of AdamW's two")
    nesterov: bool = True
    weight_decay: float = Field(5e-4, ge=0)
    decay_biases: bool = Field(True, description="weight decay is on biases, too, those of batch norm among them")
    clip: float | None = Field(None, gt=0, description="largest ℓ2 norm of a step's gradient")
    augmentation: str = Field(
        "default", description="crop-flip, crop-flip-2, crop-flip-zero, shift, flip, none; default: the data set's"
    )
    smallest_crop: float = Field(
        0.08, gt=0, le=1, description="least share of the area in a random crop of a streamed image"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="arithmetic of the passes (bf16: autocast); auto: bf16 where the machine multiplies in it"
    )


def section_types() -> dict[str, type[Frozen]]:
    """The settings of each protocol that has some and that loads, by its name."""
    return {name: found.settings for name, found in PROTOCOLS.loadable().items() if found.settings}
