"""MLflow: what a run looks like there, that nothing is doubled, and that its absence costs nothing."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers.cli import TINY
from helpers.known import records_file

from suite import RunSpec, run
from suite.pipeline import Machine
from suite.spec.names import flatten
from suite.store.mlflow import connect, log, sync
from suite.store.mlflow.content import make_metrics

mlflow = pytest.importorskip("mlflow")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs")
    run(RunSpec(**TINY), Machine(runs=path, track=False))
    return path


@pytest.mark.slow
def test_a_run_made_without_mlflow_is_synced_once_and_completely(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # nobody listens there
    assert sync(runs) == (0, 1)
    [said] = capsys.readouterr().err.splitlines()
    assert said.startswith("1 of 1 runs not sent: MLflow at http://127.0.0.1:9 does not answer (")
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
    assert stored >= {
        "spec.json",
        "environment.json",
        "result.json",
        records_file(folder, "certify").name,
    }
    local = client.download_artifacts(logged.info.run_id, records_file(folder, "certify").name)
    assert Path(local).read_bytes() == records_file(folder, "certify").read_bytes()
    [model] = client.search_logged_models([experiment.experiment_id])
    weights = Path(model.artifact_location.removeprefix("file://")) / "data" / "model.safetensors"
    assert weights.samefile(folder / "model.safetensors")  # stored once
    assert len(client.get_metric_history(logged.info.run_id, "training.loss")) == len(
        json.loads((folder / "training.json").read_text())
    )


def test_a_result_that_changed_replaces_the_old_one(runs: Path) -> None:
    [folder] = [file.parent for file in runs.glob("*/result.json")]
    content = (folder / "result.json").read_text()
    (folder / "result.json").write_text(content.replace('"acr"', '"abc": 1.5,\n  "acr"'))
    assert sync(runs) == (1, 1)
    client = connect(runs)
    experiment = client.get_experiment_by_name("suite/digits")
    [logged] = client.search_runs([experiment.experiment_id])
    assert logged.data.metrics["abc"] == 1.5
    assert (logged.data.tags["suite.kind"], logged.data.tags["suite.deployed"]) == ("vote", "pass")


@pytest.mark.slow
def test_a_run_with_4000_losses_takes_few_calls_and_arrives_whole(runs: Path, tmp_path: Path) -> None:
    """MLflow takes at most 1,000 metrics or 100 parameters in a call."""
    [finished] = [file.parent for file in runs.glob("*/result.json")]
    folder = tmp_path / "long"
    shutil.copytree(finished, folder)
    losses = [{"epoch": step / 20, "loss": 1 / (1 + step)} for step in range(4_000)]
    (folder / "training.json").write_text(json.dumps(losses))
    client = connect(tmp_path)
    calls: Counter[str] = Counter()

    class Counting:
        def __getattr__(self, name: str) -> Any:
            calls[name] += 1
            return getattr(client, name)

    run_id = log(folder, Counting(), tmp_path)  # type: ignore[arg-type]
    logged = client.get_run(run_id)
    assert calls["log_batch"] == 5 + math.ceil(len(logged.data.params) / 100)
    assert calls["log_metric"] == calls["log_param"] == 0
    history = client.get_metric_history(run_id, "training.loss")
    assert sorted((each.step, each.value) for each in history) == [(50 * n, 1 / (1 + n)) for n in range(4_000)]
    result = json.loads((folder / "result.json").read_text())
    assert logged.data.metrics["acr"] == result["acr"]
    assert logged.data.params["training.epochs"] == "0.2"


def test_a_tree_is_flattened_to_dotted_names() -> None:
    tree = {"a": 1, "b": {"c": [1, 2], "d": {}, "e": {"f": None, "0.25": 0.5}}, "g": True, "h": "text"}
    assert flatten(tree) == {"a": 1, "b.c": [1, 2], "b.e.f": None, "b.e.0.25": 0.5, "g": True, "h": "text"}
    assert [(each.key, each.value) for each in make_metrics(flatten(tree))] == [
        ("a", 1.0),
        ("g", 1.0),
        ("b.e.0.25", 0.5),
    ]


@pytest.mark.slow
def test_the_environment_variable_is_respected(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/elsewhere.db")
    assert sync(runs) == (1, 1)
    assert (tmp_path / "elsewhere.db").exists()
