"""A full row for any network, from Python."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import nn

from suite import data as datasets
from suite.data import Dataset
from suite.errors import UserError, first_line
from suite.networks.references import GIVEN
from suite.networks.weights import own_state
from suite.pipeline import Machine, run
from suite.spec.run_spec import RunSpec
from suite.store.files import write_atomically
from suite.store.folder import RunFolder

PROBES = 4  # images whose logits tell apart networks with the same weights
ANSWERS = "answers"


def evaluate(
    model: nn.Module,
    dataset: str | Dataset,
    *,
    sigma: float | None = None,
    name: str = "",
    protocols: str | Iterable[str] = ("accuracy", "certify"),
    deployed: Literal["pass", "vote"] | None = None,
    kind: Literal["vote", "margin"] | None = None,
    profile: str | None = None,
    seed: int = 0,
    runs: str | Path = "runs",
    data_root: str | Path | None = None,
    device: str = "auto",
    batch_size: int = 256,
    track: bool = True,
    **settings: Any,
) -> RunFolder:
    """Put a network through protocols on the test images of a data set; its run, which has a row on the board.

    `model` maps pixels in [0,1] of shape (B, C, H, W) to logits (B, K). It is copied, in float32 and evaluation mode;
    if it expects normalised images, normalise inside of it. `dataset` is a registered name, a folder's path, or a
    `suite.data.Dataset`. σ is the noise of the vote that is certified, in pixels, by default the profile's; a network
    that declares a Lipschitz bound (`suite.networks.margins`) needs none. The row is called `name`, by default the
    network's class. `protocols` are names, or "all". `settings` are those of `suite run --set`: n=10_000, images=500,
    **{"attack.steps": 40}.

    The weights are kept in `runs`/weights, under their digest. The same call goes on where it was interrupted; for the
    same weights and name with other answers (a constant that is no buffer has changed) another name is asked for.

    Raises UserError for a network that does not fit the data or has no weights, and for settings out of range.
    """
    if not isinstance(model, nn.Module):
        raise UserError(f"evaluate takes a network (torch.nn.Module), not {type(model).__name__}")
    machine = Machine(
        data_root=None if data_root is None else Path(data_root),
        runs=Path(runs),
        device=device,
        batch_size=batch_size,
        track=track,
    )
    data = datasets.load(dataset, machine.data_root) if isinstance(dataset, str) else dataset
    network = copy.deepcopy(model).cpu().float().eval()
    called = name or type(model).__name__
    weights = keep_weights(network, data, machine.runs / "weights", called)
    GIVEN[weights.stem] = network
    channels = data.shape[0]
    given = {"profile": profile, "sigma": sigma, "certify.kind": kind, "certify.deployed": deployed}
    spec = RunSpec(
        method="checkpoint",
        dataset=dataset if isinstance(dataset, str) else data.name,
        arch=f"python:{weights.stem}",
        file=str(weights),
        name=called,
        mean=(0.0,) * channels,
        std=(1.0,) * channels,
        seed=seed,
        protocols=protocols if isinstance(protocols, str) else tuple(protocols),
        **{key: value for key, value in given.items() if value is not None},
        **settings,
    )
    return run(spec, machine, data=data)


def keep_weights(network: nn.Module, data: Dataset, folder: Path, name: str) -> Path:
    """Keep a network's weights in a file by their digest, with its logits at some images, and return the file.

    Raises UserError where it has no weights, does not take the images, or answers otherwise than the one that is kept.
    """
    state = own_state(network)
    if not state:
        raise UserError("the network has no weights, so nothing identifies it: register its numbers as buffers")
    digest = hashlib.sha256()
    for key, tensor in state.items():
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    file = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}-{digest.hexdigest()[:12]}.safetensors"
    probes = torch.rand(PROBES, *data.shape, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            answers = network(probes).tolist()
    except Exception as error:  # of other people's code
        raise UserError(f"the network does not take images of {tuple(data.shape)}: {first_line(error)}") from error
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, save(state, metadata={ANSWERS: json.dumps(answers)}))
    with safe_open(file, "pt") as kept:
        known = json.loads((kept.metadata() or {}).get(ANSWERS, "[]"))
    if not torch.allclose(torch.tensor(answers), torch.tensor(known), rtol=1e-3, atol=1e-3):
        raise UserError(
            f"a network called '{name}' with the same weights gave other answers before: something that is no weight "
            "has changed; give it another name"
        )
    return file
