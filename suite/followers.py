"""Training in a team: what the first process of it trains, the others train with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from methods.method import Method
from suite import data as datasets
from suite.data import Dataset
from suite.errors import UserError
from suite.networks.architectures import build
from suite.progress import console
from suite.spec.model_spec import ModelSpec
from suite.team import TEAM
from suite.training import train


@dataclass(frozen=True)
class Job:
    """A training that begins: all that a process of the team needs for its share of it."""

    spec: ModelSpec
    start: dict[str, Tensor] | None  # the weights that it begins with
    data_root: Path | None
    trust: bool


def train_together(
    model: nn.Module,
    method: Method[Any],
    data: Dataset,
    spec: ModelSpec,
    start: nn.Module | None,
    *,
    data_root: Path | None,
    trust: bool,
    **given: Any,
) -> list[dict[str, float]]:
    """`suite.training.train`, by all processes of the team if this one has others beside it."""
    if TEAM.size > 1:
        root = data_root and data_root.absolute()
        TEAM.share(Job(spec, start.state_dict() if start else None, root, trust), given["device"])
    return train(model, method, data, spec, **given)


def dismiss() -> None:
    """End the team: the first process tells the others that there is nothing more to train."""
    if not TEAM.rank:
        TEAM.share(None, torch.device("cpu"))
    TEAM.leave()


def follow() -> int:
    """Take part in every training that the first process begins, until it dismisses the team; the exit code."""
    console.quiet = True
    device, sets = torch.device("cuda" if torch.cuda.is_available() else "cpu"), dict[str, Dataset]()
    while job := TEAM.share(None, device):
        spec = job.spec
        if spec.data not in sets:
            sets[spec.data] = datasets.load(spec.dataset, job.data_root, download=False)
        if sets[spec.data].fingerprint != spec.data:
            raise UserError(f"the images of {spec.dataset} are other ones here than those of the first process")
        model, method = begin(job, sets[spec.data], device)
        try:
            train(model, method, sets[spec.data], spec, checkpoint=Path(), device=device)
        except UserError:
            continue  # it diverged, and the first process says so
    return 0


def begin(job: Job, data: Dataset, device: torch.device) -> tuple[nn.Module, Method[Any]]:
    """The network and the method of a job, begun; their state is the first process's once training begins."""

    def network(spec: ModelSpec) -> nn.Module:
        made = build(spec.arch, len(data.classes), data.shape, data.mean, data.std, trust=job.trust)
        return made.to(device)

    model, method, start = network(job.spec), job.spec.build_method(), None
    if job.spec.start and job.start:
        start = network(job.spec.start).eval()
        start.load_state_dict(job.start)
    method.begin(model, start)
    return model, method
