"""The story of a run: get the data, get the model, put it through the protocols, record what came out."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from suite import data as datasets
from suite.data import Dataset
from suite.errors import UserError
from suite.files import read_records, write_json
from suite.models import build
from suite.noise import key
from suite.progress import console, duration, progress
from suite.protocols import examples
from suite.record import Folder, environment
from suite.result import summarise
from suite.spec import PROTOCOLS, ModelSpec, RunSpec
from suite.training import train, training_steps


@dataclass(frozen=True)
class Machine:
    """Where a run happens. Nothing here changes what comes out of it, but for the device's own arithmetic."""

    data_root: Path | None = None
    runs: Path = Path("runs")
    device: str = "auto"
    batch_size: int = 256  # of the protocols
    track: bool = True  # log finished runs to MLflow

    @property
    def torch_device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(1, device=self.device)
            return torch.device(self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"device '{self.device}' is not to be had here: {str(error).splitlines()[0]}") from error


def run(spec: RunSpec, machine: Machine | None = None) -> Folder:
    """Carry out a run, or what is left of it, and return its folder; `result.json` there is its row.

    Interrupted at any point, the same call goes on where it stopped and ends with the same records. Raises UserError
    for everything the user can mend.
    """
    machine = machine or Machine()
    device = machine.torch_device
    torch.backends.cudnn.deterministic = True
    data = datasets.load(spec.dataset, machine.data_root)
    spec = spec.on(data.fingerprint)
    folder = Folder(machine.runs / spec.name, spec)
    with folder.locked():
        folder.open(environment(device))
        announce(spec, data, machine)
        model = obtain(spec.model, data, machine, folder)
        model.to(device)
        records = {name: measure(name, model, data, spec, folder, machine) for name in spec.protocols}
        write_json(folder.path / "result.json", summarise(spec, data, records))
    if machine.track:
        from suite.tracking import track

        track(folder.path, machine.runs)
    return folder


def obtain(spec: ModelSpec, data: Dataset, machine: Machine, user: Folder | None = None) -> nn.Module:
    """The trained model of a spec: loaded if any run has trained it, else trained now, from what it starts from."""
    folder, device = Folder(machine.runs / "models" / spec.name, spec), machine.torch_device
    torch.manual_seed(key(spec.seed, "weights"))
    model = build(spec.arch, len(data.classes), data.shape, data.mean, data.std)
    with folder.locked():
        folder.open(environment(device))
        if not folder.checkpoint.exists():
            method = spec.build_method()
            if spec.start:
                model.load_state_dict(obtain(spec.start, data, machine).state_dict())
            model.to(device)
            method.begin(model)
            paused = folder.unfinished
            history = train(model, method, data, spec, checkpoint=paused, device=device) if method.trains else []
            folder.save_model(model.cpu(), history)
        folder.load_model(model)
    if user:
        user.adopt(folder)
    return model


def measure(
    name: str, model: nn.Module, data: Dataset, spec: RunSpec, folder: Folder, machine: Machine
) -> pd.DataFrame:
    """Put the model through a protocol, but for the images whose records are there, and return all records."""
    protocol = PROTOCOLS.get(name)
    indices = protocol.indices(spec, len(data.test))
    if not len(indices):
        raise UserError(f"{data.title} from {data.source} has no test images for {name}")
    with folder.records(name) as file:
        left = [index for index in indices if index not in file.done]
        with progress(name, len(indices), len(indices) - len(left)) as advance:
            images = examples(data.test, left)
            for record in protocol.records(model, images, spec, machine.batch_size, machine.torch_device):
                file.write(record)
                advance("")
    return read_records(file.path)


def announce(spec: RunSpec, data: Dataset, machine: Machine) -> None:
    """Say what is about to happen, on what, and about how long it takes: from one timed pass, by arithmetic."""
    device = machine.torch_device
    model = build(spec.arch, len(data.classes), data.shape, data.mean, data.std).to(device).eval()
    batch = torch.rand(128, *data.shape, device=device).contiguous(memory_format=torch.channels_last)
    times = []
    with torch.inference_mode():
        for _ in range(3):
            begun = time.perf_counter()
            model(batch).sum().item()
            times.append((time.perf_counter() - begun) / len(batch))
    passes = 0.0
    step: ModelSpec | None = spec.model
    while step and not (machine.runs / "models" / step.name / "model.safetensors").exists():
        method = step.build_method()
        images = training_steps(step.training, len(data.train)) * step.training.batch_size * method.trains
        speed = 2.5 if step.training.precision == "bf16" else 1.0
        passes += images * method.passes / speed
        step = step.start
    if "certify" in spec.protocols:
        images = len(PROTOCOLS.get("certify").indices(spec, len(data.test)))
        passes += images * (spec.certify.n0 + spec.certify.n)
    console.print(
        f"{spec.method} on {data.title} ({data.source}), {spec.arch}, σ = {spec.sigma:g}, "
        f"profile '{spec.profile}' on {device.type}: about {duration(passes * min(times))}",
        highlight=False,
        soft_wrap=True,
    )
