"""Certificates of the kind `margin`: of the single pass of a network with a Lipschitz bound, certain, without noise."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from suite.protocols.protocol import Record, Subject, stack

if TYPE_CHECKING:
    from suite.protocols.protocol import Example


def margins(subject: Subject, images: Iterable[Example]) -> Iterator[Record]:
    """Certificates of the single pass. allowance: e of `suite.networks.margins`, and bound: L, for pixels in [0,1].

    Raises UserError for a network that declares no bound, or one that an attack shows to be too small.
    """
    import torch

    from suite.networks.margins import (
        check_bound,
        exact,
        features,
        head_of,
        is_proven,
        lipschitz_bound,
        margin_radii,
        rounding_allowance,
    )
    from suite.smoothing.voting import top_classes

    model, k = subject.model, subject.spec.certify.top
    bound, head, twin, allowance = lipschitz_bound(model), head_of(model), exact(model), None
    claim = margin_claim(is_proven(model), bound)
    for numbers, x, labels in stack(images, subject.batch_size, subject.device):
        begun = time.perf_counter()
        if allowance is None:
            check_bound(model, x[:8])
            allowance, begun = rounding_allowance(model, twin, tuple(x.shape[1:])), time.perf_counter()
        classes = top_classes(model, x, k)
        with torch.inference_mode():
            radii = margin_radii(features(twin, x.double())[1], classes, head, bound, allowance)
            radii.clamp_(max=math.sqrt(x[0].numel()))  # no two images are farther apart
        seconds = (time.perf_counter() - begun) / len(x)
        for index, label, chosen, radius in zip(
            numbers, labels.tolist(), classes.tolist(), radii.tolist(), strict=True
        ):
            yield {
                "idx": index,
                "label": label,
                "predict": chosen[0],
                "radius": radius,
                "correct": int(label in chosen),
                "time": round(seconds, 6),
                "chosen": chosen,
                "kind": "margin",
                "bound": bound,
                "allowance": allowance,
                "claim": claim,
            }


def margin_claim(proven: bool, bound: float) -> str:
    """What a margin guarantees, with a bound that is proven from the weights, or one that the network declares."""
    if proven:
        premise = "by the Lipschitz constant that is proven from its weights"
    else:
        premise = f"provided that it declares its Lipschitz constant, {bound:.4g}, rightly; an attack did not refute it"
    return (
        f"the single pass that this row deploys keeps its answer within the radius, {premise}; the allowance for the "
        "rounding of its float32 numbers is measured, not proven"
    )
