"""The story of a run: get the data, get the model, put it through the protocols, record what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from methods.foreign import Checkpoint
from suite import data as datasets
from suite.data import Dataset
from suite.data.dataset import Facts
from suite.effort import begin, needed, pass_time, training_passes, work
from suite.errors import OtherArchitecture, UserError
from suite.followers import train_together
from suite.networks.allocator import keep_memory
from suite.networks.architecture import Shape
from suite.networks.architectures import build
from suite.networks.checkpoint_files import fetch
from suite.networks.guess import fitting
from suite.progress import duration, logger, progress
from suite.protocols.protocol import Record, Subject, examples
from suite.smoothing.noise import key
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS
from suite.spec.shell_line import command
from suite.store.environment import environment
from suite.store.folder import Folder, RunFolder, run_protocols
from suite.store.migrate import migrate
from suite.store.mlflow.live import LiveRun, tracked
from suite.store.result import make_result
from suite.training import Report, Watch

# makes the records of a protocol elsewhere: groups of images, each of which goes through the model as a whole
Make = Callable[[RunFolder, "Machine", str, list[Sequence[int]]], Iterator[Record]]
OUT_OF_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")  # as torch says it


@dataclass(frozen=True)
class Machine:
    """Where a run happens. Nothing here changes what comes out of it, but for the device's own arithmetic."""

    data_root: Path | None = None
    runs: Path = Path("runs")
    device: str = "auto"
    batch_size: int = 256  # of the protocols
    track: bool = True  # log finished runs to MLflow
    trust: bool = False  # run the code of architectures that fetch some

    @property
    def torch_device(self) -> torch.device:
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            torch.empty(1, device=self.device)
            return torch.device(self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"device '{self.device}' is not available: {str(error).splitlines()[0]}") from error


def run(
    spec: RunSpec,
    machine: Machine | None = None,
    *,
    train: bool = True,
    data: Dataset | None = None,
    watch: Watch | None = None,
    live: LiveRun | None = None,
    wait: bool = True,
    make: Make | None = None,
) -> RunFolder:
    """Carry out a run, or what is left of it, and return its folder; `result.json` there is its row.

    Interrupted at any point, the same call goes on where it stopped and ends with the same records. The row has the
    metrics of every protocol that the folder has all records of, asked for now or earlier. Without `train` a model that
    is not there is an error. `data` takes the place of the spec's data set: a view of it, with its own fingerprint.
    `watch` sees the model after each step of its training. MLflow has the run in `live`, which the caller closes, or as
    the machine says. Raises UserError for everything the user can fix; Busy, unless it is to `wait`, where another
    process is at work on the run or on a model that it needs. `make` makes the records of the protocols that can be
    made in parts.
    """
    machine = machine or Machine()
    device = machine.torch_device
    set_up()
    if data:
        check([spec], data.facts, machine, train=train)
    else:
        data = load_for([spec], machine, train=train)
    spec = spec.on(data.fingerprint)
    migrate(machine.runs)
    folder = RunFolder(machine.runs / spec.name, spec)
    if not train:
        need_model(spec, machine)
    own = tracked(folder.path, machine.runs, data, spec, on=machine.track)
    with folder.locked(wait=wait), nullcontext(live) if live else own as reported:
        folder.open(environment(device) | {"data": describe(data)})
        protocols = needed(spec)
        spec = folder.keep_settings(protocols)
        left = work(spec, data, machine)
        passes = sum(left.values())
        seconds = passes * pass_time(spec, data, machine) if passes else 0.0
        noise = f"σ = {spec.sigma:g}" if spec.sigma else "no noise"
        about = f"{spec.method} on {data.title} ({data.source}), {spec.arch}, {noise}"
        logger.info(f"{about}, profile '{spec.profile}' on {device.type}: about {duration(seconds)}")
        logger.debug(f"in {folder.path}, on {torch.get_num_threads()} threads, torch {torch.__version__}")
        reported.start()
        with memory_explained(spec, machine):
            model = obtain(
                spec.model, data, machine, folder,
                watch=watch, report=reported.report, left=left, wait=wait,
            )  # fmt: skip
            for name in protocols:
                measure(name, model.to(device).eval(), data, folder, machine, left, make)
        if folder.keep_result(make_result(spec, data.name, data.title, complete(folder, data))):
            logger.debug(f"row written: {folder.path / 'result.json'}")
    return folder


def set_up() -> None:
    """What holds in every process that makes something."""
    keep_memory()
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False  # fp32 is to mean fp32 on every device


@contextmanager
def memory_explained(spec: ModelSpec, machine: Machine) -> Iterator[None]:
    """A UserError, which names the batches to lower, in place of what says that there is not enough memory."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(said in str(error).lower() for said in OUT_OF_MEMORY):
            raise
        raise UserError(
            f"not enough memory for {spec.name}: lower --batch-size (now {machine.batch_size}) or, if it was training, "
            f"batch_size (now {spec.training.batch_size}) by --set"
        ) from error


def load_for(specs: Sequence[RunSpec], machine: Machine, *, train: bool = True, download: bool = True) -> Dataset:
    """The data set of runs, which are checked as early as can be: before it is read, where its facts are known."""
    if known := datasets.facts(specs[0].dataset):
        check(specs, known, machine, train=train)
    data = datasets.load(specs[0].dataset, machine.data_root, download=download)
    if not known:
        check(specs, data.facts, machine, train=train)
    return data


def check(specs: Sequence[RunSpec], facts: Facts, machine: Machine, *, train: bool = True) -> None:
    """Raise UserError, before anything is read or made, where runs cannot be made of such data."""
    classes, shape = facts
    for spec in specs:
        if train:
            check_checkpoints(spec.model, classes, shape, machine)
        if spec.certify.top >= classes:
            raise UserError(f"the top-{spec.certify.top} rule needs more than the {classes} classes here")


def need_model(spec: RunSpec, machine: Machine) -> None:
    """Raise UserError, before anything is made, where a run has no trained model."""
    places = [machine.runs / spec.name, machine.runs / "models" / spec.model.name]
    if spec.build_method().trains and not any((place / "model.safetensors").exists() for place in places):
        raise UserError(
            f"the trained model of {spec.name} is neither in its folder nor in {machine.runs / 'models'}: "
            f"{command(spec, spec.protocols)} trains it anew"
        )


def check_checkpoints(spec: ModelSpec, classes: int, shape: Shape, machine: Machine) -> None:
    """Raise UserError where other people's weights do not fit the network."""
    method = spec.build_method()
    if isinstance(method, Checkpoint):
        middle = (0.5,) * shape[0]
        try:
            method.begin(build(spec.arch, classes, shape, middle, middle, trust=machine.trust))
        except OtherArchitecture as error:
            found = fitting(fetch(method.parameters.file), classes, shape)
            raise OtherArchitecture(f"{error}" + "".join(f"; it fits --arch {arch}" for arch in found[:1])) from error
    elif spec.start:
        with spec.explain_start():
            check_checkpoints(spec.start, classes, shape, machine)


def describe(data: Dataset) -> dict[str, Any]:
    """What a reader of a run has to know of its images without having them."""
    sizes = {"train": len(data.train), "test": len(data.test)}
    return {"title": data.title, "shape": list(data.shape), "classes": len(data.classes), **sizes}


def complete(folder: RunFolder, data: Dataset) -> dict[str, pd.DataFrame]:
    """All records of each protocol that has them for all its images."""
    found = {}
    for name in run_protocols(folder.spec):
        records = folder.records(name)
        if len(records) and set(PROTOCOLS.get(name).indices(folder.spec, len(data.test))) <= set(records["idx"]):
            found[name] = records
    return found


def obtain(
    spec: ModelSpec,
    data: Dataset,
    machine: Machine,
    user: Folder[Any] | None = None,
    *,
    watch: Watch | None = None,
    report: Report | None = None,
    left: dict[str, float] | None = None,
    wait: bool = True,
) -> nn.Module:
    """The trained model of a spec: loaded if any run has trained it, else trained now, from what it starts from."""
    folder, device = Folder(machine.runs / "models" / spec.name, spec), machine.torch_device
    torch.manual_seed(key(spec.seed, "weights"))
    model = build(spec.arch, len(data.classes), data.shape, data.mean, data.std, trust=machine.trust)
    if user and user.checkpoint.exists():
        user.load_model(model)
        logger.debug(f"model of the run: {user.checkpoint}")
        return model
    with folder.locked(wait=wait):
        folder.open(environment(device))
        if not folder.checkpoint.exists():
            method = spec.build_method()
            with spec.explain_start():
                start = None
                if spec.start:
                    start = obtain(spec.start, data, machine, report=report, left=left, wait=wait).to(device).eval()
            if start and not method.start_is_teacher:
                model.load_state_dict(start.state_dict())
            model.to(device)
            method.begin(model, start)
            history = []
            if method.trains:
                history = train_together(
                    model, method, data, spec, start, data_root=machine.data_root, trust=machine.trust,
                    checkpoint=folder.unfinished, device=device, watch=watch, report=report,
                    follows=begin(left, spec.name, training_passes(spec, data)),
                )  # fmt: skip
            folder.save_model(model.cpu(), history)
        folder.load_model(model)
        logger.debug(f"model: {folder.checkpoint}")
    if user:
        user.adopt(folder)
    return model


def subject_of(
    model: nn.Module, data: Dataset, folder: RunFolder, machine: Machine, left: dict[str, float] | None = None
) -> Subject:
    """What the protocols of a run examine; its model is on the machine's device, in evaluation mode."""
    spec, device = folder.spec, machine.torch_device
    return Subject(
        model, spec, machine.batch_size, device,
        records=folder.records,
        other=lambda other: obtain(other.on(spec.data), data, machine, left=left).to(device).eval(),
    )  # fmt: skip


def measure(
    name: str,
    model: nn.Module,
    data: Dataset,
    folder: RunFolder,
    machine: Machine,
    left: dict[str, float],
    make: Make | None = None,
) -> None:
    """Put the model through a protocol, but for the images whose records are there."""
    protocol, spec = PROTOCOLS.get(name), folder.spec
    indices = protocol.indices(spec, len(data.test))
    if not len(indices):
        raise UserError(f"{data.title} from {data.source} has no test images for {name}")
    with folder.recording(name) as file:
        size, done = protocol.group_size(spec, machine.batch_size), set(file.done)
        groups = [indices[first : first + size] for first in range(0, len(indices), size)]
        missing = [group for group in groups if not done.issuperset(group)]
        follows = begin(left, f"{spec.name} {name}", protocol.passes(spec, len(data.test)))
        if missing:
            if make and protocol.in_parts:
                made = make(folder, machine, name, missing)
            else:
                subject = subject_of(model, data, folder, machine, left)
                made = protocol.records(subject, examples(data.test, [index for group in missing for index in group]))
            with progress(name, len(indices), len(done.intersection(indices)), follows) as advance:
                for record in made:
                    if record["idx"] not in done:
                        file.write(record)
                        done.add(record["idx"])
                        advance("")
        else:
            logger.debug(f"{name}: all {len(indices)} records are there")
    folder.settle(name)
