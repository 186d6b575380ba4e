"""Memory that is freed stays with the process, and folded networks write in place where nothing else reads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse
from torch.nn import functional as F

from suite.networks.architectures import build
from suite.networks.folding import Convolution, folded

FAULTS = """
import resource, sys
import torch
from suite.networks.allocator import keep_memory
from suite.networks.architectures import build
if sys.argv[1] == "keep":
    keep_memory()
model, x = build("resnet8", 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).eval(), torch.rand(256, 3, 32, 32)
faults = []
with torch.inference_mode():
    for number in range(10):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        model(x)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(min(faults))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_freed_pages_are_used_again() -> None:
    """By default the kernel maps, page by page, most of what each pass writes. The fewest of ten passes."""

    def faults(how: str) -> int:
        return int(subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True).stdout)

    assert 5 * faults("keep") < faults("default")


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
