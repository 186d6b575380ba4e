"""`suite compare`: two rows on the images that both have, or by their figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.cli import call, succeed
from helpers.logs import log

from suite.statistics.bounds import certified_radius

ABOUT = ["--board", "cifar10", "--citation", "A. Author. Title. Venue, 2020.", "--few", "--n", "1000"]
ROW = "cnn_noise_0.25_sigma_0.25.tsv"


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """40 images, and 60 of which 30 are among them; the first certifies all at 0.25, the other half of them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    large, small = (f"{certified_radius(votes, 1_000, 0.001, 0.25):.3f}" for votes in (1_000, 800))
    first = [f"{i}\t3\t3\t{large}\t1\t0:00:01.5" for i in range(40)]
    other = [f"{i}\t3\t3\t{large if i % 2 else small}\t1\t0:00:01.5" for i in range(10, 70)]
    for method, lines in (("one", first), ("two", other)):
        (tmp_path / method).mkdir()
        succeed("import", str(log(tmp_path / method / ROW, *lines)), "--method", method, *ABOUT)
    return tmp_path


def test_rows_of_different_images_are_compared_on_what_they_share(rows: Path) -> None:
    said = json.loads(succeed("compare", "cifar10", "one", "two", "--format", "json"))
    assert said["images"] == 30
    at = {line["radius"]: line for line in said["at"]}
    assert (at[0.1]["difference"], at[0.1]["ahead"]) == (0, None)
    assert (at[0.25]["difference"], at[0.25]["ahead"]) == (0.5, "A")
    assert at[0.25]["interval"][0] > 0
    text = succeed("compare", "cifar10", "two", "one")
    assert "on the 30 images of both, image by image" in text
    assert "r = 0.25     -50.0 points" in text


def test_a_row_without_its_log_is_compared_by_its_figures(rows: Path) -> None:
    for file in (rows / "cache").rglob("*.xz"):
        file.unlink()
    said = json.loads(succeed("compare", "cifar10", "one", "two", "--format", "json"))
    assert said["images"] == 0
    assert {line["radius"]: line["difference"] for line in said["at"]}[0.25] == pytest.approx(0.5)
    assert "from their metrics" in succeed("compare", "cifar10", "one", "two")


def test_names_that_no_row_has(rows: Path) -> None:
    assert "no row '' on cifar10" in call("compare", "cifar10", "one", "").err
    assert "A and B are the same row" in call("compare", "cifar10", "one", "one").err
    assert "no row 'three' on cifar10" in call("compare", "cifar10", "one", "three").err
    said = call("compare", "cifar10", "one", "randomized-smoothing-resnet110").err
    assert "rows begin: cifar10/randomized-smoothing-resnet110" in said
