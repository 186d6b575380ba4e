"""A protocol's images by many workers, in ranges: the same files as by one process, to the byte."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from helpers.chaos import contents
from helpers.cli import Cli
from helpers.grids import GRID

from suite.executors.local import Local
from suite.experiments.parts import Shards, split
from suite.pipeline import Machine, run
from suite.spec.run_spec import RunSpec

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def timeless(file: Path) -> bytes:
    """A file of records without their times."""
    return re.sub(rb'"time": [^,}]+', b'"time": 0', file.read_bytes())


SHARDED = {
    "n": 400,
    "images": 30,
    "certify.sampling": "adaptive",
    "protocols": ["accuracy", "certify", "attack", "audit"],
}
SHARDED |= {"audit.images": 7, "audit.steps": 3, "audit.queries": 100, "audit.n": 50, "audit.restarts": 1}
SHARDED |= {"lbound.images": 5, "lbound.draws": 16, "attack.images": 7}


@pytest.fixture(scope="module")
def whole(alone: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, Path, Path]:
    """A run put through its protocols by one process, and a copy of the store before."""
    pytest.importorskip("pyautoattack")
    before = tmp_path_factory.mktemp("whole") / "before"
    shutil.copytree(alone, before)
    own = GRID["settings"] | GRID["methods"]["heat"] | {"method": "heat", "dataset": "digits", "sigma": 0.25}
    spec = RunSpec(**own | SHARDED)
    return spec, run(spec, Machine(runs=alone.parent / "whole", track=False)).path, before


@pytest.mark.parametrize(("number", "shared"), [(1, True), (3, True), (8, True), (3, False)])
def test_ranges_of_images_are_merged_into_the_same_file(
    number: int, shared: bool, whole: tuple[RunSpec, Path, Path], two: Local, tmp_path: Path
) -> None:
    """Records of adaptive sampling end in another order than their images', and those of the audit go by groups."""
    spec, wanted, before = whole
    machine = Machine(runs=tmp_path / "runs", track=False)
    shutil.copytree(before, machine.runs)
    found = run(spec, machine, make=Shards(two, number, shared=shared)).path
    files = sorted(file.name for file in wanted.glob("*.jsonl"))
    assert [file.partition("-")[0] for file in files] == ["accuracy", "attack", "audit", "certify", "lbound"]
    for name in files:
        assert timeless(found / name) == timeless(wanted / name)
    assert contents(found) == contents(wanted)


def test_ranges_go_on_from_what_a_killed_worker_left(
    whole: tuple[RunSpec, Path, Path], two: Local, tmp_path: Path
) -> None:
    spec, wanted, before = whole
    machine = Machine(runs=tmp_path / "runs", track=False)
    shutil.copytree(before, machine.runs)
    folder = run(spec.model_copy(update={"protocols": ("accuracy",)}), machine)
    parts = folder.parts("certify")
    parts.mkdir(parents=True)
    lines = folder.records_file("certify").with_name(f"{parts.name}.jsonl")
    kept = (wanted / lines.name).read_bytes().splitlines(keepends=True)
    (parts / "20-29.jsonl").write_bytes(b"".join(kept[20:24]).replace(b'"time": ', b'"time": 9') + kept[24][:30])
    found = run(spec, machine, make=Shards(two, 2)).path
    assert timeless(found / lines.name) == timeless(wanted / lines.name)
    assert (found / lines.name).read_text().count('"time": 9') >= 4  # they were not made again
    assert not (found / ".parts").exists()


def test_groups_are_split_evenly_and_in_order() -> None:
    groups = [range(n, n + 2) for n in range(0, 20, 2)]
    for number, sizes in ((1, [10]), (3, [3, 3, 4]), (10, [1] * 10), (99, [1] * 10)):
        parts = list(split(list(groups), number))
        assert [len(part) for part in parts] == sizes
        assert [group for part in parts for group in part] == groups


def test_the_commands_take_shards_and_workers(suite: Cli, alone: Path, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path / "runs")
    name = next(file.parent.name for file in alone.glob("heat*/result.json"))
    place = ["--runs", str(tmp_path / "runs"), "--no-track", "--format", "json"]
    code, row, said = suite("certify", name, "--shards", "2", "--workers", "2", "--n", "90", *place)
    assert code == 0, said
    assert '"n": 90' in row
    given = ["--shards", "2", "--workers", "2"]
    assert "it takes no --shards or --workers" in suite.mistake("timing", name, *given, *place)
