"""Somebody's network, from an empty folder to a full row of the board, by the commands of the documentation.

The page is docs/how-to/your-own-model.md. A network of a notebook is test_notebook.py's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.cli import succeed
from helpers.pages import BLOCK, DOCS, ROOT
from torch import nn
from torchvision.models.resnet import BasicBlock

from suite.data import load

PAGE = DOCS / "how-to" / "your-own-model.md"
PROTOCOLS = {"accuracy", "certify", "attack", "audit"}


class Bearpaw(nn.Module):
    """The ResNet of locuslab/smoothing's archs/cifar_resnet.py, of 8 layers, for images of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16))
        self.layer2, self.layer3 = (
            nn.Sequential(
                BasicBlock(
                    width // 2, width, 2,
                    nn.Sequential(nn.Conv2d(width // 2, width, 1, 2, bias=False), nn.BatchNorm2d(width)),
                )
            )
            for width in (32, 64)
        )  # fmt: skip
        self.fc = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn1(self.conv1(x)).relu()
        found: torch.Tensor = self.fc(self.layer3(self.layer2(self.layer1(x))).mean(dim=(2, 3)))
        return found


class NormalizeLayer(nn.Module):
    """Its constants are no buffers, as there: the checkpoint lacks them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - 0.3) / 0.4


def train_as_cohen(place: Path) -> None:
    """A checkpoint as locuslab/smoothing's train.py writes it: normalisation first, then the network in parallel."""
    digits = load("digits").train
    images, labels = digits.images / 255, digits.labels
    torch.manual_seed(0)
    model = nn.Sequential(NormalizeLayer(), nn.DataParallel(Bearpaw()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for batch in torch.randperm(len(images)).split(64):
            noisy = images[batch] + 0.25 * torch.randn_like(images[batch])
            loss = nn.functional.cross_entropy(model(noisy), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    state = {"epoch": 3, "arch": "cifar_resnet8", "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
    assert all(name.startswith("1.module.") for name in state["state_dict"])
    (place / "noise_0.25").mkdir()
    torch.save(state, place / "noise_0.25" / "checkpoint.pth.tar")


def blocks_below(heading: str) -> list[tuple[str, str]]:
    """The blocks of the page below a heading: language and content."""
    sections = re.split(r"^###? ", PAGE.read_text(), flags=re.MULTILINE)
    [text] = [section for section in sections if section.startswith(heading + "\n")]
    return [(found["language"], found["content"]) for found in BLOCK.finditer(text)]


def carry_out(blocks: Iterable[tuple[str, str]], place: Path, suite: Path) -> str:
    """Write the files that the page shows, and do its commands; what the last of them prints.

    A program's first line says in which file it stands.
    """
    printed = ""
    for language, content in blocks:
        if language == "python":
            name = content.partition("\n")[0].removeprefix("# ")
            (place / name).write_text(content)
            continue
        assert language == "sh"
        for line in filter(None, content.replace("\\\n", " ").splitlines()):
            words = shlex.split(line)
            program = sys.executable if words[0] == "python" else str(suite)
            paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
            done = subprocess.run(
                [program, *words[1:]],
                cwd=place, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths},
            )  # fmt: skip
            assert done.returncode == 0, (line, done.stderr)
            printed = done.stdout
    return printed


def full_row(place: Path, printed: str) -> dict[str, Any]:
    """The one row of the board in a folder, with figures of all four kinds, as the board printed it."""
    [row] = json.loads(succeed("leaderboard", "digits", "--runs", place / "runs", "--format", "json"))["rows"]
    heading = next(line for line in printed.splitlines() if "method" in line).split()
    line = next(line for line in printed.splitlines() if line.startswith(f"1 {row['method']}")).split()
    cells = dict(zip(heading, line, strict=True))
    assert cells["clean"] == f"{100 * row['clean_accuracy']:.1f}"
    assert cells["0.1"] == f"{100 * row['certified_accuracy']['0.1']:.1f}"
    assert cells["dist."] == f"{row['adversarial_distance']:.3f}"
    assert cells["audit"] == f"{row['audit']['violations']}/{row['audit']['attacked']}"
    assert row["clean_accuracy"] > 0.6
    assert row["certified_accuracy"]["0.1"] > 0.4
    assert 0 < row["adversarial_distance"] < 4
    assert row["audit"]["violations"] == 0 < row["audit"]["attacked"]
    [run] = row["runs"]
    result = json.loads((place / "runs" / run / "result.json").read_text())
    assert set(result["protocols"]) >= PROTOCOLS
    return dict(row)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("heading", "arch"),
    [
        ("A network of timm", r"timm:test_resnet"),
        ("A network in a file", r"net\.py:Net@\w+"),
        ("A checkpoint of Cohen et al.'s code", r"resnet8-b"),
    ],
)
def test_the_commands_of_the_page_end_in_a_full_row(tmp_path: Path, warm_suite: Path, heading: str, arch: str) -> None:
    if "Cohen" in heading:
        train_as_cohen(tmp_path)
    row = full_row(tmp_path, carry_out(blocks_below(heading), tmp_path, warm_suite))
    assert re.fullmatch(arch, row["arch"])
