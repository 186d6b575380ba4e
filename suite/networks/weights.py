"""Checkpoints: read without running anything in them, and put into a model or refused with a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from suite.errors import UserError

PREFIXES = ("module.", "model.", "network.", "net.", "_orig_mod.", "backbone.")  # what wrappers put before a key


def load_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, safetensors or pickle; a pickle's code is never run.

    Raises UserError where the file is absent, damaged, no checkpoint, or would execute code when loaded.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        return load_file(path)
    except SafetensorError as error:
        with path.open("rb") as file:
            pickled = file.read(2) in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
        if not pickled:
            raise UserError(f"{path} is damaged or not a checkpoint ({error})") from error
    return _unpickle_weights(path)


def _unpickle_weights(path: Path) -> dict[str, Tensor]:
    import pickle

    try:
        with path.open("rb") as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} was not loaded: it is damaged, or holds objects that would execute code on loading; "
            "a state_dict saved as safetensors is safe to load"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is damaged or not a checkpoint ({str(error).splitlines()[0]})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state_dict of tensors")
    return state


def load_into(model: nn.Module, path: Path) -> None:
    """Load a checkpoint that the suite wrote. Raises UserError where its keys or shapes are not the model's."""
    fit(model, load_state(path), path)


def fit(model: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    """Put a state into the model, or say in what it differs from the model's."""
    wanted = model.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    shapes = sorted(name for name in wanted.keys() & state.keys() if wanted[name].shape != state[name].shape)
    if missing or extra:
        said = {"missing": missing, "not expected": extra}
        parts = [f"{len(keys)} keys {word} ({', '.join(keys[:3])}, …)" for word, keys in said.items() if keys]
        raise UserError(f"{path} is a checkpoint of another architecture: {'; '.join(parts)}")
    if shapes:
        name = shapes[-1]
        there, here = tuple(state[name].shape), tuple(wanted[name].shape)
        raise UserError(
            f"{path} does not fit: {name} is {there} there and {here} here; "
            "see to the architecture, its width and the number of classes"
        )
    model.load_state_dict(state)


def adopt_foreign(model: nn.Module, path: Path) -> None:
    """Load somebody else's state_dict into a model of suite.models.

    Prefixes that wrappers leave (`module.` and the like) are dropped. Where the checkpoint has the suite's own
    normalize.* keys those are taken; else the model keeps the constants it was built with. Raises UserError where
    keys or shapes do not fit, naming some that differ, and for another number of classes.
    """
    state = load_state(path)
    own = {name: tensor for name, tensor in state.items() if name.startswith("normalize.")}
    rest = {name: tensor for name, tensor in state.items() if name not in own}
    while prefix := next((p for p in PREFIXES if rest and all(name.startswith(p) for name in rest)), None):
        rest = {name.removeprefix(prefix): tensor for name, tensor in rest.items()}
    wanted = model.state_dict()
    full = {name: tensor for name, tensor in wanted.items() if name.startswith("normalize.")} | own
    full |= {f"network.{name}": tensor for name, tensor in rest.items()}
    for name in [n for n in wanted if n.endswith("num_batches_tracked") and n not in full]:
        full[name] = wanted[name]  # older checkpoints lack it, and nothing in evaluation reads it
    fit(model, full, path)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hex. Raises UserError where there is none."""
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    return hashlib.sha256(path.read_bytes()).hexdigest()
