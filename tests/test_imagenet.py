"""The whole path on real ImageNet images: random weights, a few label-free steps, the top-5 rule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.known import records_file
from helpers.shared import SHARED
from safetensors.torch import save_file

from suite.networks.architectures import build
from suite.pipeline import Machine, run
from suite.spec.run_spec import RunSpec

FILE = SHARED / "data" / "imagenet" / "validation-00000-of-00001.parquet"


@pytest.mark.slow
@pytest.mark.skipif(not FILE.exists(), reason="the ImageNet images do not lie beside this checkout")
def test_heat_from_somebodys_weights_certified_by_the_top_5_rule(tmp_path: Path) -> None:
    """125 images stand for both splits: three steps of four, then the votes of one image for five classes."""
    (tmp_path / "imagenet").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "imagenet" / f"{split}-00000-of-00001.parquet").symlink_to(FILE.resolve())
    torch.manual_seed(0)
    theirs = build("resnet18", 1000, (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)).state_dict()
    network = {k.removeprefix("network."): v.contiguous() for k, v in theirs.items() if k.startswith("network.")}
    save_file(network, tmp_path / "theirs.safetensors")
    spec = RunSpec(
        method="heat", dataset="imagenet", profile="paper", arch="resnet18", init=str(tmp_path / "theirs.safetensors"),
        epochs=0.1, batch_size=4, kappa=2, images=1, n0=1, n=20, protocols="certify",
    )  # fmt: skip
    folder = run(spec, Machine(data_root=tmp_path, runs=tmp_path / "runs", track=False))
    row = json.loads((folder.path / "result.json").read_text())
    assert (row["top"], row["images"], row["sigma"], row["data"]) == (5, 1, 0.25, "ImageNet (part: 125 images)")
    history = json.loads((folder.path / "training.json").read_text())
    assert history[-1]["epoch"] == pytest.approx(3 / 31)
    record = json.loads(records_file(folder.path, "certify").read_text())
    assert len(set(record["chosen"])) == 5
    assert record["count"] == sum(record["votes"].get(str(c), 0) for c in record["chosen"])
    assert sum(record["votes"].values()) == 20
