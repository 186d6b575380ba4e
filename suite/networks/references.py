"""Networks that are named by where they are: in another library, in a repository, or in code of one's own.

    timm:NAME            a model of timm
    torchvision:NAME     a classifier of torchvision, as it is there
    hub:REPO:NAME        an entry of a repository's hubconf.py (owner/repo, owner/repo:branch or a folder), by torch.hub
    FILE.py:NAME         a class, a function or a network in a file
    MODULE:NAME          likewise in a module that can be imported

Code of one's own is called with those of the number of classes, the channels, the image's side and its shape that it
has parameters for. A reference to it is pinned (`NAME@digest`): a run is of one network, and code that has changed
since is refused.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from suite.errors import UserError, first_line, require
from suite.networks.architecture import Architecture, Shape
from suite.networks.code import PINNED, code_digest, on_path, source_of

PARAMETERS = {  # what a network's author may call them
    "classes": ("num_classes", "classes", "n_classes", "nclass", "n_class", "num_class", "nb_classes", "out_features"),
    "channels": ("in_channels", "channels", "in_chans", "num_channels", "input_channels", "in_ch", "nc"),
    "side": ("img_size", "image_size", "input_size", "size"),
    "shape": ("shape", "input_shape", "image_shape", "in_shape"),
}

GIVEN: dict[str, nn.Module] = {}  # from Python, in this process


def find_reference(arch: str) -> Architecture:
    """The architecture behind a reference. Raises UserError where there is none."""
    library, _, name = arch.partition(":")
    if library == "timm":
        return from_timm(name)
    if library == "torchvision":
        return from_torchvision(name)
    if library == "hub":
        repository, _, entry = name.rpartition(":")
        if not repository or not entry:
            raise UserError(f"'{arch}' is no entry of a repository: write hub:owner/repo:NAME, or hub:FOLDER:NAME")
        return Architecture(partial(from_hub, repository, entry), runs_code=True)
    if library == "python":
        if name not in GIVEN:
            raise UserError(
                f"the network '{name}' was given from Python, by suite.evaluate, and is not in this process: call it "
                "with the same network again"
            )
        return Architecture(partial(construct, GIVEN[name], name), lipschitz=hasattr(GIVEN[name], "lipschitz_bound"))
    found = PINNED.fullmatch(arch)
    if not found:
        raise UserError(
            f"'{arch}' is no network: write FILE.py:NAME, MODULE:NAME, timm:NAME, torchvision:NAME or hub:REPO:NAME"
        )
    thing = from_code(found["home"], found["name"], found["digest"])
    if isinstance(thing, Architecture):
        return thing
    return Architecture(partial(construct, thing, arch), lipschitz=hasattr(thing, "lipschitz_bound"))


def from_timm(name: str) -> Architecture:
    require(f"--arch timm:{name}", "networks", "timm")
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name}*")[:5]
        raise UserError(f"timm has no model '{name}'" + (f"; it has {', '.join(near)}" if near else ""))

    def network(classes: int, shape: Shape, width: int) -> nn.Module:
        fixed = timm.get_pretrained_cfg_value(name, "fixed_input_size")
        size: dict[str, Any] = {"img_size": shape[1:]} if fixed else {}
        return built(f"timm:{name}", lambda: timm.create_model(name, num_classes=classes, in_chans=shape[0], **size))

    return Architecture(network)


def from_torchvision(name: str) -> Architecture:
    from torchvision import models

    if name not in models.list_models(module=models):
        near = models.list_models(module=models, include=f"*{name}*")[:5]
        raise UserError(f"torchvision has no classifier '{name}'" + (f"; it has {', '.join(near)}" if near else ""))

    def network(classes: int, shape: Shape, width: int) -> nn.Module:
        if shape[0] != 3:
            raise UserError(f"torchvision:{name} takes images of 3 channels, not {shape[0]}")
        return built(f"torchvision:{name}", lambda: models.get_model(name, weights=None, num_classes=classes))

    return Architecture(network)


def from_hub(repository: str, entry: str, classes: int, shape: Shape, width: int) -> nn.Module:
    """The network that the entry of a repository's hubconf.py gives; its code is run."""
    where = f"hub:{repository}:{entry}"
    source = "local" if Path(repository).is_dir() else "github"
    load = partial(torch.hub.load, repository, entry, source=source, trust_repo=True, verbose=False)

    def network() -> object:
        try:
            return load(num_classes=classes)
        except TypeError as error:
            if "num_classes" not in str(error):
                raise
            return load()

    return checked(built(where, network), where, classes, shape)


def built(where: str, network: Callable[[], object]) -> nn.Module:
    """What other people's code makes, with whatever it raises as a UserError."""
    try:
        found = network()
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{where} does not give a network: {type(error).__name__}: {first_line(error)}") from error
    if not isinstance(found, nn.Module):
        raise UserError(f"{where} gives {type(found).__name__}, not a network (torch.nn.Module)")
    return found


def construct(thing: object, where: str, classes: int, shape: Shape, width: int) -> nn.Module:
    """A network from a class, a function or a network of one's own."""
    if isinstance(thing, nn.Module):
        return checked(copy.deepcopy(thing), where, classes, shape)
    if not callable(thing):
        raise UserError(f"{where} is {type(thing).__name__}, not a class, a function or a network")
    values = {"classes": classes, "channels": shape[0], "side": shape[1], "shape": shape}
    known = {name: values[meaning] for meaning, names in PARAMETERS.items() for name in names}
    parameters = inspect.signature(thing).parameters
    needed = [
        name for name, parameter in parameters.items()
        if parameter.default is parameter.empty and name not in known
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]  # fmt: skip
    if needed:
        raise UserError(
            f"{where} needs {', '.join(needed)}, which is not known here: write a function of num_classes that gives "
            "the network, and name that one"
        )
    given = {name: value for name, value in known.items() if name in parameters}
    return checked(built(where, lambda: thing(**given)), where, classes, shape)


def checked(network: nn.Module, where: str, classes: int, shape: Shape) -> nn.Module:
    """The network, once it was seen to give logits of the right shape. Raises UserError where it does not."""
    training = network.training
    try:
        with torch.no_grad():
            logits = network.eval()(torch.zeros(2, *shape))
    except Exception as error:
        raise UserError(f"{where} does not take images of {shape}: {first_line(error)}") from error
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        gives = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise UserError(f"{where} gives {gives} for 2 images, not logits of {classes} classes, (2, {classes})")
    return network.train(training)


def from_code(home: str, name: str, digest: str | None) -> object:
    """The thing called `name` in a file or module. Raises UserError where its code is another than `digest` says."""
    file = source_of(home)
    now = code_digest(file)
    if digest and now != digest:
        raise UserError(
            f"{home} has changed since this run was begun (its digest was {digest} and is {now}): put it back as it "
            "was, or begin a run of its own without the digest"
        )
    found: Any = run_code(home if not home.endswith(".py") else "", file.resolve(), now)
    for part in name.split("."):
        if not hasattr(found, part):
            own = [n for n, t in vars(found).items() if inspect.isclass(t) and issubclass(t, nn.Module)][:5]
            raise UserError(f"{home} has no '{name}'" + (f"; it has {', '.join(own)}" if own else ""))
        found = getattr(found, part)
    return found


@cache
def run_code(module: str, file: Path, digest: str) -> ModuleType:
    """The module, run once in a process for each state of its file; what lies beside the file can be imported."""
    try:
        with on_path(os.getcwd() if module else str(file.parent)):
            if module:
                return importlib.import_module(module)
            spec = importlib.util.spec_from_file_location(f"{file.stem}_{digest}", file)
            assert spec
            assert spec.loader
            made = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = made
            spec.loader.exec_module(made)
            return made
    except (Exception, SystemExit) as error:
        raise UserError(
            f"{module or file.name} does not import: {type(error).__name__}: {first_line(error)}"
        ) from error
