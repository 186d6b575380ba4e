"""Runs that are kept beside the published rows give the rows, curves and records that they gave in their store."""

from __future__ import annotations

import json
import lzma
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.cli import TINY

from leaderboards import table
from leaderboards.curves import row_curve, row_records
from leaderboards.published.kept import keep, records_file
from suite import RunSpec, UserError, run
from suite.pipeline import Machine
from suite.store.records import read_records


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run in a store."""
    store = tmp_path_factory.mktemp("runs")
    return run(RunSpec(**TINY), Machine(runs=store, track=False)).path


@pytest.mark.slow
def test_a_kept_run_is_the_row_that_it_was(folder: Path, tmp_path: Path) -> None:
    before = table("digits", folder.parent, published=None)
    records = row_records(before.iloc[0], folder.parent, tmp_path)
    place, new = keep(folder, tmp_path)
    assert new
    assert not list(place.glob("*.safetensors"))
    settings = {
        file.name for file in folder.glob("*-????????.json")
    }  # what the digests in the records' names stand for
    assert settings
    assert settings <= {file.name for file in place.iterdir()}
    after = table("digits", tmp_path / "no store", published=tmp_path)
    pd.testing.assert_frame_equal(after, before)
    pd.testing.assert_frame_equal(row_records(after.iloc[0], tmp_path / "no store", tmp_path), records)
    assert not row_curve(after.iloc[0], tmp_path / "no store", "standard", tmp_path).empty
    assert keep(folder, tmp_path) == (place, False)


def test_a_stores_own_run_stands_in_place_of_the_kept_one(folder: Path, tmp_path: Path) -> None:
    place, _ = keep(folder, tmp_path)
    kept = json.loads((place / "result.json").read_text())
    (place / "result.json").write_text(json.dumps(kept | {"acr": 9.0}))
    shorter = "".join(records_file(folder, "certify").read_text().splitlines(keepends=True)[:5])
    (place / f"{records_file(place, 'certify').name}.xz").write_bytes(lzma.compress(shorter.encode()))
    [row] = [row for _, row in table("digits", folder.parent, published=tmp_path).iterrows()]
    assert row["acr"] == kept["acr"]
    assert len(row_records(row, folder.parent, tmp_path)) == kept["images"] > 5
    [row] = [row for _, row in table("digits", tmp_path / "no store", published=tmp_path).iterrows()]
    assert (row["acr"], len(row_records(row, tmp_path / "no store", tmp_path))) == (9, 5)


def test_what_cannot_be_kept(folder: Path, tmp_path: Path) -> None:
    torn = Path(shutil.copytree(folder, tmp_path / folder.name))
    (torn / "result.json").unlink()
    with pytest.raises(UserError, match="not a finished run"):
        keep(torn, tmp_path)
    (torn / "result.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        keep(torn, tmp_path)
    assert not (tmp_path / "runs").exists()


def test_damaged_records_are_named(folder: Path, tmp_path: Path) -> None:
    place, _ = keep(folder, tmp_path)
    packed = place / f"{records_file(place, 'certify').name}.xz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"certify-[0-9a-f]{8}\.jsonl\.xz is damaged"):
        read_records(records_file(place, "certify"))
