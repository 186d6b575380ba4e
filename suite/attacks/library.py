"""The attacks of AutoAttack (Croce and Hein 2020), by its authors' library: APGD, FAB and Square, on one pass."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from suite.attacks.certified import Certified
from suite.attacks.target import norm
from suite.errors import UserError

SQUARE = 5  # pixels: the least that its squares fit into
TARGETS = 9  # classes that apgd-t goes for, AutoAttack's number


def apgd(
    target: Certified, x: Tensor, radius: Tensor, start: Tensor, *, steps: int, targeted: bool
) -> tuple[Tensor, Tensor]:
    """APGD of AutoAttack (Croce and Hein 2020), its authors' code, on one pass: hits inside the ball, x where none is.

    It ascends the cross-entropy, or with `targeted` the difference-of-logits ratio for each of the likeliest other
    classes. An image's logits are divided by their standard deviation at x, which changes no answer: a scale of theirs,
    which could make the cross-entropy's gradient round to 0, then changes nothing. Needs the extra `audit`.
    """
    from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted

    rows = torch.arange(len(x), device=x.device)
    with torch.no_grad():
        clean = target.scores(x, rows, target.noise)[:, 0]
    deviation = clean.std(dim=1, keepdim=True)

    def predict(points: Tensor) -> Tensor:
        scores = target.scores(points, rows, target.noise)[:, 0] / deviation
        return scores + 0 * points.sum()  # which has a gradient in any case

    attack = (APGDAttack_targeted if targeted else APGDAttack)(
        predict, n_iter=steps, norm="L2", eps=radius.to(x.dtype).view(-1, 1, 1, 1)
    )
    attack.init_hyperparam(x)
    x_adv, found, aims = x.clone(), torch.zeros_like(radius, dtype=torch.bool), [None]
    if targeted:
        others = clean[:, 1:].scatter(1, target.classes, -torch.inf)
        total = min(TARGETS, others.shape[1] - target.classes.shape[1])
        aims = list(1 + others.topk(total).indices.T) if others.shape[1] > 2 else []  # its ratio is of four columns
    for aim in aims:
        attack.y_target = aim
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that some gradients are 0
            _, robust, _, points = attack.attack_single_run(x, target.labels, start)
        new = ~robust & ~found
        x_adv[new], found[new] = points[new].detach(), True
    return x_adv, found


def fab(target: Certified, x: Tensor, *, steps: int) -> tuple[Tensor, Tensor]:
    """Targeted FAB (Croce and Hein 2020): the nearest hit on the way to each of the likeliest other classes.

    It searches everywhere. Needs the extra `audit`; of top-1 answers alone.
    """
    from pyautoattack.fab_pt import FABAttack_PT

    labels, nearest = target.classes[:, 0], x.clone()
    length = torch.full((len(x),), torch.inf, dtype=torch.float64, device=x.device)
    attack = FABAttack_PT(target.model, norm="L2", n_iter=steps, targeted=True, device=x.device)
    with torch.no_grad():
        total = min(TARGETS, target.model(x).shape[1] - 1)
    for rank in range(2, total + 2):
        attack.target_class = rank  # the rank-th likeliest class
        points = attack.attack_single_run(x, labels, is_targeted=True).detach()
        with torch.no_grad():
            hit = target.model(points).argmax(dim=1) != labels
        own = torch.where(hit, norm(points.double() - x.double()).flatten(), torch.inf)
        nearer = own < length
        nearest[nearer], length = points[nearer], length.minimum(own)
    return nearest, length.isfinite()


def square(target: Certified, x: Tensor, radius: Tensor, *, queries: int) -> tuple[Tensor, Tensor]:
    """Square (Andriushchenko et al. 2020) inside the ball of each image's radius; it asks for logits, not gradients.

    Needs the extra `audit`; of top-1 answers alone.
    """
    from pyautoattack.square import SquareAttack

    if min(x.shape[2:]) < SQUARE:
        raise UserError(f"square searches images of at least {SQUARE} pixels a side: leave it out of audit.searches")
    x_adv, labels = x.clone(), target.classes[:, 0]
    with torch.random.fork_rng(), torch.no_grad():  # it seeds the global generator
        for row, eps in enumerate(radius.tolist()):
            one = slice(row, row + 1)
            attack = SquareAttack(target.model, norm="L2", n_queries=queries, eps=eps, seed=target.numbers[row])
            x_adv[one] = attack.perturb(x[one], labels[one])
        return x_adv, target.model(x_adv).argmax(dim=1) != labels
