"""Memory that is freed stays with the process, and folded networks write in place where nothing else reads."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from suite.networks.architectures import build
from suite.networks.folding import Convolution, folded

PROGRAM = """
import ctypes
from suite.networks.allocator import keep_memory

BLOCK = 32 * 2**20
KINDS = ["arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"]

class Usage(ctypes.Structure):  # mallinfo2 of malloc.h
    _fields_ = [(name, ctypes.c_size_t) for name in KINDS]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.malloc.argtypes = Usage, ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def usage():  # bytes mapped for a large block alone while it is there, and those of the heap once it is freed
    before = libc.mallinfo2()
    block = libc.malloc(BLOCK)
    mapped = libc.mallinfo2().hblkhd - before.hblkhd
    libc.free(block)
    return mapped, libc.mallinfo2().arena

assert usage()[0] >= BLOCK
keep_memory()
mapped, heap = usage()
assert mapped == 0, mapped
assert heap >= BLOCK, heap
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="glibc's allocator is Linux's")
def test_freed_memory_stays_with_the_process() -> None:
    """By default a large block is mapped, and goes back to the kernel, page by page."""
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)  # a process whose heap nothing else has touched


def test_a_folded_network_leaves_its_input_and_gives_the_same_logits() -> None:
    torch.manual_seed(0)
    model = build("resnet8", 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3)
    x = torch.rand(4, 3, 32, 32)
    model.train()(x)
    fast, given = folded(model.eval(), x[0]), x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x), rtol=0, atol=1e-5)
    assert torch.equal(x, given)
    assert sum(isinstance(layer, Convolution) for layer in fast.modules()) == 7  # of ResNet-8: every ReLU, every sum
    assert "relu" not in fast.code  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet8", "resnet18", "resnet50"])
def test_steps_done_at_once_round_as_they_do_one_by_one(arch: str) -> None:
    torch.manual_seed(0)
    model, x = build(arch, 10, (3, 16, 16), (0.5,) * 3, (0.25,) * 3), torch.rand(4, 3, 16, 16)
    model.train()(x)
    at_once, by_one = folded(model.eval(), x[0]), fuse(model)
    assert any(isinstance(layer, Convolution) for layer in at_once.modules())
    for precision, bound in (("fp32", 1e-5), ("bf16", 0.05)):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            scores = by_one(x).float()
            torch.testing.assert_close(at_once(x).float(), scores, rtol=0, atol=bound * float(scores.abs().max()))


class Twice(nn.Module):
    """Somebody's network, whose first ReLU reads the image and whose second reads what is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        bright = F.relu(x - 0.5)
        seen = self.conv(bright)
        return (F.relu(seen) + seen + F.relu(x)).mean(dim=(2, 3))


class Around(nn.Module):
    """Sums that a convolution must not write into: with what it reads itself, and with what is read afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        y = F.relu(self.second(x) + x)
        return (F.relu(self.third(y) + y) + y + x.abs()).mean(dim=(2, 3))


@pytest.mark.parametrize("network", [Twice, Around])
def test_what_is_read_again_is_not_written_over(network: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = network().eval(), torch.rand(2, 3, 8, 8)
    fast, given = folded(model, x[0]), x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x))
    assert torch.equal(x, given)
    assert fast is not model
    assert not any(isinstance(layer, Convolution) for layer in fast.modules())
