"""What a method is: a loss, what it starts from, how its model is deployed, and its settings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn


class Settings(BaseModel):
    """A method's own settings. Subclass it as `Parameters` inside the method: every field is an option of a run."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Step:
    """A step of training: `epoch` is how far training is, in epochs (fractions count); `generator` makes its noise."""

    generator: torch.Generator
    epoch: float = 0.0


P = TypeVar("P", bound=Settings)


class Method(ABC, Generic[P]):
    """One way to train a classifier. Subclass it in a file of its own and register the class under a name.

    A subclass gives `loss`, and by class attributes says:

    - `summary` one line, with the source of the method;
    - `deployed` what a user of its model runs unless a run says otherwise: one forward pass, or the vote of many noisy
      ones;
    - `uses_labels` whether `loss` gets the labels; if not it is called with y = None and never sees one;
    - `uses_sigma` whether training depends on σ; if not, models are shared between runs that differ in σ;
    - `trains` whether there is training at all; if not, `begin` makes the model;
    - `starts_from` the method whose trained model it starts from, or None to start at random weights;
    - `start_is_teacher` whether it takes that model's answers alone, and has an architecture and weights of its own;
    - `needs_lipschitz` whether its network has to have a Lipschitz bound;
    - `stands_for` the stochastic method whose vote its single pass is to replace, if there is one;
    - `Parameters` its own settings, as `self.parameters`;
    - `recipes` settings by profile ("quick") or profile and data set ("quick/cifar10"), laid over the profile's own;
    - `tunable` the settings that `suite tune` searches, with their ranges as `--search` takes them: "1:10" or
      "1e-3:1e-1:log", whole numbers where the setting is one, or choices "softmax,logits";
    - `passes` how much one training image costs, in forward passes of one image (for the time announced).
    """

    summary: ClassVar[str]
    deployed: Literal["pass", "vote"] = "pass"
    label: str | None = None  # on the board, where it is not the registered name
    trains: ClassVar[bool] = True
    uses_labels: ClassVar[bool] = True
    uses_sigma: ClassVar[bool] = False
    starts_from: ClassVar[str | None] = None
    start_is_teacher: ClassVar[bool] = False
    needs_lipschitz: ClassVar[bool] = False
    stands_for: ClassVar[str | None] = None
    recipes: ClassVar[dict[str, dict[str, Any]]] = {}
    tunable: ClassVar[dict[str, str]] = {}
    Parameters: ClassVar[type[Settings]] = Settings

    def __init__(self, parameters: P, sigma: float):
        self.parameters, self.sigma = parameters, sigma

    @property
    def passes(self) -> float:
        return 3.0

    def begin(self, model: nn.Module, start: nn.Module | None = None) -> None:
        """Called once before training, with the model at the weights that it starts from, on its device.

        `start` is the trained model that it starts from, in evaluation mode, if there is one.
        """

    @property
    def stages(self) -> int:
        """Training falls into this many equal stages; the schedule and the momentum begin anew with each."""
        return 1

    def begin_stage(self, model: nn.Module, stage: int, generator: torch.Generator) -> None:
        """Called before the first step of each stage."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs of the method itself (tensors and numbers), beyond what `begin` does."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""

    @abstractmethod
    def loss(self, model: nn.Module, x: Tensor, y: Any, step: Step) -> Tensor:
        """The scalar to minimise on a batch: x (B, C, H, W) augmented pixels in [0,1]; labels y (B,), or None.

        All randomness must come from `step.generator` (on x's device), so that a run can be resumed and repeated.
        """
