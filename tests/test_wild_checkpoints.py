"""Checkpoints as other people save them: each is loaded with the same logits, or refused in a line, and never run."""

from __future__ import annotations

import argparse
import os
import pathlib
import random
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from methods.foreign import name_of
from suite import UserError
from suite.networks.architectures import Classifier, build
from suite.networks.checkpoint_files import fetch, read_entries
from suite.networks.checkpoints import adopt
from suite.networks.guess import fitting

SHAPE = (3, 32, 32)
State = dict[str, Tensor]


def model(arch: str, classes: int = 10, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    middle = (0.5,) * shape[0]
    made = build(arch, classes, shape, middle, middle).eval()
    for name, buffer in made.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    assert isinstance(made, Classifier)
    return made


def state(arch: str, **given: Any) -> State:
    return model(arch, **given).get_submodule("network").state_dict()


def logits(of: nn.Module, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    with torch.no_grad():
        return of(torch.rand(4, *shape, generator=torch.Generator().manual_seed(1)))


def load(file: Path, arch: str, **given: Any) -> tuple[Classifier, list[str]]:
    into = model(arch, seed=1, **given)
    return into, adopt(into, file)


def test_the_names_of_kuangliu_and_of_cohen_are_ours() -> None:
    """The same network under the names that the authors of widely used code give its parts."""
    for arch, theirs in (
        ("resnet18", {"downsample": "shortcut", "fc": "linear"}),
        ("resnet20", {"linear": "fc"}),
        ("resnet20-b", {"linear": "fc"}),
        ("resnet20-b", {"downsample": "shortcut"}),
        ("preact-resnet18-w8", {"shortcut": "downsample", "linear": "fc"}),
        ("wide-resnet-10-1", {"fc": "linear"}),
    ):
        own = state(arch)
        renamed = {".".join(theirs.get(part, part) for part in name.split(".")): value for name, value in own.items()}
        assert renamed.keys() != own.keys()
        for prefix in ("", "module.", "1.", "1.module."):
            into = model(arch, seed=1)
            path = Path(os.environ["PYTEST_TMP"]) / "theirs.pth"
            torch.save({"net": {prefix + name: value for name, value in renamed.items()}, "acc": 94.5}, path)
            adopt(into, path)
            torch.testing.assert_close(logits(into), logits(model(arch)), rtol=0, atol=0)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_TMP", str(tmp_path))


@pytest.mark.parametrize(
    ("names", "constants"),
    [
        (("mu", "sigma"), (1, 3, 1, 1)),
        (("mean", "std"), (3,)),
        (("normalize.mean", "normalize.std"), (3, 1, 1)),
        (("0.mean", "0.std"), (1, 3, 1, 1)),
        (("norm.means", "norm.sds"), (3,)),
    ],
)
def test_a_normalisation_in_the_file_is_taken(
    tmp_path: Path, names: tuple[str, str], constants: tuple[int, ...]
) -> None:
    own = {f"1.{name}" if names[0].startswith("0.") else name: value for name, value in state("resnet8").items()}
    own |= {
        names[0]: torch.tensor([0.1, 0.2, 0.3]).view(constants),
        names[1]: torch.tensor([0.4, 0.5, 0.6]).view(constants),
    }
    torch.save(own, tmp_path / "theirs.pt")
    into, said = load(tmp_path / "theirs.pt", "resnet8")
    normalize = into.get_submodule("normalize")
    assert normalize.get_buffer("mean").flatten().tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert normalize.get_buffer("std").flatten().tolist() == pytest.approx([0.4, 0.5, 0.6])
    assert any("mean 0.1, 0.2, 0.3" in line for line in said)


def test_one_constant_alone_or_of_other_channels_is_no_normalisation(tmp_path: Path) -> None:
    for more in ({"mean": torch.zeros(3)}, {"sigma": torch.ones(3)}, {"mean": torch.zeros(1), "std": torch.ones(1)}):
        torch.save(state("resnet8") | more, tmp_path / "theirs.pt")
        with pytest.raises(UserError, match="not expected"):
            load(tmp_path / "theirs.pt", "resnet8")


def test_which_of_several_entries_is_taken_is_said(tmp_path: Path) -> None:
    plain, other = state("resnet8"), state("resnet8", seed=5)
    torch.save({"state_dict": plain, "state_dict_ema": other, "epoch": 3}, tmp_path / "both.pt")
    into, said = load(tmp_path / "both.pt", "resnet8")
    torch.testing.assert_close(logits(into), logits(model("resnet8")), rtol=0, atol=0)
    assert any("state_dict is taken, not state_dict_ema" in line for line in said)
    adopt(into, tmp_path / "both.pt", entry="state_dict_ema")
    torch.testing.assert_close(logits(into), logits(model("resnet8", seed=5)), rtol=0, atol=0)
    torch.save({"teacher": plain, "student": other}, tmp_path / "two.pt")
    with pytest.raises(UserError, match="entry=… of teacher, student"):
        load(tmp_path / "two.pt", "resnet8")
    with pytest.raises(UserError, match=r"no entry 'pupil' with tensors; it has teacher, student"):
        adopt(into, tmp_path / "two.pt", entry="pupil")
    torch.save({f"{who}.{n}": v for who in ("teacher", "student") for n, v in plain.items()}, tmp_path / "mixed.pt")
    with pytest.raises(UserError, match=r"more than once, under 'student\.' and 'teacher\.'"):
        load(tmp_path / "mixed.pt", "resnet8")


def test_an_entry_of_another_network_is_passed_over(tmp_path: Path) -> None:
    torch.save({"state_dict": state("cnn"), "classifier": state("resnet8")}, tmp_path / "theirs.pt")
    torch.testing.assert_close(
        logits(load(tmp_path / "theirs.pt", "resnet8")[0]), logits(model("resnet8")), rtol=0, atol=0
    )


def spoiled(name: str, file: Path) -> None:
    """A file that is no checkpoint of a resnet8 for 10 classes."""
    own = state("resnet8")
    first = next(iter(own))
    contents: dict[str, Any] = {
        "nan": own | {first: torch.full_like(own[first], torch.nan)},
        "classes": state("resnet8", classes=7),
        "deeper": state("resnet14"),
        "head missing": {key: value for key, value in own.items() if not key.startswith("linear")},
        "more": own | {"extra.weight": torch.zeros(3, 3)},
        "numbers": {"epoch": 3, "acc": 94.5},
        "list": [own[first]],
        "tensor": own[first],
        "empty dict": {},
        "optimizer alone": {"optimizer": {"state": {0: {"momentum_buffer": own[first]}}}},
        "order": {f"layers.{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(own.items())},
    }
    if name in contents:
        torch.save(contents[name], file)
    elif name == "whole module":
        torch.save(model("resnet8"), file)
    elif name == "script":
        torch.jit.script(nn.Linear(3, 2)).save(str(file))
    elif name == "truncated":
        torch.save(own, file)
        file.write_bytes(file.read_bytes()[:5000])
    elif name == "code":
        torch.save(own | {"x": Runs()}, file)
    else:
        file.write_bytes({
            "html": b"\n<!DOCTYPE html><html><body>Google Drive - Virus scan warning</body>",
            "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
            "empty": b"",
            "json": b'{"error": "not found"}',
            "gzip": b"\x1f\x8b\x08\x00rest",
            "numpy": b"\x93NUMPY\x01\x00",
            "text": b"hello, this is a text about weights" * 20,
            "random": random.Random(0).randbytes(4096),
        }[name])  # fmt: skip


class Runs:
    """What leaves a trace if it is ever unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (os.path.join(os.environ["PYTEST_TMP"], "ran"),)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nan", "numbers that are not finite"),
        ("classes", "number of classes"),
        ("deeper", "not expected"),
        ("head missing", "2 keys missing"),
        ("more", r"1 keys not expected \(extra.weight"),
        ("numbers", r"no dict of tensors, but epoch \(int\), acc \(float\)"),
        ("list", "a list"),
        ("tensor", "a Tensor"),
        ("empty dict", "no dict of tensors"),
        ("optimizer alone", r"no dict of tensors, but optimizer \(dict\)"),
        ("order", r"same shapes in the same order.*is layers\.\d+\.\w+ there"),
        ("whole module", r"would execute code; save its state_dict"),
        ("script", "TorchScript"),
        ("truncated", "damaged or not a checkpoint"),
        ("code", "would execute code"),
        ("html", "an HTML page"),
        ("lfs", "Git LFS"),
        ("empty", "is empty"),
        ("json", "is JSON"),
        ("gzip", "unpack it first"),
        ("numpy", "NumPy array"),
        ("text", "damaged or not a checkpoint"),
        ("random", "damaged or not a checkpoint"),
    ],
)
def test_what_is_no_checkpoint_of_the_network_is_said_in_a_line(tmp_path: Path, name: str, said: str) -> None:
    spoiled(name, tmp_path / "theirs.pt")
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path / "theirs.pt", "resnet8")
    assert "\n" not in str(caught.value)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_name_or_an_address_that_is_no_file(tmp_path: Path) -> None:
    for file, said in (
        (str(tmp_path), "is a folder"),
        (str(tmp_path / "absent.pt"), "no checkpoint at"),
        ("https://example.org/net.pt", "download it"),
        ("hf://owner/repo", "names no file"),
    ):
        with pytest.raises(UserError, match=said):
            read_entries(fetch(file))


EXTRAS: list[Any] = [
    {},
    {"epoch": 3, "best_acc": np.float64(93.2), "arch": "resnet"},
    {"args": argparse.Namespace(lr=0.1, out="x"), "history": np.arange(5.0)},
    {"optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": np.float32(0.1)}]}},
    {"path": pathlib.PosixPath("/x"), "rng": torch.get_rng_state(), "loss": torch.tensor(0.5)},
]
CONTAINERS: list[Callable[[State, Any], Any]] = [
    lambda own, extras: own,
    *[
        (lambda own, extras, key=key: {key: own, **extras})
        for key in ("state_dict", "net", "model", "model_state_dict", "ema", "module", "weights")
    ],
    lambda own, extras: {"checkpoint": {"model": own, **extras}},
    lambda own, extras: OrderedDict(own),
]
PREFIXES = [
    "",
    "module.",
    "1.",
    "1.module.",
    "model.",
    "_orig_mod.",
    "net.module.",
    "model._orig_mod.module.",
    "f.g.h.",
]
BOOKKEEPING: list[State] = [
    {},
    {"n_averaged": torch.tensor(7)},
    {"total_ops": torch.zeros(1, dtype=torch.float64), "total_params": torch.zeros(1, dtype=torch.float64)},
]
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
ARCHITECTURES = ["resnet8", "cnn", "resnet8-b-w8", "preact-resnet18-w4", "wide-resnet-10-1", "airbench-w16"]


def mutated(seed: int, file: Path) -> tuple[str, State, bool]:
    """A checkpoint of a layout drawn at random, its architecture and weights, and whether it is whole."""
    draw = random.Random(seed)
    arch = draw.choice(ARCHITECTURES)
    dtype = draw.choice(DTYPES)
    own = {k: v.to(dtype) if v.is_floating_point() else v for k, v in state(arch, seed=seed).items()}
    saved = {draw.choice(PREFIXES[:1]) + name: value for name, value in own.items()}
    prefix = draw.choice(PREFIXES)
    saved = {prefix + name: value for name, value in own.items()} | draw.choice(BOOKKEEPING)
    if draw.random() < 0.2:
        saved = {name: value for name, value in saved.items() if not name.endswith("num_batches_tracked")}
    if draw.random() < 0.2:
        saved = {name: nn.Parameter(v) if v.is_floating_point() else v for name, v in saved.items()}
    whole = draw.random() < 0.75
    if not whole:
        name = draw.choice([name for name in saved if saved[name].dim() and not name.startswith("total_")])
        fault = draw.choice(["missing", "shape", "renamed", "nan"])
        value = saved.pop(name)
        if fault == "shape":
            saved[name] = torch.cat([value.detach(), value.detach()])
        elif fault == "renamed":
            saved[name + "_"] = value
        elif fault == "nan":
            saved[name] = torch.full_like(value.detach(), float("inf"))
    if draw.random() < 0.3:
        save_file({name: value.detach().contiguous().clone() for name, value in saved.items()}, file)
    else:
        content = draw.choice(CONTAINERS)(saved, draw.choice(EXTRAS))
        torch.save(content, file, _use_new_zipfile_serialization=draw.random() < 0.8)
    return arch, own, whole


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_300_layouts_are_loaded_right_or_refused_in_a_line(tmp_path: Path, first: int) -> None:
    loaded = refused = 0
    for seed in range(first, first + 50):
        arch, own, whole = mutated(seed, tmp_path / "theirs.pth")
        into = model(arch, seed=seed + 1)
        if not whole:
            with pytest.raises(UserError) as caught:
                adopt(into, tmp_path / "theirs.pth")
            assert "\n" not in str(caught.value)
            refused += 1
            continue
        adopt(into, tmp_path / "theirs.pth")
        expected = model(arch, seed=seed)
        expected.get_submodule("network").load_state_dict(own)
        torch.testing.assert_close(logits(into), logits(expected), rtol=0, atol=0)
        loaded += 1
    assert loaded > 25
    assert refused > 3


@pytest.mark.parametrize(
    ("arch", "shape"),
    [
        ("resnet32", SHAPE),
        ("resnet20-w24", SHAPE),
        ("resnet56-b", SHAPE),
        ("wide-resnet-16-4", SHAPE),
        ("preact-resnet18-bn", SHAPE),
        ("resnet18", SHAPE),
        ("airbench-w32", SHAPE),
        ("cnn", (1, 8, 8)),
    ],
)
def test_the_architecture_is_guessed_from_the_tensors(tmp_path: Path, arch: str, shape: tuple[int, int, int]) -> None:
    torch.save({"state_dict": {f"1.{k}": v for k, v in state(arch, shape=shape).items()}}, tmp_path / "theirs.pt")
    assert fitting(tmp_path / "theirs.pt", 10, shape) == [arch]


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("models/resnet20-12fca82f.th", "resnet20-12fca82f"),
        ("noise_0.25", "noise_0.25"),
        ("cifar10/resnet110/noise_0.50/checkpoint.pth.tar", "noise_0.50"),
        ("hf://timm/resnet18.a1_in1k/model.safetensors", "resnet18.a1_in1k"),
        ("Best.ckpt", "Best"),
        ("theirs.v1.2.pt", "theirs.v1.2"),
    ],
)
def test_a_row_is_called_after_its_file(file: str, name: str) -> None:
    assert name_of(file) == name
