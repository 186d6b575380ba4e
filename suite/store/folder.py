"""A run on disk: one folder with what was asked, what was trained, every record, and what came out."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

import pandas as pd
from torch import nn

from suite.errors import UserError
from suite.leftovers import LEFTOVER, discard
from suite.networks.weights import load_into
from suite.spec.identity import records_content
from suite.spec.model_spec import ModelSpec
from suite.spec.run_spec import SCHEMA, RunSpec
from suite.spec.sections import PROTOCOLS
from suite.store.files import read_json, write_atomically, write_json
from suite.store.locks import hold, lock_of
from suite.store.records import RecordFile, read_lines, read_records, sort_records
from suite.store.result import Result

S = TypeVar("S", bound=ModelSpec)


class Folder(Generic[S]):
    """`runs/models/<name>` of a model that runs share: spec.json, environment.json, model.safetensors, and
    training.json (the history)."""

    def __init__(self, path: Path, spec: S):
        self.path, self.spec = path, spec
        self.checkpoint = path / "model.safetensors"
        self.unfinished = path / "training.pt"

    def open(self, environment: dict[str, Any]) -> None:
        """Make the folder or, where it is there, make sure that it is this model's."""
        self.path.mkdir(parents=True, exist_ok=True)
        for left in self.path.glob(".*"):
            if LEFTOVER.fullmatch(left.name):  # of a process that was killed: this one holds the folder
                left.unlink(missing_ok=True)
        if self.checkpoint.exists():
            self.unfinished.unlink(missing_ok=True)
        known = (self.path / "spec.json").exists()
        if known:
            self.check(self.read_spec())
        if not (self.path / "environment.json").exists():  # before the spec: it is there wherever a run is
            write_json(self.path / "environment.json", environment)
        if not known:
            write_json(self.path / "spec.json", {"schema": SCHEMA, **self.spec.model_dump(mode="json")})

    def read_spec(self) -> dict[str, Any]:
        """The content of spec.json. Raises UserError where it is damaged."""
        found = read_json(self.path / "spec.json")
        if not isinstance(found, dict):
            raise UserError(f"{self.path / 'spec.json'} is damaged; remove {self.path} and run the same command again")
        return found

    def check(self, stored: Mapping[str, Any]) -> None:
        """Raise UserError where the folder is another model's."""
        content = self.spec.model_dump(mode="json", include=set(ModelSpec.model_fields))
        differing = [name for name in content if name not in stored or differs(stored[name], content[name])]
        if differing:
            said = ", ".join(f"{name}: {stored.get(name)} there, {content[name]} here" for name in differing)
            raise UserError(f"{self.path} belongs to another spec ({said}); move it away or choose another --runs")

    def locked(self, *, wait: bool = True) -> AbstractContextManager[None]:
        """Hold the folder, so that two processes with the same spec share its work instead of mixing it.

        Raises Busy where another process holds it and is not to be waited for.
        """
        return hold(lock_of(self.path), wait=wait, what=str(self.path))

    def save_model(self, model: nn.Module, history: list[dict[str, float]]) -> None:
        """Write the trained weights; the state that training resumes from is no longer needed."""
        from safetensors.torch import save

        write_json(self.path / "training.json", history)
        state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        write_atomically(self.checkpoint, save(state))
        self.unfinished.unlink(missing_ok=True)

    def load_model(self, model: nn.Module) -> None:
        """Load the trained weights into `model`. Raises UserError where the file is not what was saved."""
        try:
            load_into(model, self.checkpoint)
        except UserError as error:
            raise UserError(f"{error}; remove the file and run the same command again to train anew") from error

    def adopt(self, other: Folder[Any]) -> None:
        """Take over another folder's trained model, sharing the file where the file system can."""
        if self.checkpoint.exists():
            return
        write_atomically(self.path / "training.json", (other.path / "training.json").read_bytes())
        try:
            os.link(other.checkpoint, self.checkpoint)
        except OSError:
            write_atomically(self.checkpoint, other.checkpoint.read_bytes())


class RunFolder(Folder[RunSpec]):
    """`runs/<name>` of a run, which makes one row: a model with its certificates, and what other protocols found.

    Besides a model's files it has, of each protocol, <protocol>-<digest>.jsonl (records, one per image) and
    <protocol>-<digest>.json (the settings that the digest stands for) and, once the run has finished, result.json.
    """

    def keep_settings(self, asked: Iterable[str]) -> RunSpec:
        """Lay the settings of the protocols `asked` over those that the folder has, and return the spec of both.

        So a protocol that is not asked for now keeps the settings, and with them the records, that it has in the row.
        """
        stored = RunSpec.from_json(self.read_spec())
        asked = set(asked)
        kept = {name: section for name, section in stored.sections.items() if name not in asked}
        self.spec = self.spec.model_copy(update=kept)
        if self.spec.sections != stored.sections:
            write_json(self.path / "spec.json", self.spec.to_json())
        return self.spec

    def records_file(self, protocol: str) -> Path:
        """Where a protocol's records lie, with the spec's settings."""
        return self.path / f"{protocol}-{self.spec.records_digest(protocol)}.jsonl"

    def records(self, protocol: str) -> pd.DataFrame:
        """The records that there are, one per image, with the spec's settings; none where there is no file."""
        return read_records(self.records_file(protocol))

    @property
    def result(self) -> Result:
        """The row. Raises UserError where the run is not finished."""
        file = self.path / "result.json"
        if not file.exists():
            raise UserError(f"{self.path.name} is not finished: it has no result.json yet")
        return Result.from_file(file)

    def keep_result(self, result: dict[str, Any]) -> bool:
        """Write the row, unless it is there already, of whatever day; whether it was written."""
        file = self.path / "result.json"
        with suppress(OSError, UserError, TypeError):
            if read_json(file) | {"date": ""} == json.loads(json.dumps(result)) | {"date": ""}:
                return False
        write_json(file, result)
        return True

    def __repr__(self) -> str:
        try:
            row = self.result
        except UserError:
            return f"<run {self.path.name}, not finished, in {self.path.parent}>"
        return f"<run {self.path.name}: {row.summary}; in {self.path.parent}>"

    def recording(self, protocol: str) -> RecordFile:
        """The file of a protocol's records, to read what is done and to append.

        It begins with the records that another run of the same model has made with the same settings, and has those
        that processes at work on a part each have left. Raises UserError where the settings kept beside it are others.
        """
        file = self.records_file(protocol)
        self.write_settings(protocol)
        if not file.exists():
            model = self.path.name.rpartition("-")[0]
            others = (folder / file.name for folder in self.path.parent.glob(f"{model}-*"))
            if found := next((other for other in others if other.exists()), None):
                write_atomically(file, found.read_bytes())
        whole = RecordFile(file)
        for part in sorted(self.parts(protocol).glob("*.jsonl")):
            for record in read_lines(part):
                if record["idx"] not in whole.done:
                    whole.write(record)
                    whole.done.add(record["idx"])
        if self.parts(protocol).exists():
            whole.sync()
            discard(self.parts(protocol))
        return whole

    def parts(self, protocol: str) -> Path:
        """The folder of the records that several processes are making, a file for each part of the images."""
        return self.path / ".parts" / self.records_file(protocol).stem

    def settle(self, protocol: str) -> None:
        """A protocol's records are all there: in the order of the images, whatever order they were made in."""
        sort_records(self.records_file(protocol))
        discard(self.parts(protocol))
        with suppress(OSError):  # there is none, or it has another protocol's
            (self.path / ".parts").rmdir()

    def write_settings(self, protocol: str) -> None:
        """Keep beside a protocol's records what their name stands for. UserError where that is something else."""
        file = self.records_file(protocol).with_suffix(".json")
        content = {"protocol": protocol, **records_content(self.spec, protocol, defaults=True)}
        if not file.exists():
            write_json(file, content)
        elif differs(read_json(file), content):
            raise UserError(f"{file} has other settings than this run's, under the same name; move it away")


def differs(stored: Any, now: Any) -> bool:
    """Whether JSON values differ, but for names that one of them lacks: settings that came later, with a default."""
    if isinstance(stored, dict) and isinstance(now, dict):
        return any(differs(stored[name], now[name]) for name in stored.keys() & now.keys())
    return bool(stored != now)


def run_protocols(spec: RunSpec) -> list[str]:
    """The protocols that a run can have records of: those without settings, and those with a section in its spec."""
    return [n for n, p in PROTOCOLS.loadable().items() if p.settings is None or n in spec.sections]
