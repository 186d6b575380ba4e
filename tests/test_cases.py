"""Every case of ../shared/cases/wild: small inputs that failed once, each with what is right."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from helpers.shared import SHARED

CASES = Path(os.environ.get("SUITE_CASES") or SHARED / "cases" / "wild")
ROOT = Path(__file__).parents[1]

Says = Callable[[str], None]


def lines(*wanted: tuple[str, ...]) -> Says:
    """As many lines as there are tuples, which say these words, in this order; other lines may be between them."""

    def check(output: str) -> None:
        left: Iterator[str] = iter(output.splitlines())
        for words in wanted:
            assert any(all(word in line for word in words) for line in left), f"no line says {words}:\n{output}"

    return check


def two_tables(output: str) -> None:
    """The first table is of one folder alone: its second row would be the other folder's."""
    title, _, first, *rest = output.splitlines()
    assert title.startswith("data (")
    assert first.split()[:2] == ["1", "baseline"]
    assert not any(line.split()[:2] in (["2", "baseline"], ["1–2", "baseline"]) for line in rest)


TINY = "('n01443537', 'n01629819')"
CIFAR = "('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')"
EXPECTED: dict[str, Says] = {
    "16-hf-convert-layout": lines(
        (f"cifar10 CIFAR-10 (part: 10 images) (3, 32, 32) 20 10 {CIFAR} [0, 1, 2]",),
        ("data/cifar10/plain_text plain_text (3, 32, 32) 20 10", "[0, 1, 2]"),
    ),
    "18-tiny-imagenet": lines(
        ("2 of the 3 images in tiny/val are not in tiny/val/val_annotations.txt",),
        (f"tiny tiny (3, 64, 64) 6 1 {TINY} [0]",),
    ),
    "20-numbered-class-folders": lines(
        ("imagenet ImageNet (part: 1000 images)", "[0, 1, 2]"),
        ("folder 2 has the label 2 and folder 10 the label 10",),
    ),
    "22-names-in-one-split": lines(("mine mine (3, 8, 8) 3 3 ('ant', 'bee', 'cow') [0, 1, 2]",)),
    "24-one-odd-size": lines(
        (
            "mine/train/bee/3.png has 32x31 pixels",
            "32x32",
            "all 40 images are resized to 224x224 (49 times the pixels)",
        ),
        ("mine mine (3, 224, 224) 20 20",),
        ("mine/train/bee/3.png has 32x31 pixels",),  # of the command, too
    ),
    "25-two-folders-one-name": two_tables,
    "28-archive-not-unpacked": lines(
        ("cifar10 UserError: data/cifar-10-python.tar.gz is not the published archive",),
        ("suite: data/cifar-10-python.tar.gz is not the published archive",),
    ),
    "29-labels-from-one": lines(
        ("no training image of mine has the label 0", "begin at 1", "4 classes, and the first is empty"),
        ("mine mine (3, 8, 8) 12 3",),
    ),
    "30-part-of-cifar10": lines((f"cifar10 CIFAR-10 (part: 10 images) (3, 32, 32) 10 10 {CIFAR} [0, 1, 2]",)),
    "31-grey-images": lines(
        ("mnist mnist (1, 28, 28) 6 6 ('0', '1') [0, 0, 0]",),
        ("distance of two images in the suite 11.267 and of their grey pixels 11.267",),
    ),
    "01-seq-prefix": lines(("cifar, cnn, deployed: pass",), ("imagenet, cnn, deployed: pass",)),
    "02-net-key": lines(("ckpt, cnn, deployed: pass",)),
    "04-numpy-scalar": lines(("theirs, cnn, deployed: pass",)),
    "05-norm-buffers": lines(("theirs, cnn, deployed: pass",)),
    "08-resnet18-names": lines(("theirs, resnet18, deployed: pass",)),
    "09-resnet32": lines(
        ("suite: resnet32.th holds no dict of tensors",),  # so the architecture was taken
        ("unknown architecture 'WideResNet-28-10': did you mean 'wide-resnet-28-10'", "FILE.py:NAME"),
    ),
    "10-html-page": lines(("suite: Standard.pt is an HTML page, not a checkpoint",)),
    "12-log-names": lines(
        ("theirs-noise_0.25: 20 images",),
        ("theirs-noise_0.50: 20 images",),
        ("theirs-noise_0.25.toml",),
        ("theirs-noise_0.50.toml",),
    ),
    "14-log-bom": lines(("theirs-bom: 20",), ("theirs-utf16: 20",), ("theirs-blank: 20",)),
    "15-log-appended": lines(
        ("theirs-resumed: 40 images", "the header is repeated in line 22"),
        ("again.tsv, line 22: image 380 is there twice",),
    ),
    "26-constants-in-255": lines(("at most 1, with pixels in [0,1]", "give 0.4914")),
    "32-board-of-ones-own": lines(("theirs-lenet_noise_0.25_sigma_0.25: 20 images",)),
    "33-mlflow-experiment-deleted": lines(("was deleted in MLflow", "experiments restore"), ("rc=1",)),
}
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the cases do not lie beside this checkout")


@pytest.fixture
def outcome(tmp_path: Path, warm_suite: Path) -> Callable[[str], str]:
    """Runs a case with this checkout's commands; gives all that it prints."""
    suite = tmp_path / "suite"
    few = 'if [ "$1" = import ]; then set -- "$@" --few; fi'  # the cases' logs have 20 images
    suite.write_text(f'#!/bin/sh\n{few}\nexec "{warm_suite}" "$@"\n')
    suite.chmod(0o755)
    own = {
        "SUITE": str(suite),
        "PY": sys.executable,
        "TMPDIR": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "200",
    }

    def run(case: str) -> str:
        command = ["sh", str(CASES / case / "run.sh")]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SUITE_DATA")} | own
        return subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=500,
        ).stdout

    return run


@pytest.mark.slow
@needs_cases
@pytest.mark.parametrize("case", EXPECTED)
def test_a_case_does_what_is_right(outcome: Callable[[str], str], case: str) -> None:
    said = outcome(case)
    assert "Traceback" not in said
    EXPECTED[case](said)


@needs_cases
def test_every_case_has_its_expectation() -> None:
    assert {path.name for path in CASES.iterdir() if (path / "run.sh").exists()} == EXPECTED.keys()
