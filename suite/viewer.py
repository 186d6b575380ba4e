"""One image as a run's model sees it: clean, noisy, adversarial, and the votes under noise. Nothing is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from suite import data as datasets
from suite.attacks.pgd import first_success_pgd
from suite.attacks.target import Target, distances, keyed_noise
from suite.data import Dataset
from suite.errors import UserError
from suite.networks.architectures import build
from suite.networks.folding import folded
from suite.networks.weights import load_into
from suite.protocols.protocol import draws_per_image
from suite.smoothing.noise import draws
from suite.smoothing.voting import top_classes
from suite.spec.run_spec import RunSpec


@dataclass(frozen=True)
class View:
    """Images (C, H, W) of pixels in [0,1], but for `noisy`, which noise takes outside of it, and what they are called.

    `adversarial` is None where PGD found nothing; `distance` is its ℓ2 norm, 0 for an image that is misclassified as it
    is. `votes` counts the answers to noisy copies by class; a run without noise has none, and no `noisy`. An answer is
    the class of a single pass, but for `answer_adversarial`: that of what the row deploys.
    """

    label: int
    clean: Tensor
    noisy: Tensor | None
    adversarial: Tensor | None
    distance: float | None
    answer: int
    answer_noisy: int | None
    answer_adversarial: int | None
    votes: dict[int, int]


def load_data(spec: RunSpec, root: Path | None) -> Dataset:
    """The data of a run, if it is at hand. Raises UserError where it is not, or is not what the run saw."""
    data = datasets.load(spec.dataset, root, download=False)
    if data.fingerprint != spec.data:
        raise UserError(f"the {data.title} at hand is not what this run saw: other images, or another order of them")
    return data


def load_model(folder: Path, spec: RunSpec, data: Dataset) -> nn.Module:
    """A run's model on the CPU, ready to answer. Raises UserError where its checkpoint is gone or damaged."""
    model = build(spec.arch, len(data.classes), data.shape, data.mean, data.std)
    load_into(model, folder / "model.safetensors")
    return model.eval()


def picture(data: Dataset, index: int) -> Tensor:
    """A test image (C, H, W), pixels in [0,1]. Raises UserError for an index outside the test set."""
    if not 0 <= index < len(data.test):
        raise UserError(f"{data.title} has no test image {index}: it has {len(data.test)}, from 0")
    return data.test[torch.tensor([index])][0].float() / 255


def view(model: nn.Module, spec: RunSpec, data: Dataset, index: int, *, n: int = 100) -> View:
    """A test image under n draws of the run's noise, and attacked as in its `attack` protocol (PGD, within max_norm).

    Everything follows from the run's seed and the index: the adversarial image is the one whose distance that protocol
    records, on the device it ran on. Raises UserError for an index outside the test set.
    """
    x, label, sigma = picture(data, index), int(data.test.labels[index]), spec.sigma or 0.0
    noisy, voted = None, []
    if spec.noise_sigma:
        noisy = x + sigma * torch.cat(list(draws(spec.seed, "view", index, n, like=x)))
        voted = top_classes(folded(model, x), noisy)[:, 0].tolist()
    noise = keyed_noise(
        x[None], [index], draws_per_image("attack", spec), sigma=sigma, seed=spec.seed, purpose="attack"
    )
    target = Target(
        model,
        torch.tensor([label]),
        noise,
        [index],
        seed=spec.seed,
        purpose="attack",
        top=spec.certify.top,
        batch_size=256,
    )
    row = torch.tensor([0])
    epsilon = torch.tensor([spec.attack.max_norm], dtype=torch.float64)
    found, hit = first_success_pgd(
        target, x[None], target.see(x[None], row, "clean"), epsilon=epsilon, steps=spec.attack.steps
    )
    success = bool(hit)
    return View(
        label=label,
        clean=x,
        noisy=None if noisy is None else noisy[0],
        adversarial=found[0] if success else None,
        distance=distances(found, x[None])[0] if success else None,
        answer=int(top_classes(model, x[None])[0, 0]),
        answer_noisy=voted[0] if voted else None,
        answer_adversarial=int(target.see(found, row).classes[0, 0]) if success else None,
        votes=dict(Counter(voted)),
    )
