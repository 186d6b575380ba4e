"""Checkpoint: somebody else's trained weights, taken as they are, so that they get a row of their own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from methods.method import Method, Settings, Step
from suite.errors import UserError
from suite.networks.checkpoint_files import fetch
from suite.networks.checkpoints import adopt
from suite.networks.weights import file_digest
from suite.progress import logger
from suite.ranges import Mean, Name, Std, check

SUFFIXES = (".safetensors", ".tar", ".pth", ".pt", ".th", ".ckpt", ".bin", ".pkl", ".t7", ".model")
USUAL = ("model", "pytorch_model", "checkpoint", "ckpt", "best", "last", "weights", "state_dict", "")


class CheckpointSettings(Settings):
    """The file, and what its author's code did outside of the network."""

    file: str = Field("", description="the checkpoint; hf://owner/repo/FILE for one on the Hugging Face hub")
    sha256: str = Field("", description="of the file; filled in, and checked when it is read again")
    entry: str = Field("", description="which dict of tensors in the file, where several fit")
    name: Name = Field("", description="what its row is called; default: what the file is called")
    mean: tuple[Mean, ...] | None = Field(None, description="per channel, pixels in [0,1]; default: the data set's")
    std: tuple[Std, ...] | None = Field(None, description="likewise")
    deployed: Literal["pass", "vote"] = Field("pass", description="what its row stands for")

    @model_validator(mode="before")
    @classmethod
    def _identify(cls, given: Any) -> Any:
        if not given.get("file"):
            raise UserError("a checkpoint needs its file: --set file=PATH")
        numbers = {name: given[name] for name in ("mean", "std") if isinstance(given.get(name), int | float)}
        given = given | {name: (value,) for name, value in numbers.items()}  # of one channel
        return given if given.get("sha256") else given | {"sha256": file_digest(fetch(given["file"]))}


class Checkpoint(Method[CheckpointSettings]):
    """No training: the state_dict in `file` (safetensors or pickle, never executed) is the model."""

    summary = "somebody else's state_dict (--set file=…), not trained further; one pass or voted"
    trains = False

    Parameters = CheckpointSettings

    def __init__(self, parameters: CheckpointSettings, sigma: float):
        super().__init__(parameters, sigma)
        self.deployed = parameters.deployed
        self.label = parameters.name or name_of(parameters.file)

    def begin(self, model: nn.Module, start: nn.Module | None = None) -> None:
        p = self.parameters
        path = fetch(p.file)
        if file_digest(path) != p.sha256:
            raise UserError(f"{path} is not the file that this run was made with: its SHA-256 differs from {p.sha256}")
        for line in adopt(model, path, p.entry):
            say_once(f"{path.name}: {line}")
        normalize = model.get_submodule("normalize")
        for name, constants, kind in (("mean", p.mean, list[Mean]), ("std", p.std, list[Std])):
            buffer = normalize.get_buffer(name)
            if constants is not None:
                if len(constants) != len(buffer):
                    raise UserError(f"{name} has {len(constants)} numbers for images of {len(buffer)} channels")
                buffer.copy_(torch.tensor(constants).view_as(buffer))
            check(f"{path}: {name}", buffer.flatten().tolist(), kind)

    def loss(self, model: nn.Module, x: Tensor, y: Tensor, step: Step) -> Tensor:
        """There is none: a checkpoint is not trained."""
        raise TypeError("a checkpoint is not trained")


def name_of(file: str) -> str:
    """What a file is called, without its suffixes, or its folder where it is called as most are."""
    path = Path(file)
    name = path.name
    while suffix := next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), ""):
        name = name[: -len(suffix)]
    return path.parent.name if name.lower() in USUAL and path.parent.name else name


@cache
def say_once(line: str) -> None:
    logger.info(line)
