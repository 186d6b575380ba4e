"""Memory that is freed stays with the process, and folded networks write in place where nothing else reads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from suite.models import build, folded

FAULTS = """
import resource, sys
import torch
from suite.memory import keep_memory
from suite.models import build
if sys.argv[1] == "keep":
    keep_memory()
model, x = build("resnet8", 10, (3, 32, 32), (0.5,) * 3, (0.25,) * 3).eval(), torch.rand(256, 3, 32, 32)
with torch.inference_mode():
    for number in range(30):
        if number == 15:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        model(x)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's allocator is Linux's")
def test_freed_pages_are_used_again() -> None:
    """By default the kernel maps, page by page, most of what each pass writes."""

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
    assert isinstance(fast, torch.fx.GraphModule)
    assert fast.code.count("inplace = True") == 7  # of ResNet-8: every ReLU


class Twice(nn.Module):
    """Somebody's network, whose first ReLU reads the image and whose second reads what is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        bright = F.relu(x - 0.5)
        seen = self.conv(bright)
        return (F.relu(seen) + seen + F.relu(x)).mean(dim=(2, 3))


def test_what_is_read_again_is_not_written_over() -> None:
    torch.manual_seed(0)
    model, x = Twice().eval(), torch.rand(2, 3, 8, 8)
    fast, given = folded(model, x[0]), x.clone()
    with torch.inference_mode():
        torch.testing.assert_close(fast(x), model(x))
    assert torch.equal(x, given)
    assert isinstance(fast, torch.fx.GraphModule)
    assert "inplace = True" not in fast.code
