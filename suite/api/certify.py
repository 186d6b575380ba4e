"""Certify any model from Python."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from pydantic import ValidationError
from torch import Tensor, nn

from suite.api.pixels import dtype_for, pixels_of
from suite.errors import UserError
from suite.networks.allocator import keep_memory
from suite.progress import progress
from suite.protocols.certify import Certify, vote_claim
from suite.ranges import Scale, Steps, check, one_line
from suite.smoothing.certificates import certificates
from suite.smoothing.noise import Noise
from suite.smoothing.voting import Precision

COLUMNS = (
    "idx", "label", "predict", "radius", "correct", "time", "chosen", "count", "n0", "draws", "n", "alpha", "sigma",
    "claim", "votes",
)  # fmt: skip


def certify(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    sigma: float,
    n0: int = 100,
    n: int = 10_000,
    alpha: float = 0.001,
    seed: int = 0,
    top: int = 1,
    deterministic: bool = False,
    radii: Sequence[float] | None = None,
    noise: Noise = "gaussian",
    precision: Precision = "fp32",
    batch_size: int = 256,
    idx: Sequence[int] | Tensor | None = None,
) -> pd.DataFrame:
    """Certified ℓ2 radii of `model` on `images` (N, C, H, W), by Cohen et al.'s Certify; one row per image.

    The model maps pixels in [0,1] to logits (B, K) and is put in evaluation mode; it stays on its device. uint8 images
    are divided by 255. `labels` is (N,). σ and the radii are in pixel units. With probability at least 1 − `alpha`
    per image, the vote of the model under N(0, σ²I) noise does not change within `radius`. `deterministic` takes the
    class of a single clean pass in place of `n0` selection draws.

    `idx` (N,) are the images' numbers in their test set, by default their positions; the rows are in their order. An
    image's noise depends on `seed` and its number. A log of every 20th image has to say so: idx=range(0, 10_000, 20).

    With `radii`, at most `n` draws are made per image, and fewer as soon as it is decided at which of these radii it is
    certified. `noise` "discrete" computes x + η, rounded to 1/255, in integers: for 8-bit images, and exact where
    floating point is not. In `precision` "bf16" the certified classifier is the model in that arithmetic. Memory that
    is freed stays with the process from here on, which about doubles the speed of large batches on a CPU.

    Columns: idx, label, predict (−1: abstained), radius, correct, time (s), chosen, count, n0, draws, n, alpha, sigma,
    claim, votes.
    Raises UserError (from the model's output or settings out of range).

    Source: Cohen, Rosenfeld and Kolter (2019), Algorithm 1; the deterministic variant: "Adversarial Boot Camp", 4.1.
    """
    check("sigma", sigma, Scale)
    check("batch_size", batch_size, Steps)
    try:
        settings = Certify.model_validate({
            "n0": n0, "n": n, "alpha": alpha, "top": top, "noise": noise, "precision": precision,
            "radii": () if radii is None else tuple(map(float, radii)),
            "sampling": "fixed" if radii is None else "adaptive",
        })  # fmt: skip
    except ValidationError as error:
        raise UserError(one_line(error)) from error
    if len(images) != len(labels):
        raise UserError(f"{len(images)} images but {len(labels)} labels")
    keep_memory()
    parameter = next(model.parameters(), None)
    numbers = list(map(int, range(len(images)) if idx is None else idx))
    if len(numbers) != len(images) or len(set(numbers)) < len(numbers) or min(numbers, default=0) < 0:
        raise UserError(f"idx needs a number of its own for each of the {len(images)} images, 0 or more")
    pixels = pixels_of(images, dtype_for(model))
    examples = ((number, pixels[i], int(labels[i])) for i, number in enumerate(numbers))
    records = certificates(
        model,
        examples,
        sigma=sigma,
        n0=n0,
        n=n,
        alpha=alpha,
        seed=seed,
        top=top,
        deterministic=deterministic,
        radii=None if radii is None else settings.radii,
        noise=noise,
        precision=precision,
        batch_size=batch_size,
        device="cpu" if parameter is None else parameter.device,
    )
    lines = []
    with progress("certify", len(images)) as advance:
        for record in records:
            lines.append(record | {"claim": vote_claim(sigma, alpha, record["n0"], noise)})
            advance("")
    return pd.DataFrame(lines, columns=COLUMNS).sort_values("idx", ignore_index=True)
