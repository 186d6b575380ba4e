"""Other people's checkpoints put into a network: found in their file, with our names, or refused with a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from suite.errors import OtherArchitecture, UserError
from suite.networks.checkpoint_files import read_entries

PREFERRED = ("", "state_dict", "model_state_dict", "model", "net", "network", "module")  # over others that fit, too
COUNTER = "num_batches_tracked"  # older checkpoints lack it, and nothing in evaluation reads it
BOOKKEEPING = re.compile(r"(^|[._])(num_batches_tracked|n_averaged|total_ops|total_params|_extra_state|position_ids)$")
MEANS = ("mean", "mu", "means", "norm_mean", "input_mean", "image_mean", "pixel_mean", "_mean", "img_mean")
STDS = ("std", "sigma", "stds", "sds", "norm_std", "input_std", "image_std", "pixel_std", "_std", "img_std", "sd")
Tensors = Mapping[str, Tensor]
Names = tuple[tuple[str, str], ...]


@dataclass
class Fit:
    """What a dict of tensors is to a network: its tensors by the network's names, and what is said of the rest."""

    tensors: dict[str, Tensor]
    prefix: str = ""
    constants: dict[str, Tensor] = field(default_factory=dict)  # "mean" and "std" of the normalisation
    ignored: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def adopt(model: nn.Module, path: Path, entry: str = "") -> list[str]:
    """Load somebody else's checkpoint into a model of `suite.networks.architectures`; returns what is to be said of it.

    Of a file with several dicts of tensors the one is taken that fits, or `entry`. A prefix that all of the network's
    keys share is dropped, the architecture's other names are taken for its own, and buffers that are the constants of a
    normalisation go into its first layer, which otherwise keeps those that it was built with. Raises UserError where
    the weights are not those of this network, saying in what they differ, or are not finite.
    """
    entries, other_names = read_entries(path), getattr(model, "other_names", ())
    if entry:
        if entry not in entries:
            raise UserError(f"{path} has no entry '{entry}' with tensors; it has {', '.join(filter(None, entries))}")
        entries = {entry: entries[entry]}
    network, normalize = model.get_submodule("network"), model.get_submodule("normalize")
    wanted = network.state_dict()
    channels = normalize.get_buffer("mean").numel()
    fits = {where: find_fit(wanted, state, channels, other_names) for where, state in entries.items()}
    whole = [where for where, fit in fits.items() if fit and not fit.unknown]
    if not whole:
        raise misfit(path, wanted, entries, fits, other_names)
    where = next((name for name in PREFERRED if name in whole), whole[0])
    if len(whole) > 1 and where not in PREFERRED:
        raise UserError(f"{path} holds the network more than once: choose with --set entry=… of {', '.join(whole)}")
    fit = fits[where]
    assert fit is not None
    for name, tensor in fit.tensors.items():
        if kind := unusual(tensor):
            raise UserError(f"{path}: {name} is a {kind} tensor; save its values as an ordinary one")
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {name} has {int((~tensor.isfinite()).sum())} numbers that are not finite")
    network.load_state_dict({name: fit.tensors.get(name, value) for name, value in wanted.items()})
    for name, constant in fit.constants.items():
        buffer = normalize.get_buffer(name)
        buffer.copy_(constant.to(buffer.dtype).reshape(buffer.shape))
    said = []
    if others := [other or "the file's own tensors" for other in whole if other != where]:
        said.append(f"{where or 'the file itself'} is taken, not {', '.join(others)}")
    if fit.constants:
        said.append(f"normalisation is the checkpoint's own: {', '.join(map(numbers, fit.constants.items()))}")
    if fit.ignored:
        said.append(f"{len(fit.ignored)} tensors that evaluation does not read are left out ({fit.ignored[0]}, …)")
    return said


def unusual(tensor: Tensor) -> str:
    """The kind of a tensor that does not have all its numbers one after the other; empty for an ordinary one."""
    kinds = {"meta": tensor.is_meta, "quantised": tensor.is_quantized, "nested": tensor.is_nested}
    kinds["sparse"] = tensor.layout != torch.strided
    return next((kind for kind, found in kinds.items() if found), "")


def numbers(constant: tuple[str, Tensor]) -> str:
    return f"{constant[0]} {', '.join(f'{value:.4g}' for value in constant[1].flatten().tolist())}"


def find_fit(wanted: Tensors, state: Tensors, channels: int, other_names: Names) -> Fit | None:
    """The way in which a dict has every tensor that the network needs, of its shape; None where there is none."""
    for names in ((), other_names):
        ours = {rename(name, names): tensor for name, tensor in state.items()}
        for prefix in prefixes(wanted, ours):
            own = {name: ours[prefix + name] for name in wanted if prefix + name in ours}
            lacking = [name for name in wanted if name not in own and not name.endswith(COUNTER)]
            if not lacking and all(tensor.shape == wanted[name].shape for name, tensor in own.items()):
                return sort_rest(Fit(own, prefix), ours, channels)
    return None


def sort_rest(fit: Fit, ours: Tensors, channels: int) -> Fit:
    """Say of each tensor that is not the network's whether it is a normalisation's, bookkeeping, or unknown."""
    for name, tensor in ours.items():
        if name.startswith(fit.prefix) and name.removeprefix(fit.prefix) in fit.tensors:
            continue
        kind = constant(name)
        if kind and tensor.numel() == channels and kind not in fit.constants:
            fit.constants[kind] = tensor
        elif BOOKKEEPING.search(name) or not (tensor.numel() > 1 or tensor.is_floating_point()):
            fit.ignored.append(name)
        else:
            fit.unknown.append(name)
    if len(fit.constants) == 1:
        fit.unknown += fit.constants
        fit.constants.clear()
    return fit


def constant(name: str) -> str:
    """Which constant of a normalisation a tensor is by its name: "mean", "std", or none."""
    last = name.rpartition(".")[2].lower()
    return "mean" if last in MEANS else "std" if last in STDS else ""


def rename(name: str, names: Names) -> str:
    """A key whose parts have our names for theirs."""
    table = dict(names)
    return ".".join(table.get(part, part) for part in name.split("."))


def prefixes(wanted: Tensors, ours: Tensors) -> Iterator[str]:
    """What may stand before the network's own keys, the shortest first."""
    first = next(name for name in wanted if not name.endswith(COUNTER))
    found = {name.removesuffix(first) for name in ours if name == first or name.endswith(f".{first}")}
    yield from sorted(found, key=len)


def misfit(
    path: Path, wanted: Tensors, entries: Mapping[str, Tensors], fits: Mapping[str, Fit | None], names: Names
) -> UserError:
    """Why no dict of a file fits the network, of the one that comes nearest."""
    if partial := {where: fit for where, fit in fits.items() if fit}:
        where, fit = min(partial.items(), key=lambda item: len(item[1].unknown))
        rest = dict.fromkeys(fit.unknown, torch.empty(0))
        own = [name for name in fit.tensors if not name.endswith(COUNTER)]
        if more := [other for other in prefixes(fit.tensors, rest) if all(other + name in rest for name in own)]:
            said = f"holds the network more than once, under {quoted([fit.prefix, *more])}: save one of them"
            return UserError(f"{path} {said}")
        said = f"is a checkpoint of another architecture: {counted(fit.unknown, 'not expected')}"
        return OtherArchitecture(f"{path} {said}")
    where = max(entries, key=lambda name: max(overlap(wanted, entries[name], names)))
    ours = {rename(name, names): tensor for name, tensor in entries[where].items()}
    prefix = max(("", *prefixes(wanted, ours)), key=lambda p: sum(p + name in ours for name in wanted))
    ours = {name.removeprefix(prefix): tensor for name, tensor in ours.items()}
    missing = [name for name in wanted if name not in ours and not name.endswith(COUNTER)]
    extra = [name for name in ours if name not in wanted and not BOOKKEEPING.search(name) and not constant(name)]
    if missing or extra:
        if in_order(wanted, entries[where]):
            return UserError(
                f"{path} has tensors of the same shapes in the same order, but with other names: {missing[0]} here is "
                f"{extra[0]} there; rename them, or name your own network's code by --arch FILE.py:NAME"
            )
        said = " and ".join(filter(None, (counted(missing, "missing"), counted(extra, "not expected"))))
        return OtherArchitecture(f"{path} is a checkpoint of another architecture: {said}")
    other = [name for name in wanted if name in ours and ours[name].shape != wanted[name].shape]
    name = max(reversed(other), key=lambda name: ours[name].dim())
    return OtherArchitecture(
        f"{path} does not fit: {name} is {tuple(ours[name].shape)} there and {tuple(wanted[name].shape)} here; "
        "see to the architecture, its width and the number of classes"
    )


def quoted(names: list[str]) -> str:
    return " and ".join(f"'{name}'" for name in sorted(names))


def overlap(wanted: Tensors, state: Tensors, names: Names) -> Iterator[int]:
    """How many of the network's keys a dict has, under each prefix."""
    ours = {rename(name, names) for name in state}
    yield 0
    for prefix in prefixes(wanted, dict.fromkeys(ours, torch.empty(0))):
        yield sum(prefix + name in ours for name in wanted)


def in_order(wanted: Tensors, state: Tensors) -> bool:
    """Whether the tensors, but for counters, are of the same shapes and last names in the order given."""

    def shapes(tensors: Tensors) -> list[tuple[str, torch.Size]]:
        return [(n.rpartition(".")[2], t.shape) for n, t in tensors.items() if not BOOKKEEPING.search(n)]

    return shapes(wanted) == shapes(state)


def counted(keys: list[str], word: str) -> str:
    return f"{len(keys)} keys {word} ({', '.join(sorted(keys)[:3])}, …)" if keys else ""
