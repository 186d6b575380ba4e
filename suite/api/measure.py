"""What one would ask of a network on a few images, as tables: a vote's answers, attacks, an audit of certificates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor, nn

from suite import data as datasets
from suite.api.evaluate import evaluate
from suite.api.pixels import dtype_for, pixels_of
from suite.data import Dataset, InMemory, fingerprint
from suite.errors import UserError
from suite.leftovers import temporary
from suite.networks.architectures import build
from suite.networks.folding import folded
from suite.networks.weights import load_into
from suite.progress import progress
from suite.ranges import Draws, Scale, check
from suite.smoothing.batching import together
from suite.smoothing.noise import NoisyImage
from suite.smoothing.voting import Voter
from suite.statistics import bounds
from suite.store.files import read_json
from suite.store.folder import RunFolder
from suite.store.read import find_run, read_spec


def predict(
    model: nn.Module,
    images: Tensor,
    *,
    sigma: float,
    n: int = 100,
    alpha: float = 0.001,
    seed: int = 0,
    idx: Sequence[int] | None = None,
    batch_size: int = 256,
) -> Tensor:
    """The vote's answers to images (N, C, H, W) of pixels in [0,1], int64 (N,); −1 where it abstains.

    The model maps pixels in [0,1] to logits and is put in evaluation mode. An answer is the most probable class under
    N(0, σ²I) noise with probability at least 1 − `alpha`, from `n` noisy passes, keyed by `seed` and the image's number
    (`idx`, by default its position). Raises UserError for values out of range.

    Source: Cohen, Rosenfeld and Kolter (2019), Predict.
    """
    check("sigma", sigma, Scale)
    check("n", n, Draws)
    if not 0 < alpha < 1:
        raise UserError("predict needs 0 < alpha < 1")
    if n < (least := bounds.fewest_votes(alpha)):
        raise UserError(f"n = {n} votes always abstain at alpha = {alpha:g}: the smallest n that works is {least}")
    pixels = pixels_of(images, dtype_for(model))
    numbers = range(len(pixels)) if idx is None else list(idx)
    if len(numbers) != len(pixels):
        raise UserError(f"{len(pixels)} images but {len(numbers)} numbers in idx")
    parameter = next(model.parameters(), None)
    pixels = pixels if parameter is None else pixels.to(parameter.device)
    if not len(pixels):
        return torch.empty(0, dtype=torch.int64)

    def voter(place: int, number: int, image: Tensor) -> Voter[tuple[int, int]]:
        votes = yield NoisyImage(image, n, sigma=sigma, seed=seed, purpose="predict", index=number).take(n)
        return place, bounds.predict([votes[c] for c in range(max(votes) + 1)], alpha)

    fast = folded(model.eval(), pixels[0])
    asked = (voter(place, number, image) for place, (number, image) in enumerate(zip(numbers, pixels, strict=True)))
    answers = torch.empty(len(pixels), dtype=torch.int64)
    with progress("predict", len(pixels)) as advance:
        for (place, answer), _ in together(asked, fast, batch_size=batch_size, precision="fp32"):
            answers[place] = answer
            advance("")
    return answers


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float | None = None,
    deployed: Literal["pass", "vote"] = "pass",
    seed: int = 0,
    batch_size: int = 256,
    **settings: Any,
) -> pd.DataFrame:
    """How far each image has to move until the answer is wrong: a row per image, distances in pixels (ℓ2).

    `model`, images (N, C, H, W) and labels (N,) as in `suite.certify`. For a pass no σ is needed; a vote is attacked by
    the average of noisy passes. `settings` are those of the protocol: steps=20, best_steps=25, max_norm=4, draws=100.
    Columns: idx, label, predict, correct, pgd, ddn, best (None: not found), search, claim. Raises UserError.
    """
    own = {f"attack.{name}": value for name, value in ({"images": len(images)} | settings).items()}
    return on_images(model, images, labels, "attack", sigma, deployed, seed, batch_size, own)


def audit(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float | None = None,
    deployed: Literal["pass", "vote"] = "pass",
    n: int = 1_000,
    alpha: float = 0.001,
    seed: int = 0,
    batch_size: int = 256,
    **settings: Any,
) -> pd.DataFrame:
    """Certify images and search inside of each certificate for an image to which another answer is given.

    `model`, images (N, C, H, W) and labels (N,) as in `suite.certify`; `n` and `alpha` are the certificates'. A network
    that declares a Lipschitz bound gets margins, and needs no σ. `settings` are those of the protocol: steps=50,
    restarts=5, searches=["pgd", "ddn"]. Columns: idx, label, radius, attacked, distance, ratio, violated, search, the
    same of the L-bounds, claim. Raises UserError.
    """
    own = {f"audit.{name}": value for name, value in ({"images": len(images)} | settings).items()}
    certify = {"certify.images": len(images)} | ({} if sigma is None else {"certify.n": n, "certify.alpha": alpha})
    if sigma is not None:
        certify["lbound.images"] = len(images)
    return on_images(model, images, labels, "audit", sigma, deployed, seed, batch_size, own | certify)


def on_images(
    model: nn.Module, images: Tensor, labels: Tensor, protocol: str, sigma: float | None,
    deployed: Literal["pass", "vote"], seed: int, batch_size: int, settings: dict[str, Any],
) -> pd.DataFrame:  # fmt: skip
    """The records of a protocol on images that are no data set."""
    pixels = pixels_of(images).cpu()
    if len(pixels) != len(labels) or not len(pixels):
        raise UserError(f"{len(pixels)} images but {len(labels)} labels")
    with torch.no_grad():
        parameter = next(model.parameters(), None)
        one = pixels[:1] if parameter is None else pixels[:1].to(parameter)
        classes = model.eval()(one).shape[1]
    split = InMemory(pixels * 255, labels.cpu().long())  # type: ignore[no-untyped-call,unused-ignore]
    shape = (pixels.shape[1], pixels.shape[2], pixels.shape[3])
    data = Dataset(
        name="images", variant="", title="images", classes=tuple(map(str, range(classes))), shape=shape,
        mean=(0.5,) * shape[0], std=(0.5,) * shape[0], augmentation="none", train=split, test=split,
        source="memory", fingerprint=fingerprint(split, split),
    )  # fmt: skip
    if sigma is None and protocol == "attack" and deployed == "pass":
        sigma = 1.0  # of certificates that are not made
    with temporary() as folder:
        found = evaluate(
            model, data, sigma=sigma, protocols=[protocol], deployed=deployed, seed=seed, runs=folder,
            batch_size=batch_size, track=False, profile="quick", **settings,
        )  # fmt: skip
        return found.records(protocol)


def load_model(run: RunFolder | str | Path, *, runs: str | Path = "runs", trust: bool = False) -> nn.Module:
    """The trained model of a run, in evaluation mode: pixels in [0,1], (B, C, H, W), to logits (B, K).

    `run` is what `suite.run` and `suite.evaluate` give, a run's id in `runs` or how that begins, or its folder. Raises
    UserError where there is none, where it is not trained yet, or for a network that was given from Python and is not
    in this process; `trust` is for architectures whose code is fetched.
    """
    path = run.path if isinstance(run, RunFolder) else find_run(str(run), Path(runs))
    spec = read_spec(path)
    about = read_json(path / "environment.json").get("data") or {}
    if not about:
        data = datasets.load(spec.dataset)
        about = {"classes": len(data.classes), "shape": data.shape}
    channels, height, width = about["shape"]
    middle = (0.5,) * channels
    model = build(spec.arch, about["classes"], (channels, height, width), middle, middle, trust=trust)
    load_into(model, path / "model.safetensors")
    return model.eval()
