"""An experiment, a protocol's images and a study by many workers: the same files as by one process, to the byte."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from helpers import processes
from helpers.chaos import contents, leftovers
from helpers.cli import Cli
from helpers.errands import whereabouts
from helpers.grids import GRID, descendants, killing, specs, watching
from helpers.postgres import server
from PIL import Image

from suite import data as datasets
from suite.errors import UserError
from suite.executors.executor import Executor
from suite.executors.local import Local
from suite.experiments.by_workers import carry_out_by
from suite.experiments.experiment import carry_out
from suite.experiments.parts import Shards, split
from suite.pipeline import Machine, run
from suite.spec.run_spec import RunSpec
from suite.store.locks import hold, lock_of

KILLS = int(os.environ.get("SUITE_KILLS", "2"))  # of workers of Ray's; ten take a minute or two
SEED = int(os.environ.get("SUITE_KILLS_SEED", str(time.time_ns() % 10**6)))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """As workers have it; these are forked from a process that has imported what the digits need, too."""
    assert processes.FORKED
    forkserver.ensure_running()
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one process makes of the experiment."""
    runs = tmp_path_factory.mktemp("alone")
    assert len(list(carry_out(specs(), Machine(runs=runs, track=False)))) == 4
    return runs


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    with Local(workers=2) as local:
        yield local


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


# Ranges of images


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


# Ctrl-C, and a killed parent


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """The command line of the experiment, for the folder of the test."""
    lines = [f"{key} = {value!r}" for key, value in GRID.items() if key not in ("methods", "settings")]
    lines += [f"[settings]\n{toml(GRID['settings'])}"]
    lines += [f"[methods.{method}]\n{toml(own)}" for method, own in GRID["methods"].items()]
    (tmp_path / "e.toml").write_text("\n".join(lines))
    return [sys.executable, "-m", "suite", "experiment", "e.toml", "--no-track", "--workers", "2"]


def test_ctrl_c_and_a_kill_end_all_workers_and_lose_nothing(command: list[str], alone: Path, tmp_path: Path) -> None:
    seen = set[Path]()
    for what, code in ((signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)):
        for _ in range(5):
            found, said = end(
                command,
                tmp_path,
                what,
                lambda _, seen=frozenset(seen): bool(set(tmp_path.glob("runs/*/*.jsonl")) - seen),
            )
            if found == code:
                break
            shutil.rmtree(tmp_path / "runs")  # it had ended before, where this process had to wait for a core
            seen.clear()
        seen |= set(tmp_path.glob("runs/*/*.jsonl"))
        assert found == code
        assert "Traceback" not in said
        assert what is signal.SIGKILL or said.endswith("interrupted; the same command goes on from here\n")
    before = {file: file.read_bytes() for file in seen}
    assert len(list(carry_out(specs(), Machine(runs=tmp_path / "runs", track=False)))) == 4
    assert all(file.read_bytes().startswith(lines[: lines.rfind(b"\n") + 1]) for file, lines in before.items())
    assert contents(tmp_path / "runs") == contents(alone)
    assert not leftovers(tmp_path / "runs")


@pytest.mark.parametrize("seconds", [0.0, 1.5])
def test_ctrl_c_while_workers_begin_is_no_traceback(seconds: float, command: list[str], tmp_path: Path) -> None:
    """The terminal sends it to all processes of the command, so to the one that workers are forked from too."""
    begun = [0.0]

    def due(found: dict[int, str]) -> bool:
        begun[0] = begun[0] or ("forkserver" in str(found) and time.monotonic()) or 0.0
        return bool(begun[0]) and time.monotonic() > begun[0] + seconds

    code, said = end(command, tmp_path, signal.SIGINT, due, group=True)
    assert (code, said.splitlines()[-1]) == (130, "interrupted; the same command goes on from here")
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("moment", "what"),
    [
        ("gcs_server", signal.SIGINT),  # which Ray begins first
        ("raylet", signal.SIGTERM),
        ("ray::_there", signal.SIGINT),
        ("ray::_there", signal.SIGTERM),
        ("ray::_there", signal.SIGKILL),
    ],
)
def test_no_process_is_left_of_a_cluster_of_rays_that_the_command_began(
    moment: str, what: signal.Signals, command: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    words = [*command, "--executor", "ray", "--no-shared-files"]
    code, said = end(words, tmp_path, what, lambda found: moment in str(found), group=what is signal.SIGINT)
    assert code == (-9 if what is signal.SIGKILL else 130), said
    assert "Traceback" not in said
    assert what is signal.SIGKILL or said.splitlines()[-1] == "interrupted; the same command goes on from here"


def end(
    command: list[str], place: Path, what: signal.Signals, due: Callable[[dict[int, str]], bool], *, group: bool = False
) -> tuple[int, str]:
    """Signal a command, or all processes of its group, when what it has begun is `due`; its code and what it says.

    None of the processes that it began is left, but for agents of Ray's where nobody could end them: they end when they
    have looked for their node often enough, in two minutes or so.
    """
    with (place / "said").open("w") as said:
        process = subprocess.Popen(command, cwd=place, stderr=said, start_new_session=True)
    begun = dict[int, str]()
    while not due(found := descendants(process.pid)) and process.poll() is None:
        begun |= found
        time.sleep(0.02)
    (os.killpg if group else os.kill)(process.pid, what)
    until = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < until:
        begun |= descendants(process.pid)
        time.sleep(0.02)
    code = process.wait(1)
    until = time.monotonic() + 15
    while (left := alive(begun)) and time.monotonic() < until:
        time.sleep(0.05)
    if what is signal.SIGKILL:
        left = [line for line in left if not re.match("ray::(DashboardAgent|RuntimeEnvAgent)", line)]
    assert not left
    return code, (place / "said").read_text()


def alive(processes: dict[int, str]) -> list[str]:
    """Which of them there are, but for those that have ended and are not waited for."""
    found = []
    for process, line in processes.items():
        with suppress(OSError):
            if "State:\tZ" not in Path(f"/proc/{process}/status").read_text():
                found.append(line)
    return found


def toml(settings: dict[str, Any]) -> str:
    return "\n".join(f"{key!r} = {value!r}" for key, value in settings.items())


# A study


GRID_OF_THREE: Any = {
    "method": "baseline", "dataset": "digits", "sampler": "grid", "search": ["sigma=0.1,0.2,0.3"], "pruner": "none",
    "n": 60, "images": 5, "settings": {"epochs": 0.3, "batch_size": 64},
}  # fmt: skip


def values_of(study: Any) -> list[tuple[float, list[float]]]:
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    return sorted((trial.params["sigma"], trial.values) for trial in study.trials)


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, list[float]]]:
    """What one process finds."""
    pytest.importorskip("optuna")
    from suite.tuning.storage import Storage
    from suite.tuning.trials import tune

    machine = Machine(runs=tmp_path_factory.mktemp("study"), track=False)
    return values_of(tune(GRID_OF_THREE, "s", 3, Storage(f"sqlite:///{machine.runs}/studies.db"), machine))


def test_workers_share_the_trials_of_a_study(two: Local, values: Any, tmp_path: Path) -> None:
    """A grid of three: each value once, with what one process finds; a storage in a file needs shared files."""
    from suite.tuning.by_workers import tune_by

    machine, url = Machine(runs=tmp_path, track=False), f"sqlite:///{tmp_path}/studies.db"
    found = values_of(tune_by(two, GRID_OF_THREE, "s", 3, url, machine, shared=True))
    assert found == values
    assert [sigma for sigma, _ in found] == [0.1, 0.2, 0.3]
    with pytest.raises(UserError, match="a study needs a server"):
        tune_by(two, GRID_OF_THREE, "s", 3, url, machine, shared=False)


def test_a_study_takes_relative_paths_wherever_its_workers_are(
    two: Local, alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers have begun in another folder. Of the images, the weights, the storage and the runs each is asked for."""
    from suite.tuning.by_workers import tune_by

    list(two.submit(whereabouts, number).result() for number in range(4))
    weights = next(file for file in alone.glob("models/baseline*/model.safetensors"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    shutil.copy(weights, "w.safetensors")
    write_images("mine")
    given = GRID_OF_THREE | {
        "dataset": "./mine",
        "settings": GRID_OF_THREE["settings"] | {"arch": "cnn", "init": "w.safetensors"},
    }
    machine = Machine(runs=Path("runs"), data_root=Path("."), track=False)
    machine.runs.mkdir()
    study = tune_by(two, given, "s", 3, "sqlite:///runs/studies.db", machine, shared=True)
    assert [sigma for sigma, _ in values_of(study)] == [0.1, 0.2, 0.3]
    assert sorted(file.name for file in Path().iterdir()) == ["mine", "runs", "w.safetensors"]
    assert len(list(Path("runs/studies").glob("*/result.json"))) == 3


def write_images(place: str) -> None:
    """Some of the digits, as a folder of one's own."""
    digits = datasets.load("digits")
    for name, images in (("train", digits.train), ("test", digits.test)):
        for index in range(60):
            folder = Path(place, name, str(int(images.labels[index])))
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images.images[index, 0].numpy()).save(folder / f"{index}.png")


@pytest.mark.postgres
def test_workers_without_shared_files_share_a_study_on_a_server_behind_a_proxy(
    two: Local, values: Any, tmp_path: Path
) -> None:
    pytest.importorskip("grpc")
    from optuna.storages import get_storage, run_grpc_proxy_server

    from suite.tuning.by_workers import tune_by

    with server() as url, socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
        probe.close()
        storage = get_storage(url.replace("postgresql:", "postgresql+psycopg:"))
        threading.Thread(
            target=run_grpc_proxy_server, args=(storage,), kwargs={"port": port}, daemon=True
        ).start()  # fmt: skip
        machine = Machine(runs=tmp_path, track=False)
        study = tune_by(two, GRID_OF_THREE, "s", 3, f"{url}?proxy=localhost:{port}", machine, shared=False)
        assert values_of(study) == values
        assert not list(tmp_path.glob("studies/*/*.jsonl"))
