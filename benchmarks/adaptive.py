"""What adaptive sampling saves, and that it costs no truth: on the votes of Cohen et al.'s models in published logs.

For each of the 10,000 CIFAR-10 images of a log, p_A is taken to be the share of votes that its printed radius stands
for; of the images that abstained nothing is known but that p_A is below about ½, so they continue the density that
lies just above ½ to below it. Fixed and adaptive sampling see the same draws. Three parts:

- draws, certified accuracy and ACR for n = 500 to 100,000, beside fixed sampling, beside the same rule that never gives
  an image up, and beside Wald's lower bound on the draws of any test that certifies the images that fixed sampling
  does, but for 0.5 points;
- what finer radii of interest cost;
- the chance of a wrong certificate, exactly, with p_A on a threshold, where it is largest.

    suite published fetch randomized-smoothing-resnet110-sigma0.25-18867bca randomized-smoothing-resnet110-sigma0.5-af
    python benchmarks/adaptive.py
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from leaderboards.published.fetch import published_records
from suite.errors import UserError
from suite.statistics.bounds import certified_radius, largest_radius, smallest_count, smallest_n
from suite.statistics.sequential import Schedule, certifying_counts, looks, make_schedule

N, ALPHA, IMAGES = 100_000, 0.001, 10_000
LOGS = {0.25: "sigma0.25-18867bca", 0.5: "sigma0.5-af1e0606"}  # of Cohen et al.'s models
RADII = {0.25: (0.25, 0.5, 0.75), 0.5: (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75)}
Floats = NDArray[np.float64]


@cache
def votes(sigma: float) -> tuple[Floats, NDArray[np.bool_]]:
    """p_A of each image of the log, and whether its class was the right one."""
    records = published_records(f"cifar10/randomized-smoothing-resnet110-{LOGS[sigma]}")
    abstained = records["predict"].to_numpy() == -1
    p = np.minimum(smallest_count(records["radius"].to_numpy(), N, ALPHA, sigma), N) / N
    width = np.sort(p[~abstained])[abstained.sum() - 1] - 0.5  # holds as many images above ½ as abstained below it
    p[abstained] = 0.5 - np.random.default_rng(0).uniform(0, width, abstained.sum())
    return p, records["correct"].to_numpy(bool)


def simulate(p: Floats, schedule: Schedule, *, give_up: bool = True) -> tuple[Floats, Floats, Floats]:
    """Of each image the radius that adaptive sampling certifies, its draws, and the votes of all n."""
    random = np.random.default_rng(0)
    count, reached = np.zeros(len(p), int), np.zeros(len(p), int)
    draws, left, before = np.zeros(len(p)), np.ones(len(p), bool), 0
    for look, drawn in enumerate(schedule.looks):
        count += random.binomial(drawn - before, p)
        before, draws[left] = drawn, drawn
        now, stop = schedule.decide(look, count, reached)
        reached = np.where(left, now, reached)
        left &= ~stop | (not give_up)
    return np.array(schedule.radii)[reached], draws, count


def walds_bound(p: Floats, thresholds: Floats, n: int, tolerance: float = 0.005) -> float:
    """The least mean number of draws of any test that certifies as fixed sampling does, but for the tolerance.

    A test that certifies with the chances c(p) and c(q) makes on average at least kl(c(p), c(q)) / kl(p, q) draws at p
    (Wald 1945; Hoeffding 1960), kl the divergence of two coins; the largest over all q is taken, and no more than n.
    """

    def kl(a: Floats, b: Floats) -> Floats:
        return special.rel_entr(a, b) + special.rel_entr(1 - a, 1 - b)

    bound = np.zeros(len(p))
    for threshold in thresholds:
        needed = stats.binom.isf(ALPHA, n, threshold) + 1
        own = stats.binom.sf(needed - 1, n, p)
        for q in np.unique(
            np.concatenate([np.linspace(0.4, 0.999, 300), 1 - np.geomspace(1e-5, 0.1, 100), thresholds])
        ):
            other = float(stats.binom.sf(needed - 1, n, q))
            allowed = (0.0, min(other + tolerance, ALPHA)) if q <= threshold else (other - tolerance, other + tolerance)
            above, below = np.clip([allowed[1], allowed[0]], 1e-300, 1 - 1e-12)
            apart = np.where(own - tolerance > above, kl(np.clip(own - tolerance, 0, 1), above), 0.0)
            apart = np.where(own + tolerance < below, kl(np.clip(own + tolerance, 0, 1), below), apart)
            with np.errstate(divide="ignore", invalid="ignore"):
                bound = np.fmax(bound, np.where(p != q, apart / kl(p, q), 0.0))
    return float(np.minimum(bound, n).mean())


def compare(n: int, sigma: float) -> None:
    p, correct = votes(sigma)
    schedule = make_schedule(RADII[sigma], sigma=sigma, n=n, alpha=ALPHA)
    radius, draws, count = simulate(p, schedule)
    patient = simulate(p, schedule, give_up=False)[0]
    fixed = certified_radius(count, n, ALPHA, sigma)
    radii = [r for r in (0.0, *RADII[sigma]) if r < largest_radius(n, ALPHA, sigma)]
    least = walds_bound(p, special.ndtr(np.array(radii) / sigma), n)
    short = 1 - (radius @ correct) / (fixed @ correct)
    print(f"\nσ = {sigma}, n = {n}: {draws.mean():.0f} draws an image, {n / draws.mean():.1f} times fewer; ", end="")
    print(
        f"{draws.mean() / least:.2f} times Wald's bound ({least:.0f}); ACR {100 * short:.1f} % below fixed sampling's"
    )
    print("certified, %" + "".join(f"{r:8.2f}" for r in radii))
    for name, certified in (("fixed", fixed), ("adaptive", radius), ("no giving up", patient)):
        print(f"{name:12}" + "".join(f"{100 * float(((certified > r) & correct).mean()):8.2f}" for r in radii))


def finer(n: int, sigma: float) -> None:
    """What deciding more radii costs, and by how much less the ACR then lies below that of fixed sampling."""
    p, correct = votes(sigma)
    for per_sigma in (1, 2, 4, 8):
        radii = np.arange(1, 4 * per_sigma) * sigma / per_sigma
        radius, draws, count = simulate(p, make_schedule(radii.tolist(), sigma=sigma, n=n, alpha=ALPHA))
        short = 1 - (radius @ correct) / (certified_radius(count, n, ALPHA, sigma) @ correct)
        print(f"{n:8} {sigma:6} {per_sigma:9} {draws.mean():8.0f} {100 * short:8.1f} %")


def error(n: int, alpha: float, p: float) -> float:
    """The chance that an image whose p_A is the threshold p is certified at it, by a recursion over single draws."""
    boundaries, ends = certifying_counts(n, alpha, p), looks(n)
    alive, lowest, certified = np.ones(1), 0, 0.0
    for look, end in enumerate(ends):
        for _ in range(end - (ends[look - 1] if look else 0)):
            alive = np.append(alive, 0) * (1 - p) + np.insert(alive, 0, 0) * p
        open_to = max(0, min(int(boundaries[look]) - lowest, len(alive)))
        certified += float(alive[open_to:].sum())
        alive = alive[:open_to]
        far = int((alive.cumsum() < 1e-15).sum())  # too few votes ever to matter
        alive, lowest = alive[far:], lowest + far
    return certified


if __name__ == "__main__":
    try:
        votes(0.25), votes(0.5)
    except UserError as missing:
        raise SystemExit(f"nothing measured: {missing}") from missing
    for sigma in RADII:
        for n in (500, 1_000, 10_000, N):
            compare(n, sigma)
    print("\ndeciding more radii:\n       n      σ  radii/σ    draws  ACR below fixed")
    for sigma in RADII:
        finer(10_000, sigma)
    print(
        "\nchance of a wrong certificate / α, p_A on the threshold\n   alpha        n "
        + "".join(f"{p:8}" for p in (0.5, 0.6, 0.841, 0.977, 0.9987))
    )
    for alpha in (0.001, 0.05):
        for n in (smallest_n(alpha), 64, 100, 500, 1_000, 10_000, N):
            print(
                f"{alpha:8} {n:8} "
                + "".join(f"{error(n, alpha, p) / alpha:8.3f}" for p in (0.5, 0.6, 0.841, 0.977, 0.9987))
            )
