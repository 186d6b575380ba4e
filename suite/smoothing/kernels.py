"""What a CUDA device does around a network's pass, in two kernels: write the noisy images, and count the answers.

A batch is a table of int64, a row for each noisy image: which image of the pool, the key of its stream, the number of
the draw, the row of the counts that the answer goes to (−1: to none), and the bits of σ as float32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS, OWNER = 5, 3  # of the table, and which of them says whose counts
_COLUMNS, _IMAGE, _KEY, _DRAW, _OWNER, _SIGMA = (tl.constexpr(number) for number in (COLUMNS, 0, 1, 2, OWNER, 4))


@triton.jit
def _uniform(word):
    """(word + ½)/2³² for 32 random bits."""
    return word.to(tl.uint32, bitcast=True).to(tl.float32) * 2.3283064365386963e-10 + 1.1641532182693481e-10


@triton.jit
def _add_pair(x, y, word, other, sigma, g, at, quarter, size):
    """Two normal numbers of each counter g, to the places `at` and at + quarter, as far as the image has them."""
    length = tl.sqrt(-2.0 * tl.log(_uniform(word)))
    angle = 6.283185307179586 * _uniform(other)
    inside = (g < quarter) & (at < size)
    tl.store(y + at, tl.load(x + at, mask=inside) + sigma * length * tl.cos(angle), mask=inside)
    at += quarter
    inside = (g < quarter) & (at < size)
    tl.store(y + at, tl.load(x + at, mask=inside) + sigma * length * tl.sin(angle), mask=inside)


@triton.jit
def write_noisy(out, pool, table, size: tl.constexpr, quarter: tl.constexpr, block: tl.constexpr):
    """x + ση of each row, η standard normal: Philox-4x32-10 (Salmon et al. 2011) and Box and Muller's transform.

    Counter g of a draw gives the numbers g, g + `quarter`, g + 2·`quarter` and g + 3·`quarter` of an image of `size`
    numbers, in the order in which they lie in the memory of `out` and of `pool`: channels last.
    """
    row = table + tl.program_id(0).to(tl.int64) * _COLUMNS
    image, key, draw = tl.load(row + _IMAGE), tl.load(row + _KEY), tl.load(row + _DRAW).to(tl.int32)
    sigma = tl.load(row + _SIGMA).to(tl.int32).to(tl.float32, bitcast=True)
    g = tl.program_id(1) * block + tl.arange(0, block)
    w0, w1, w2, w3 = tl.philox(key, g, draw + g * 0, g * 0, g * 0)
    x, y = pool + image * size, out + tl.program_id(0).to(tl.int64) * size
    _add_pair(x, y, w0, w1, sigma, g, g, quarter, size)
    _add_pair(x, y, w2, w3, sigma, g, g + 2 * quarter, quarter, size)


@triton.jit
def count_answers(
    logits, table, counts, close, broken, classes: tl.constexpr, block: tl.constexpr,
    tie: tl.constexpr,
):  # fmt: skip
    """Add the leading class of each row to the counts, or mark the row as close: as `near_ties` does for k = 1."""
    slot = tl.program_id(0)
    owner = tl.load(table + slot.to(tl.int64) * _COLUMNS + _OWNER)
    at = tl.arange(0, block)
    scores = tl.load(logits + slot.to(tl.int64) * classes + at, mask=at < classes, other=float("-inf")).to(tl.float32)
    known = tl.where(at < classes, scores, 0.0)
    size = tl.max(tl.abs(known), axis=0)
    finite = tl.sum((known - known != 0.0).to(tl.int32), axis=0) == 0
    best = tl.max(scores, axis=0)
    leader = tl.argmax(scores, axis=0)
    next_best = tl.max(tl.where(at == leader, float("-inf"), scores), axis=0)
    near = best - next_best <= tie * size
    tl.store(close + slot, (near & (owner >= 0)).to(tl.int8))
    if owner >= 0:
        if finite:
            if not near:
                tl.atomic_add(counts + owner * classes + leader, 1)
        else:
            tl.store(broken, 1)


def noisy_images(out: Tensor, pool: Tensor, table: Tensor) -> None:
    """Write x + ση of each row of the table into `out` (B, H, W, C); x from `pool` (P, H, W, C) float32."""
    size = out[0].numel()
    quarter = triton.cdiv(size, 4)
    block = min(1024, triton.next_power_of_2(quarter))
    write_noisy[(len(out), triton.cdiv(quarter, block))](out, pool, table, size, quarter, block)


def answers(logits: Tensor, table: Tensor, counts: Tensor, close: Tensor, broken: Tensor, tie: float) -> None:
    """Count the classes of logits (B, K) in counts (P, K) int32; near ties in close (B,) int8, non-finite in broken."""
    classes = logits.shape[1]
    count_answers[(len(logits),)](logits, table, counts, close, broken, classes, triton.next_power_of_2(classes), tie)


def try_out(device: torch.device) -> None:
    """Run both kernels once, on next to nothing. Raises what Triton raises where they do not run."""
    with torch.cuda.device(device):
        pool, table = torch.zeros(1, 1, 1, 4, device=device), torch.zeros(1, COLUMNS, dtype=torch.int64, device=device)
        kinds = torch.int32, torch.int8, torch.int32
        counts, close, broken = (torch.zeros(1, 4, dtype=kind, device=device) for kind in kinds)
        noisy_images(pool.clone().bfloat16(), pool, table)
        answers(pool.view(1, 4).bfloat16(), table, counts, close, broken, 0.0)
        torch.cuda.synchronize(device)
