"""What adaptive sampling saves, and that it costs no truth: simulated on the votes of Cohen et al.'s published logs.

For each of the 10,000 CIFAR-10 images of a log, p_A is taken to be the share of votes that its printed radius stands
for; of the images that abstained nothing is known but that p_A is below about ½, so they continue the density that
lies just above ½ to below it (and, as the worst case, all sit at ½). Fixed and adaptive sampling see the same draws.

    python benchmarks/adaptive.py
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leaderboards.published import published_records
from suite.sequential import GIVE_UP, prospect, refuted, rounds
from suite.statistics import lower_confidence_bound, smallest_count

N, ALPHA = 100_000, 0.001
Floats = NDArray[np.float64]


def simulate(p: Floats, thresholds: Floats, n: int, alpha: float, seed: int = 0) -> tuple[Floats, Floats, Floats]:
    """Per image: how many thresholds on p_A adaptive sampling certifies, from how many draws; the votes of all n."""
    random = np.random.default_rng(seed)
    count, certified, draws = np.zeros(len(p)), np.zeros(len(p), int), np.zeros(len(p))
    before, left = 0, np.arange(len(p))
    for drawn in rounds(n):
        count += random.binomial(drawn - before, p)
        before, draws[left] = drawn, drawn
        for k, threshold in enumerate(thresholds):
            here = left[certified[left] == k]
            certified[here] += refuted(count[here], drawn, n, alpha, threshold)
        if drawn < n:
            chance = np.zeros(len(left))
            for k, threshold in enumerate(thresholds):
                here = certified[left] == k
                chance[here] = prospect(count[left[here]], drawn, n, alpha, float(threshold))
            left = left[chance >= GIVE_UP]
    return certified, draws, count


def votes(sigma: float) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
    """p_A of each image of the log, whether its class was the right one, whether it abstained."""
    records = published_records(f"cifar10/randomized-smoothing-resnet110_noise_{sigma:.2f}_sigma_{sigma:.2f}")
    abstained = records["predict"].to_numpy() == -1
    p = np.minimum(smallest_count(records["radius"].to_numpy(), N, ALPHA, sigma), N) / N
    width = np.sort(p[~abstained])[abstained.sum() - 1] - 0.5  # holds as many images above ½ as abstained below it
    p[abstained] = 0.5 - np.random.default_rng(0).uniform(0, width, abstained.sum())
    return p, records["correct"].to_numpy(bool), abstained


def compare(sigma: float) -> None:
    p, correct, abstained = votes(sigma)
    radii = np.arange(0, 4 * sigma, 0.25)
    thresholds = stats.norm.cdf(radii / sigma)
    thresholds = thresholds[thresholds < ALPHA ** (1 / N)]  # the others are beyond 100,000 draws
    certified, draws, count = simulate(p, thresholds, N, ALPHA)
    bound = lower_confidence_bound(count, N, ALPHA)
    print(f"\nσ = {sigma}: {N / draws.mean():.1f} times fewer draws ({draws.mean():.0f} of {N} an image); ", end="")
    worst = simulate(np.where(abstained, 0.5, p), thresholds, N, ALPHA)[1]
    print(f"{N / worst.mean():.1f} with all abstentions at p_A = ½")
    print(
        f"{'radius':>8} {'fixed':>8} {'adaptive':>9} {'alone':>8}   (% certified and correct; fewer draws for it alone)"
    )
    for k, threshold in enumerate(thresholds):
        fixed, adaptive = (100 * float((hits & correct).mean()) for hits in (bound >= threshold, certified > k))
        alone = N / simulate(p, thresholds[k : k + 1], N, ALPHA)[1].mean()
        print(f"{radii[k]:8.2f} {fixed:8.2f} {adaptive:9.2f} {alone:7.0f}x")


def coverage(total: int = 20_000) -> None:
    """Images just below a threshold, where a certificate is wrong and most likely."""
    print(f"\nwrong certificates among {total} images with p_A just below a threshold, n ≤ 10,000")
    print(f"{'alpha':>8} {'threshold':>10} {'wrong':>7} {'allowed':>8}   (α · images)")
    for alpha in (0.001, 0.01, 0.05):
        for threshold in (0.5, 0.841, 0.977):
            wrong = simulate(np.full(total, threshold - 1e-9), np.array([threshold]), 10_000, alpha)[0].sum()
            print(f"{alpha:8} {threshold:10} {wrong:7.0f} {alpha * total:8.0f}")


if __name__ == "__main__":
    for sigma in (0.25, 0.5):
        compare(sigma)
    coverage()
