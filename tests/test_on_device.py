"""The loop of a CUDA device, on the CPU: Triton's kernels in its interpreter, batches step by step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from helpers.interpreter import carry_out, interpreter

pytest.importorskip("triton")


@pytest.fixture(scope="module")
def interpret() -> Iterator[Callable[[str], None]]:
    """Carries out a program in which kernels are interpreted."""
    with interpreter() as pool:
        yield lambda code: pool.apply(carry_out, (code,))


START = """
from collections import Counter
import numpy as np, torch
from suite.smoothing import kernels

def table(rows):
    sigma = int(np.float32(0.25).view(np.int32))
    return torch.tensor([(image, key, draw, owner, sigma) for image, key, draw, owner in rows])
"""


def test_the_generator_is_philox(interpret: Callable[[str], None]) -> None:
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


def test_draws_are_independent_standard_normal_numbers(interpret: Callable[[str], None]) -> None:
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


def test_votes_are_those_of_the_images_one_by_one(interpret: Callable[[str], None]) -> None:
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
from suite.smoothing import noise
noise.BLOCK = 8
images = torch.rand(4, 1, 8, 8)
sigma, n0, n = 0.25, 8, 128
schedule = make_schedule((0.05,), sigma=sigma, n=n, alpha=0.05)

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
for precision, batch in (("fp32", 32), ("bf16", 7)):
    voters = (
        certificate((index, images[index], 0), None, sigma=sigma, n0=n0, n=n, alpha=0.05, seed=3, top=1,
                    schedule=schedule, noise="gaussian")
        for index in range(4)
    )
    found = sorted((record for record, _ in vote_on_device(voters, model, batch_size=batch, precision=precision)),
                   key=lambda record: record["idx"])
    assert len(found) == 4
    for index, record in enumerate(found):
        selected = Counter(classes(index, "select", n0, precision == "bf16"))
        chosen = min(selected, key=lambda c: (-selected[c], c))
        counted = Counter(classes(index, "estimate", record["draws"], precision == "bf16"))
        assert record["chosen"] == [chosen]
        assert record["votes"] == {str(c): counted[c] for c in sorted(counted)}
        assert record["count"] == counted[chosen]
    assert len({record["draws"] for record in found}) > 1, "no look decided early"
assert sum(doubts) > 10
"""
    )


VOTERS = """
from torch import nn
from suite.smoothing.noise import NoisyImage
from suite.smoothing.on_device import vote_on_device

class Darkness(nn.Module):
    'Class 0 of dark images.'
    def forward(self, x):
        assert not torch.is_grad_enabled()
        light = x.flatten(1).mean(dim=1)
        return torch.stack((0.5 - light, light - 0.5), dim=1)

def voter(place, level, noise="gaussian", pieces=(4,)):
    image = NoisyImage(torch.full((1, 2, 2), level), sum(pieces), sigma=0.01, seed=0, purpose="p", index=place,
                       noise=noise)
    votes = Counter()
    for piece in pieces:
        votes += yield image.take(piece)
    return place, votes
"""


def test_more_images_than_the_pool_holds_finish_in_their_order_with_their_own_votes(
    interpret: Callable[[str], None],
) -> None:
    interpret(
        START
        + VOTERS
        + """
from suite.smoothing import on_device
on_device.POOL = 5
voters = [voter(place, 0.2 if place % 3 else 0.8) for place in range(23)]
found = [result for result, _ in vote_on_device(voters, Darkness(), batch_size=16, precision="fp32")]
assert found == [(place, Counter({0 if place % 3 else 1: 4})) for place in range(23)]
"""
    )


def test_voters_that_ask_again_and_for_nothing_get_what_they_asked_for(interpret: Callable[[str], None]) -> None:
    interpret(
        START
        + VOTERS
        + """
from suite.smoothing import noise
noise.BLOCK = 4
voters = [voter(place, 0.2, pieces=pieces) for place, pieces in enumerate([(4, 3, 5), (1, 2), (1,)])]
found = dict(result for result, _ in vote_on_device(voters, Darkness(), batch_size=4, precision="fp32"))
assert found == {0: Counter({0: 12}), 1: Counter({0: 3}), 2: Counter({0: 1})}
"""
    )


def test_the_host_waits_once_for_eight_batches_and_never_for_a_draw(interpret: Callable[[str], None]) -> None:
    """Numbers that the host reads from the device, as the profiler counts them on a CPU, by passes of the network."""
    interpret(
        START
        + VOTERS
        + """
from torch.profiler import ProfilerActivity, profile

for batch in (8, 16):
    voters = [voter(place, 0.2, pieces=(16,)) for place in range(16)]
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        assert len(list(vote_on_device(voters, Darkness(), batch_size=batch, precision="fp32"))) == 16
    calls = Counter({event.key: event.count for event in seen.key_averages()})
    batches = calls["aten::mean"] - 1  # the network is tried once
    assert batches == 256 // batch
    assert calls["aten::item"] == calls["aten::_local_scalar_dense"] == batches // 8
"""
    )


def test_noise_that_is_not_gaussian_is_refused(interpret: Callable[[str], None]) -> None:
    interpret(
        START
        + VOTERS
        + """
try:
    list(vote_on_device([voter(0, 0.2, "discrete")], Darkness(), batch_size=16, precision="fp32"))
except ValueError as error:
    assert "Gaussian" in str(error)
else:
    raise AssertionError("no error")
"""
    )


def test_a_network_that_bf16_weights_would_change_runs_under_autocast(interpret: Callable[[str], None]) -> None:
    """A buffer that bf16 cannot hold: 1000.5 becomes 1000, and the answer another one."""
    interpret(
        START
        + VOTERS
        + """
from suite.smoothing.on_device import cast

class Precise(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("offset", torch.tensor(1000.5))
    def forward(self, x):
        gap = (x.flatten(1).mean(dim=1) + self.offset - 1000.75) * 1000
        return torch.stack((-gap, gap), dim=1)

assert cast(Precise(), torch.full((1, 1, 2, 2), 0.2)) is None
assert cast(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(1, 1, 2, 2)) is not None
voters = [voter(place, level) for place, level in enumerate((0.2, 0.3))]
found = dict(result for result, _ in vote_on_device(voters, Precise(), batch_size=8, precision="bf16"))
assert found == {0: Counter({0: 4}), 1: Counter({1: 4})}
"""
    )


def test_logits_that_are_not_finite_are_refused(interpret: Callable[[str], None]) -> None:
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
