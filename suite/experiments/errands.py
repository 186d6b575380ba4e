"""What workers do: train a model, make a run, make some of a protocol's records. Each goes on where it stopped."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from suite import data as datasets
from suite.data import Dataset
from suite.effort import models_for
from suite.errors import UserError
from suite.executors.executor import Later
from suite.leftovers import temporary
from suite.pipeline import Machine, memory_explained, obtain, run, set_up, subject_of
from suite.protocols.protocol import Record, examples
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import RunSpec
from suite.spec.sections import PROTOCOLS
from suite.store.folder import RunFolder
from suite.store.locks import Busy, hold, lock_of
from suite.store.packed import Packed, pack, unpack
from suite.store.records import RecordFile, read_lines

OF_THE_MODEL = ("model.safetensors", "training.json", "training.pt")


@dataclass(frozen=True)
class Errand:
    """A spec, and the machine whose store has what is there of it: by shared files, or as `files` from there."""

    spec: ModelSpec
    machine: Machine
    files: Packed | None = None

    @contextmanager
    def at(self, device: str | None) -> Iterator[Machine]:
        """This machine as a worker of it: the store itself, or one for this errand alone."""
        machine = replace(self.machine, device=device or self.machine.device)
        try:
            if self.files is None:
                if not machine.runs.is_dir():
                    raise UserError(f"{socket.gethostname()} has no folder {machine.runs}: give --no-shared-files")
                yield machine
                return
            with temporary() as folder:
                unpack(folder, self.files)
                yield replace(machine, runs=folder, track=False)
        except Busy as error:
            raise Later(str(error)) from error

    def images(self, machine: Machine) -> Dataset:
        """The data set of the spec, read once in a process. Raises UserError where it has other images."""
        found = load(self.spec.dataset, machine.data_root)
        if found.fingerprint != self.spec.data:
            raise UserError(f"{self.spec.dataset} on {socket.gethostname()} has other images than where this was begun")
        return found


@dataclass(frozen=True)
class PartErrand(Errand):
    """Some of the records of a run's protocol, by groups that go through the model as a whole."""

    protocol: str = ""
    groups: tuple[Sequence[int], ...] = ()

    @property
    def name(self) -> str:
        return f"{self.groups[0][0]}-{self.groups[-1][-1]}"


@cache
def load(dataset: str, root: Path | None) -> Dataset:
    return datasets.load(dataset, root)


def files_of(spec: ModelSpec, runs: Path) -> Packed:
    """What a store has of a run or a model, and of the models that it is made from."""
    if isinstance(spec, RunSpec):
        models = [model.name for model in models_for(spec, runs)]
        return pack(runs, [runs / spec.name, *(runs / "models" / name for name in models)])
    start = [runs / "models" / spec.start.name] if spec.start else []
    return pack(runs, [runs / "models" / spec.name, *start])


def train_model(errand: Errand, device: str | None) -> Packed | None:
    """The model of a spec, which other errands may be waiting for."""
    with errand.at(device) as machine, memory_explained(errand.spec, machine):
        set_up()
        obtain(errand.spec, errand.images(machine), machine, wait=False)
        if errand.files is None:
            return None
        return pack(machine.runs, [machine.runs / "models" / errand.spec.name])


def make_run(errand: Errand, device: str | None) -> Packed | None:
    """A whole run; what came of it, but for the weights, where the store is elsewhere."""
    assert isinstance(errand.spec, RunSpec)
    with errand.at(device) as machine:
        shared = errand.files is None
        folder = run(errand.spec, machine, data=errand.images(machine), train=shared, wait=False)
        return None if shared else pack(machine.runs, [folder.path], but=OF_THE_MODEL)


def make_records(errand: PartErrand, device: str | None) -> list[Record]:
    """The records of an errand's images; they are in its file in the folder of the run's parts as they are made."""
    assert isinstance(errand.spec, RunSpec)
    with errand.at(device) as machine, memory_explained(errand.spec, machine):
        set_up()
        folder, protocol = RunFolder(machine.runs / errand.spec.name, errand.spec), PROTOCOLS.get(errand.protocol)
        file = folder.parts(errand.protocol) / f"{errand.name}.jsonl"
        data = errand.images(machine)
        with hold(lock_of(file), wait=False, what=file.name), RecordFile(file) as part:
            missing = [index for group in errand.groups if not part.done.issuperset(group) for index in group]
            if missing:
                model = obtain(errand.spec.model, data, machine, folder).to(machine.torch_device).eval()
                subject = subject_of(model, data, folder, machine)
                for record in protocol.records(subject, examples(data.test, missing)):
                    if record["idx"] not in part.done:
                        part.write(record)
        return read_lines(file)
