"""A study by many workers: its trials are what one process finds, each made once."""

from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers.errands import whereabouts
from helpers.postgres import server
from PIL import Image

from suite import data as datasets
from suite.errors import UserError
from suite.executors.local import Local
from suite.pipeline import Machine

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


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
        "settings": GRID_OF_THREE["settings"] | {"arch": "cnn", "init": "w.safetensors", "batch_size": 16, "epochs": 1},
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
