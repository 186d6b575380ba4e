"""The loop of a CUDA device, on the CPU: Triton's kernels in its interpreter, batches step by step."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")


def interpret(code: str) -> str:
    """What a program prints in which kernels are interpreted, as Triton decides when it is imported."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


START = """
from collections import Counter
import numpy as np, torch
from suite.smoothing import kernels

def table(rows):
    sigma = int(np.float32(0.25).view(np.int32))
    return torch.tensor([(image, key, draw, owner, sigma) for image, key, draw, owner in rows])
"""


def test_the_generator_is_philox() -> None:
    """Salmon et al. (2011), known answers of Random123 for Philox-4x32-10 with all counters and keys 0, and of π."""
    interpret(
        START
        + """
import triton, triton.language as tl
@triton.jit
def words(out, key, c0, c1, c2, c3):
    a, b, c, d = tl.philox(key, c0, c1, c2, c3)
    tl.store(out, a); tl.store(out + 1, b); tl.store(out + 2, c); tl.store(out + 3, d)
out = torch.zeros(4, dtype=torch.int64)
words[(1,)](out, 0, 0, 0, 0, 0)
assert [f"{word & (2**32 - 1):08x}" for word in out.tolist()] == ["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]

def reference(key, counter):
    (k0, k1), c = (key & 0xFFFFFFFF, key >> 32), list(counter)
    for _ in range(10):
        a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [b >> 32 ^ c[1] ^ k0, b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k1, a & 0xFFFFFFFF]
        k0, k1 = k0 + 0x9E3779B9 & 0xFFFFFFFF, k1 + 0xBB67AE85 & 0xFFFFFFFF
    return np.array(c)

pi = reference(0x299F31D0A4093822, (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344))
assert [f"{word:08x}" for word in pi] == ["d16cfe09", "94fdcceb", "5001e420", "24126ea1"]

key, draw, size, quarter = 2**62 + 12345, 77, 30, 8
out = torch.full((1, 5, 2, 3), float("nan"))
kernels.noisy_images(out, torch.zeros(1, 5, 2, 3), table([(0, key, draw, 0)]))
for g in range(quarter):
    u = (reference(key, (g, draw, 0, 0)) + 0.5) / 2**32
    length, angle = np.sqrt(-2 * np.log(u[0::2])), 2 * np.pi * u[1::2]
    eta = np.stack((length * np.cos(angle), length * np.sin(angle)), axis=1).flatten()
    for place, value in zip(range(g, size, quarter), eta):
        assert abs(float(out.flatten()[place]) - 0.25 * value) < 1e-5
"""
    )


def test_draws_are_independent_standard_normal_numbers() -> None:
    interpret(
        START
        + """
from scipy import stats
out = torch.full((96, 16, 16, 3), float("nan"))
pool = torch.rand(2, 16, 16, 3)
rows = table([(row % 2, 5 + row // 32, row, 0) for row in range(96)])
kernels.noisy_images(out, pool, rows)
eta = ((out - pool[rows[:, 0]]) / 0.25).double().flatten(1).numpy()
assert stats.kstest(eta.flatten(), "norm").pvalue > 0.001
assert abs((eta**4).mean() - 3) < 5 * np.sqrt(96 / eta.size)
between = np.corrcoef(eta)[np.triu_indices(96, 1)]
assert abs(between).max() < 5 / np.sqrt(eta.shape[1])
"""
    )


def test_votes_are_those_of_the_images_one_by_one() -> None:
    """Adaptive certificates by rounds, in bf16 and fp32, beside classes that are counted one image at a time."""
    interpret(
        START
        + """
from torch import nn
from suite.smoothing.certificates import certificate
from suite.smoothing.noise import stream_key
from suite.smoothing.on_device import vote_on_device
from suite.smoothing.voting import TIE, batch_logits, near_ties
from suite.statistics.sequential import make_schedule

torch.manual_seed(1)
model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 4)).eval()
with torch.no_grad():
    model[3].weight *= 4
images = torch.rand(9, 1, 8, 8)
sigma, n0, n = 0.25, 10, 300
schedule = make_schedule((0.05, 0.2), sigma=sigma, n=n, alpha=0.01)

@torch.no_grad()
def classes(index, purpose, count, bf16):
    x = torch.empty(count, 8, 8, 1)
    kernels.noisy_images(x, images[index].permute(1, 2, 0)[None].contiguous(),
                         table([(0, stream_key(3, purpose, index), draw, 0) for draw in range(count)]))
    x = x.permute(0, 3, 1, 2)
    exact = model(x)
    if not bf16:
        return exact.argmax(1).tolist()
    import copy
    coarse = copy.deepcopy(model).bfloat16()(x.bfloat16()).float()
    close = near_ties(coarse, 1, TIE["bf16"])
    coarse[close] = exact[close]
    doubts.append(len(close))
    return coarse.argmax(1).tolist()

doubts = []
for precision, batch in (("fp32", 64), ("bf16", 40), ("bf16", 7)):
    voters = (
        certificate((index, images[index], 0), None, sigma=sigma, n0=n0, n=n, alpha=0.01, seed=3, top=1,
                    schedule=schedule, noise="gaussian")
        for index in range(9)
    )
    found = sorted((record for record, _ in vote_on_device(voters, model, batch_size=batch, precision=precision)),
                   key=lambda record: record["idx"])
    assert len(found) == 9
    for index, record in enumerate(found):
        selected = Counter(classes(index, "select", n0, precision == "bf16"))
        chosen = min(selected, key=lambda c: (-selected[c], c))
        counted = Counter(classes(index, "estimate", record["draws"], precision == "bf16"))
        assert record["chosen"] == [chosen]
        assert record["votes"] == {str(c): counted[c] for c in sorted(counted)}
        assert record["count"] == counted[chosen]
    assert len({record["draws"] for record in found}) > 1, "no look decided early"
assert sum(doubts) > 20
"""
    )


def test_logits_that_are_not_finite_are_refused() -> None:
    interpret(
        START
        + """
from torch import nn
from suite.errors import UserError
from suite.smoothing.noise import NoisyImage
from suite.smoothing.on_device import vote_on_device

class Broken(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3] / (x.flatten(1)[:, 3:4] > 0.5)

def voter():
    return (yield NoisyImage(torch.rand(1, 2, 2), 100, sigma=0.25, seed=0, purpose="p", index=0).take(100))

try:
    list(vote_on_device([voter()], Broken(), batch_size=16, precision="fp32"))
except UserError as error:
    assert "not finite" in str(error)
else:
    raise AssertionError("no error")
"""
    )


def test_the_kernels_compile_for_the_devices() -> None:
    """Ahead of time, without one: for Ampere and for Hopper."""
    code = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton
from suite.smoothing import kernels
for capability in (80, 90):
    for kind in ("*bf16", "*fp32"):
        sizes = {"size": 3072, "quarter": 768, "block": 1024}
        noise = {"out": kind, "pool": "*fp32", "table": "*i64"} | dict.fromkeys(sizes, "constexpr")
        shape = {"classes": 10, "block": 16, "tie": 1e-5}
        votes = {"logits": kind, "table": "*i64", "counts": "*i32", "close": "*i8", "broken": "*i32"}
        votes |= dict.fromkeys(shape, "constexpr")
        jobs = (kernels.write_noisy, noise, sizes), (kernels.count_answers, votes, shape)
        for kernel, signature, constants in jobs:
            source = ASTSource(kernel, signature=signature, constexprs=constants)
            assert triton.compile(source, target=GPUTarget("cuda", capability, 32)).asm["cubin"]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
