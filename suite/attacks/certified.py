"""A certified image as a target: what gives another answer than the certified one is a hit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from suite.attacks.target import Target


class Certified(Target):
    """Images with the k classes (B, k) that are certified of them; what gives another answer is a hit.

    With `whole` that is an answer of k classes that are not these, else a likeliest class that is none of these. The k
    classes, which may repeat, stand as one, the label 0, with the smallest (`whole`) or the largest of their logits.
    """

    def __init__(
        self,
        model: nn.Module,
        classes: Tensor,
        noise: Tensor,
        numbers: Sequence[int],
        *,
        seed: int,
        whole: bool,
        batch_size: int,
    ):
        labels = torch.zeros_like(classes[:, 0])
        super().__init__(model, labels, noise, numbers, seed=seed, purpose="audit", top=1, batch_size=batch_size)
        self.classes, self.whole = classes, whole

    def scores(self, points: Tensor, rows: Tensor, eta: Tensor) -> Tensor:
        """Those of the certified classes as one, then of each other class: (B, m, 1 + K).

        The places of the certified classes among the others are taken by a constant as far below the least as that is
        below the largest.
        """
        scores = super().scores(points, rows, eta)
        inside = torch.zeros_like(scores[:, 0]).scatter(1, self.classes[rows], 1.0).bool()[:, None]
        own = scores.masked_fill(~inside, torch.inf if self.whole else -torch.inf)
        ours = own.amin(dim=2) if self.whole else own.amax(dim=2)
        least, largest = scores.detach().amin(dim=2, keepdim=True), scores.detach().amax(dim=2, keepdim=True)
        return torch.cat((ours[..., None], torch.where(inside, 2 * least - largest, scores)), dim=2)
