"""What is left to do for a run, and how long that takes on a machine."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from suite.data import Dataset
from suite.networks.architectures import build
from suite.spec.identity import needs_of
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS
from suite.store.folder import Folder, RunFolder
from suite.training import steps_done, training_steps

if TYPE_CHECKING:
    from suite.pipeline import Machine


def needed(spec: RunSpec) -> list[str]:
    """The protocols of a run and all that they build on, in the order of the registry."""
    wanted = set(spec.protocols)
    for name in reversed(PROTOCOLS.paths()):
        if name in wanted:
            wanted.update(needs_of(spec, name))
    return [name for name in PROTOCOLS.paths() if name in wanted]


def models_for(spec: RunSpec, runs: Path) -> list[ModelSpec]:
    """The models that a run asks for: its own, unless its folder has that, and those that it is compared with."""
    others = (value for name in needed(spec) for _, value in spec.sections.get(name, ()))
    own = [] if (runs / spec.name / "model.safetensors").exists() else [spec.model]
    return [*own, *(other.on(spec.data) for other in others if isinstance(other, ModelSpec))]


def missing_models(models: Iterable[ModelSpec], runs: Path) -> Iterator[ModelSpec]:
    """Those models that are not in the store, and what their training starts from, each before what it starts from."""
    for model in models:
        step: ModelSpec | None = model
        while step and not (runs / "models" / step.name / "model.safetensors").exists():
            yield step
            step = step.start


def work(spec: RunSpec, data: Dataset, machine: Machine) -> dict[str, float]:
    """What is left to do for a run, by what it makes, in forward passes of one image; roughly, by arithmetic."""
    left = dict[str, float]()
    for model in missing_models(models_for(spec, machine.runs), machine.runs):
        trained = steps_done(Folder(machine.runs / "models" / model.name, model).unfinished)
        share = 1 - trained / training_steps(model.training, len(data.train))
        left[model.name] = training_passes(model, data) * share
    for name in needed(spec):
        indices = PROTOCOLS.get(name).indices(spec, len(data.test))
        file = RunFolder(machine.runs / spec.name, spec).records_file(name)
        done = file.read_bytes().count(b"\n") / max(1, len(indices)) if file.exists() else 0.0
        left[f"{spec.name} {name}"] = PROTOCOLS.get(name).passes(spec, len(data.test)) * max(0, 1 - done)
    return left


def training_passes(model: ModelSpec, data: Dataset) -> float:
    """The whole training of a model, in forward passes of one image."""
    method = model.build_method()
    images = training_steps(model.training, len(data.train)) * model.training.batch_size * method.trains
    return images * method.passes / (2.5 if model.training.precision == "bf16" else 1.0)


def count_passes(specs: Iterable[RunSpec], data: Dataset, machine: Machine) -> float:
    """Forward passes of one image that the runs still take; a model that several share is counted once."""
    items: dict[str, float] = {}
    for spec in specs:
        items |= work(spec, data, machine)
    return sum(items.values())


def begin(left: dict[str, float] | None, name: str, whole: float) -> float:
    """Take what is about to be made from what is `left` to do, and give the others' work as a multiple of `whole`, all
    that it takes itself."""
    own = left.pop(name, 0.0) if left else 0.0
    return sum(left.values()) / whole if left and own else 0.0


def pass_time(spec: RunSpec, data: Dataset, machine: Machine) -> float:
    """Seconds that a forward pass of one image by the run's network takes on this machine, as measured now."""
    device = machine.torch_device
    model = build(spec.arch, len(data.classes), data.shape, data.mean, data.std, trust=machine.trust).to(device).eval()
    batch = torch.rand(128, *data.shape, device=device).contiguous(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(3):
            begun = time.perf_counter()
            model(batch).sum().item()
            times.append((time.perf_counter() - begun) / len(batch))
    return min(times)
