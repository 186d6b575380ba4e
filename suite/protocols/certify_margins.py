"""Certificates of the kind `margin`: of the single pass of a network with a Lipschitz bound, certain, without noise."""

from __future__ import annotations

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

    from suite.networks.margins import check_bound, exact, head_of, lipschitz_bound, margin_radii, rounding_allowance
    from suite.smoothing.voting import top_classes

    model, k = subject.model, subject.spec.certify.top
    bound, head, twin, allowance = lipschitz_bound(model), head_of(model), exact(model), None
    for numbers, x, labels in stack(images, subject.batch_size, subject.device):
        begun = time.perf_counter()
        if allowance is None:
            check_bound(model, x[:8])
            allowance, begun = rounding_allowance(model, twin, tuple(x.shape[1:])), time.perf_counter()
        classes = top_classes(model, x, k)
        with torch.inference_mode():
            radii = margin_radii(twin(x.double()), classes, head, bound, allowance)
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
                "bound": bound,
                "allowance": allowance,
                "claim": margin_claim(),
            }


def margin_claim() -> str:
    """What a margin guarantees."""
    return (
        "the single pass that this row deploys keeps its answer within the radius: proven from its weights, without "
        "exception, with an allowance for the rounding of its float32 numbers"
    )
