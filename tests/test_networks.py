"""The built-in families of networks, and networks by reference."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from suite import RunSpec, UserError, run
from suite.networks.architectures import build, find_architecture
from suite.pipeline import Machine


def parameters(arch: str, shape: tuple[int, int, int] = (3, 32, 32)) -> int:
    channels = shape[0]
    model = build(arch, 10, shape, (0.5,) * channels, (0.5,) * channels).eval()
    with torch.no_grad():
        assert model(torch.rand(2, *shape)).shape == (2, 10)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arch", "published"),
    [
        ("resnet20", 269_722),  # akamaster/pytorch_resnet_cifar10: 0.27 M, 0.46 M, 0.66 M, 0.85 M, 1.7 M
        ("resnet32", 464_154),
        ("resnet44", 658_586),
        ("resnet110-b", 1_730_714),  # He et al. (2016), Table 6: 1.7 M
        ("wide-resnet-16-4", 2_748_890),  # Zagoruyko and Komodakis (2016), Table 4: WRN-16-4 2.7 M
        ("wide-resnet-28-10", 36_479_194),  # 36.5 M
        ("preact-resnet18", 11_171_146),
        ("vit-tiny", 5_362_762),
    ],
)
def test_networks_have_the_published_numbers_of_parameters(arch: str, published: int) -> None:
    assert parameters(arch) == published


def test_numbers_in_a_name_that_no_network_has() -> None:
    for arch, said in (("resnet33", "6n . 2"), ("wide-resnet-27-10", "6n . 4"), ("resnet20-w9999", "1 to 1024")):
        with pytest.raises(UserError, match=said):
            find_architecture(arch)


@pytest.mark.parametrize(
    ("arch", "meant"),
    [
        ("WideResNet-28-10", "wide-resnet-28-10"),
        ("WRN_28_10", "wide-resnet-28-10"),
        ("preact_resnet18", "preact-resnet18"),
        ("ResNet-18", "resnet18"),
        ("ResNet32", "resnet32"),
    ],
)
def test_a_name_that_is_spelled_otherwise_is_said_as_it_is_here(arch: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{meant}'"):
        find_architecture(arch)


@pytest.mark.parametrize("arch", ["wrn10", "densenet121", "timm/resnet18", "resnet{D}", "efficientnet"])
def test_another_network_is_never_suggested_for_one_that_is_not_here(arch: str) -> None:
    with pytest.raises(UserError, match=r"FILE\.py:NAME") as caught:
        find_architecture(arch)
    assert "did you mean 'resnet" not in str(caught.value)


def test_networks_of_timm_and_torchvision_are_theirs() -> None:
    import timm
    import torchvision

    for arch, theirs in (
        ("timm:resnet18", timm.create_model("resnet18", num_classes=10)),
        ("torchvision:mobilenet_v2", torchvision.models.mobilenet_v2(num_classes=10)),
    ):
        own = build(arch, 10, (3, 64, 64), (0.0,) * 3, (1.0,) * 3).eval()
        own.get_submodule("network").load_state_dict(theirs.state_dict())
        x = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            torch.testing.assert_close(own(x), theirs.eval()(x))
    assert build("timm:vit_tiny_patch16_224", 7, (3, 32, 32), (0.0,) * 3, (1.0,) * 3)(
        torch.rand(2, 3, 32, 32)
    ).shape == (
        2,
        7,
    )


CODE = """
from torch import nn
from beside import SIZE

class Net(nn.Module):
    def __init__(self, num_classes, in_channels=3):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(in_channels, SIZE, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear(SIZE, num_classes)

    def forward(self, x):
        return self.last(self.layers(x))

class Deep(nn.Module):
    def __init__(self, depth, num_classes=10):
        super().__init__()

def small(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))

def ten_of_seven(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

def fails(num_classes):
    raise RuntimeError("no luck\\nsecond line")

ready = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
number = 3
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "beside.py").write_text("SIZE = 5\n")
    (tmp_path / "nets_of_mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    for name in ("beside", "nets_of_mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path / "nets_of_mine.py"


@pytest.mark.parametrize("name", ["Net", "small", "ready"])
@pytest.mark.parametrize("home", ["nets_of_mine.py", "./nets_of_mine.py", "nets_of_mine"])
def test_code_of_ones_own_is_a_network(code: Path, home: str, name: str) -> None:
    assert parameters(f"{home}:{name}", (1, 8, 8)) == {"Net": 50 + 60, "small": 650, "ready": 650}[name]


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ("nets_of_mine.py:Nett", "has no 'Nett'; it has Net, Deep"),
        ("nets_of_mine.py:Deep", "needs depth"),
        ("nets_of_mine.py:ten_of_seven", r"gives \(2, 7\) for 2 images, not logits of 10 classes"),
        ("nets_of_mine.py:fails", "RuntimeError: no luck$"),
        ("nets_of_mine.py:number", "is int, not a class"),
        ("absent.py:Net", "there is no file absent.py"),
        ("absent.module:Net", "does not import|there is no module"),
        ("broken.py:Net", "does not import: SyntaxError"),
        ("leaves.py:Net", "does not import: SystemExit"),
        ("hub:somewhere", "write hub:owner/repo:NAME"),
        ("timm:nothing_such", "timm has no model"),
        ("torchvision:nothing_such", "torchvision has no classifier"),
    ],
)
def test_code_that_is_no_network_is_said_in_a_line(code: Path, arch: str, said: str) -> None:
    code.with_name("broken.py").write_text("def Net(:\n")
    code.with_name("leaves.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(UserError, match=said) as caught:
        build(arch, 10, (1, 8, 8), (0.5,), (0.5,))
    assert "\n" not in str(caught.value)


def test_code_from_a_repository_runs_with_trust_alone(tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text(
        "from pathlib import Path\nfrom torch import nn\nPath(__file__).with_name('ran').touch()\n"
        "def flat(num_classes=3):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    arch = f"hub:{tmp_path}:flat"
    with pytest.raises(UserError, match="--trust"):
        build(arch, 10, (1, 8, 8), (0.5,), (0.5,))
    assert not (tmp_path / "ran").exists()
    model = build(arch, 10, (1, 8, 8), (0.5,), (0.5,), trust=True)
    assert (tmp_path / "ran").exists()
    assert model(torch.rand(2, 1, 8, 8)).shape == (2, 10)


def test_a_run_is_tied_to_the_code_of_its_network(code: Path, tmp_path: Path) -> None:
    given = {
        "method": "baseline",
        "dataset": "digits",
        "arch": "nets_of_mine.py:Net",
        "epochs": 0.1,
        "n": 100,
        "images": 3,
    }
    spec = RunSpec(**given)
    assert spec.arch.startswith("nets_of_mine.py:Net@")
    folder = run(spec, Machine(runs=tmp_path / "runs", track=False))
    assert folder.result.arch == spec.arch
    assert (folder.path.parent, ":" in folder.path.name) == (tmp_path / "runs", False)
    code.write_text(CODE + "\n# a remark\n")
    with pytest.raises(UserError, match="has changed since this run was begun"):
        build(spec.arch, 10, (1, 8, 8), (0.5,), (0.5,))
    assert RunSpec(**given).name != spec.name


def test_normalisation_is_the_first_layer_of_every_network(code: Path) -> None:
    for arch in ("wide-resnet-10-1", "nets_of_mine.py:Net", "preact-resnet18-w8", "resnet14-b-w4"):
        model = build(arch, 10, (1, 8, 8), (0.25,), (0.5,)).eval()
        network = model.get_submodule("network")
        assert isinstance(network, nn.Module)
        x = torch.rand(2, 1, 8, 8)
        with torch.no_grad():
            torch.testing.assert_close(model(x), network((x - 0.25) / 0.5))
