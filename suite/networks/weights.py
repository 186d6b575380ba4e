"""Weights that the suite wrote itself, put back into a model or refused with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

from torch import Tensor, nn

from suite.errors import OtherArchitecture, UserError


def load_into(model: nn.Module, path: Path) -> None:
    """Load weights that the suite wrote. Raises UserError where they are damaged, or their keys are not the model's."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise UserError(f"{path} is damaged ({error})") from error
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = sorted(name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape)
    if differing := [*missing, *extra, *shapes]:
        raise OtherArchitecture(
            f"{path} is of another architecture ({len(differing)} tensors differ: {differing[0]}, …)"
        )
    model.load_state_dict(state)


def own_state(model: nn.Module) -> dict[str, Tensor]:
    """A model's state as it is stored: tensors of their own, each with its own memory."""
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex. Raises UserError where there is none."""
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()
