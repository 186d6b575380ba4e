"""MLflow: what a run looks like there, that nothing is doubled, and that its absence costs nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.cli import TINY

from suite import RunSpec, run
from suite.pipeline import Machine
from suite.store.mlflow import connect, sync, track

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    run(RunSpec(**TINY), Machine(runs=path, track=False))
    return path


def test_a_run_made_without_mlflow_is_synced_once_and_completely(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    assert sync(runs) == (0, 1)
    assert "'suite sync' does it later" in " ".join(capsys.readouterr().err.split())
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert sync(runs) == (1, 1)
    client = connect(runs)
    experiment = client.get_experiment_by_name("suite/digits")
    [logged] = client.search_runs([experiment.experiment_id])
    assert sync(runs) == (1, 1)
    [again] = client.search_runs([experiment.experiment_id])
    assert (again.info.run_id, again.info.end_time) == (logged.info.run_id, logged.info.end_time)  # left as it is

    [folder] = [file.parent for file in runs.glob("*/result.json")]
    result = json.loads((folder / "result.json").read_text())
    assert logged.info.status == "FINISHED"
    assert logged.data.tags["suite.run_id"] == folder.name
    assert logged.data.params["parameters.kappa"] == "10"
    assert logged.data.params["start.training.epochs"] == "2.0"
    assert logged.data.metrics["acr"] == result["acr"]
    for convention in ("certified_accuracy", "certified_accuracy_paper"):
        for radius, value in result[convention].items():
            assert logged.data.metrics[f"{convention}.{radius}"] == value
    stored = {file.path for file in client.list_artifacts(logged.info.run_id)}
    assert stored >= {"spec.json", "environment.json", "result.json", "model.safetensors", "certify.jsonl"}
    local = client.download_artifacts(logged.info.run_id, "certify.jsonl")
    assert Path(local).read_bytes() == (folder / "certify.jsonl").read_bytes()
    assert len(client.get_metric_history(logged.info.run_id, "training.loss")) == len(
        json.loads((folder / "training.json").read_text())
    )


def test_a_result_that_changed_replaces_the_old_one(runs: Path) -> None:
    [folder] = [file.parent for file in runs.glob("*/result.json")]
    content = (folder / "result.json").read_text()
    (folder / "result.json").write_text(content.replace('"acr"', '"abc": 1.5,\n  "acr"'))
    assert track(folder, runs)
    client = connect(runs)
    experiment = client.get_experiment_by_name("suite/digits")
    [logged] = client.search_runs([experiment.experiment_id])
    assert logged.data.metrics["abc"] == 1.5


def test_the_environment_variable_is_respected(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    assert sync(runs) == (1, 1)
    assert (tmp_path / "elsewhere.db").exists()
