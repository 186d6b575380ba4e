"""Searches for an image as near as possible to a certified one, to which the certified answer is not given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from suite.attacks import Seen, Target, ddn, first_success_pgd, log_mean, norm
from suite.errors import UserError


class Certified(Target):
    """Images with the k classes (B, k) that are certified of them; what gives another answer is a hit.

    With `whole` that is an answer of k classes that are not these, else a likeliest class that is none of these. The k
    classes, which may repeat, stand as one with the smallest (`whole`) or the largest of their probabilities. The loss
    is SmoothAdv's (Salman et al. 2019): −log of the probability averaged over an image's draws, which share a batch.
    """

    def __init__(self, model: nn.Module, classes: Tensor, noise: Tensor, *, whole: bool):
        super().__init__(model, torch.zeros_like(classes[:, 0]), noise, top=1, batch_size=noise.shape[1])
        self.classes, self.whole = classes, whole

    def log_p(self, points: Tensor, rows: Tensor, eta: Tensor) -> Tensor:
        """log of the probability of the certified classes as one, then of each other class: (B, m, 1 + K).

        The places of the certified classes among the others are taken by a constant less than all.
        """
        log_p = super().log_p(points, rows, eta)
        inside = torch.zeros_like(log_p[:, 0]).scatter(1, self.classes[rows], 1.0).bool()[:, None]
        own = log_p.masked_fill(~inside, torch.inf if self.whole else -torch.inf)
        ours = own.amin(dim=2) if self.whole else own.amax(dim=2)
        others = torch.where(inside, log_p.detach().amin(dim=2, keepdim=True) - 1, log_p)
        return torch.cat((ours[..., None], others), dim=2)

    def loss(self, log_p: Tensor, rows: Tensor) -> Tensor:
        return -log_mean(log_p)[:, 0].sum()


def candidates(
    target: Certified, x: Tensor, radius: Tensor, starts: Tensor, *, searches: Sequence[str], steps: int
) -> dict[str, Tensor]:
    """What each search finds nearest to the images x (B, C, H, W); x itself where it finds nothing, by search.

    PGD searches the ball of `radius` (B,), from x and, where it finds nothing, from each of `starts`, (…, B, C, H, W).
    The others search everywhere, DDN from that norm on. The answer at x does not count: x is certified.
    """
    found = {}
    if "pgd" in searches or "ddn" in searches:
        clean = target.see(x, torch.arange(len(x), device=x.device))
        clean = clean._replace(hit=torch.zeros_like(clean.hit))
    if "pgd" in searches:
        found["pgd"] = pgd(target, x, clean, starts, epsilon=radius, steps=steps)
    if "ddn" in searches:
        found["ddn"] = ddn(target, x, clean, epsilon=radius, steps=steps)[0]
    if "fmn" in searches:
        found["fmn"] = fmn(target, x, steps=steps)
    return found


def pgd(target: Target, x: Tensor, clean: Seen, starts: Tensor, *, epsilon: Tensor, steps: int) -> Tensor:
    """The first hit of PGD inside the ball, from x and then from each of `starts`; x where there is none."""
    x_adv, found = first_success_pgd(target, x, clean, epsilon=epsilon, steps=steps)
    for start in starts:
        left = (~found).nonzero().flatten()
        if len(left):
            seen = target.see(start[left], left)
            x_adv[left], found[left] = first_success_pgd(target, x[left], seen, epsilon=epsilon[left], steps=steps)
    return x_adv


def fmn(target: Certified, x: Tensor, *, steps: int) -> Tensor:
    """foolbox's FMN (Pintor et al. 2021) with a projection that projects; x where it finds nothing.

    foolbox 3.3.4 divides the norm by itself where it should divide ε by the norm, so that its steps leave every ball.
    Raises UserError where foolbox cannot be imported.
    """
    try:
        import eagerpy
        import foolbox
    except ImportError as error:
        raise UserError(
            f"""the audit's search 'fmn' needs foolbox ({error}): pip install foolbox, or leave the search out """
            """with --set 'audit.searches=["pgd","ddn"]'"""
        ) from error

    class Scores(nn.Module):
        def forward(self, points: Tensor) -> Tensor:
            return log_mean(target.log_p(points, torch.arange(len(points), device=points.device), target.noise))

    class FMN(foolbox.attacks.L2FMNAttack):
        def project(self, x: Any, x0: Any, epsilon: Any) -> Any:
            delta = x.raw - x0.raw
            scale = (epsilon.raw.view(-1, 1, 1, 1) / norm(delta)).clamp(max=1)
            return eagerpy.astensor((x0.raw + scale * delta).to(x0.raw.dtype))

    model = foolbox.PyTorchModel(Scores().eval(), bounds=(0, 1), device=x.device)
    return FMN(steps=steps).run(model, x, foolbox.criteria.Misclassification(target.labels)).clamp(0, 1)
