"""An experiment by many workers: the same files as by one process, to the byte."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers.chaos import contents, leftovers
from helpers.grids import killing, specs, watching

from suite import data as datasets
from suite.errors import UserError
from suite.executors.executor import Executor
from suite.executors.local import Local
from suite.experiments.by_workers import carry_out_by
from suite.pipeline import Machine
from suite.store.locks import hold, lock_of

KILLS = int(os.environ.get("SUITE_KILLS", "2"))  # of workers of Ray's; ten take a minute or two
SEED = int(os.environ.get("SUITE_KILLS_SEED", str(time.time_ns() % 10**6)))
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Executor]:
    """Ray on two nodes of this machine, each with one processor."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    from suite.executors.ray import Ray

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    with Ray(address=nodes.address) as ray:
        assert ray.workers == 2
        yield ray
    nodes.shutdown()


def made(executor: Executor, runs: Path, *, shared: bool = True) -> dict[str, Any]:
    """What a store has in which an executor has carried out the experiment; nothing is left of the work."""
    finished = list(carry_out_by(executor, specs(), Machine(runs=runs, track=False), shared=shared))
    assert sorted(folder.name for folder in finished) == sorted(file.parent.name for file in runs.glob("*/result.json"))
    assert not leftovers(runs)
    return contents(runs)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_worker_processes_make_what_one_process_makes(workers: int, alone: Path, tmp_path: Path) -> None:
    wanted = contents(alone)
    assert sum(place.endswith("/model.safetensors") for place in wanted) == 4 + 5  # heat's start is trained once
    with Local(workers=workers) as local, watching(tmp_path) as written:
        assert made(local, tmp_path) == wanted
    assert {len(times) for times in written.values()} == {1}
    assert len(written) == 5


def test_workers_that_share_no_files_make_the_same(two: Local, alone: Path, tmp_path: Path) -> None:
    assert made(two, tmp_path, shared=False) == contents(alone)


def test_ray_makes_the_same_and_again_where_its_workers_are_killed(
    cluster: Executor, alone: Path, tmp_path: Path
) -> None:
    print(f"SUITE_KILLS_SEED={SEED} SUITE_KILLS={KILLS}")
    with watching(tmp_path) as written, killing(KILLS, Random(SEED), (0.3, 3.0)) as killed:
        found = made(cluster, tmp_path)
    assert found == contents(alone)
    assert {len(times) for times in written.values()} == {1}  # nothing was trained twice
    print(f"{len(killed)} killed")
    assert killed


def test_two_nodes_of_ray_without_a_shared_folder_make_the_same(cluster: Executor, alone: Path, tmp_path: Path) -> None:
    assert made(cluster, tmp_path, shared=False) == contents(alone)


def test_workers_go_on_where_another_process_stopped(two: Local, alone: Path, tmp_path: Path) -> None:
    """Half of the records of a run are there, without its last line being whole; what is finished is left alone."""
    for shared in (True, False):
        runs = tmp_path / str(shared)
        shutil.copytree(alone, runs)
        broken = next(file for file in sorted(runs.glob("heat*/certify-*.jsonl")))
        broken.write_bytes(b"".join(broken.read_bytes().splitlines(keepends=True)[:3]) + b'{"idx": 3, "lab')
        (broken.parent / "result.json").unlink()
        others = [file for file in runs.glob("*/*.jsonl") if file != broken]
        before = {file: file.stat().st_mtime_ns for file in others}
        assert made(two, runs, shared=shared) == contents(alone)
        assert shared is False or {file: file.stat().st_mtime_ns for file in others} == before


def test_what_another_process_is_at_is_left_to_it(
    two: Local, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first run is held until the others are there."""
    for shared in (True, False):
        asked = [spec.on(datasets.load("digits").fingerprint) for spec in specs()[::2]]
        machine = Machine(runs=tmp_path / str(shared), track=False)
        folders = []
        with hold(lock_of(machine.runs / asked[0].name)):
            made = carry_out_by(two, asked, machine, shared=shared)
            folders.append(next(made))
        folders += made
        assert [folder.name for folder in folders] == [asked[1].name, asked[0].name]
        assert f"is at work on {machine.runs / asked[0].name}; another task meanwhile" in capsys.readouterr().err


def test_a_run_that_fails_does_not_keep_the_others(two: Local, alone: Path, tmp_path: Path) -> None:
    shutil.copytree(alone, tmp_path / "runs")
    broken = next(file for file in sorted(tmp_path.glob("runs/heat*/certify-*.jsonl")))
    broken.write_text("no record\n")
    for file in tmp_path.glob("runs/*/result.json"):
        file.unlink()
    done = carry_out_by(two, specs(), Machine(runs=tmp_path / "runs", track=False))
    with pytest.raises(UserError, match=rf"1 of 4 runs failed: {broken.parent.name}; the others are finished"):
        list(done)
    assert len(list(tmp_path.glob("runs/*/result.json"))) == 3
