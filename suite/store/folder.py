"""A run on disk: one folder with what was asked, what was trained, every record, and what came out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn

from suite.errors import UserError
from suite.networks.weights import load_into
from suite.progress import console
from suite.spec.run_spec import ModelSpec
from suite.store.files import read_json, write_atomically, write_json
from suite.store.records import RecordFile


class Folder:
    """`runs/<name>` of a run, or `runs/models/<name>` of a model that runs share.

    spec.json, environment.json, model.safetensors, training.json (the history), <protocol>.jsonl (records, one per
    image) and, once the run has finished, result.json.
    """

    def __init__(self, path: Path, spec: ModelSpec):
        self.path, self.spec = path, spec
        self.checkpoint = path / "model.safetensors"
        self.unfinished = path / "training.pt"

    def open(self, environment: dict[str, Any]) -> None:
        """Make the folder or, where it is there, make sure that it is this run's."""
        self.path.mkdir(parents=True, exist_ok=True)
        written, content = self.path / "spec.json", self.spec.model_dump(mode="json")
        if written.exists():
            found = read_json(written)
            if not isinstance(found, dict):
                raise UserError(f"{written} is damaged; remove {self.path} and run the same command again")
            differing = [
                k for k in content | found if content.get(k) != found.get(k) and k not in ("profile", "protocols")
            ]
            if differing:
                said = ", ".join(f"{key}: {found.get(key)} there, {content.get(key)} here" for key in differing)
                raise UserError(f"{self.path} belongs to another spec ({said}); move it away or choose another --runs")
        else:
            write_json(written, content)
            write_json(self.path / "environment.json", environment)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, so that two processes with the same spec share its work instead of mixing it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.parent / f".{self.path.name}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            console.print(f"another process is at work on {self.path}; waiting for it", highlight=False)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

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

    def adopt(self, other: Folder) -> None:
        """Take over another folder's trained model, sharing the file where the file system can."""
        if self.checkpoint.exists():
            return
        write_atomically(self.path / "training.json", (other.path / "training.json").read_bytes())
        try:
            os.link(other.checkpoint, self.checkpoint)
        except OSError:
            write_atomically(self.checkpoint, other.checkpoint.read_bytes())

    def records(self, protocol: str) -> RecordFile:
        """The file of a protocol's records, to read what is done and to append."""
        return RecordFile(self.path / f"{protocol}.jsonl")
