"""A run in MLflow while it trains, after a kill, and as a logged model; what is a param there and what a metric."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from helpers.cli import TINY

from suite import data as datasets
from suite.errors import UserError
from suite.networks.architectures import build
from suite.networks.weights import load_into
from suite.pipeline import Machine, run
from suite.spec.run_spec import RunSpec
from suite.store.mlflow import connect, log, sync
from suite.store.mlflow import live as live_module
from suite.store.mlflow.content import metrics_of, params_of
from suite.store.mlflow.live import Background, LiveRun, Patience, tracked
from suite.store.mlflow.send import run_entry
from suite.training import train

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

mlflow = pytest.importorskip("mlflow")
CONSTANTS = {"schema", "sigma", "trained_sigma", "seed", "top", "every", "images", "n0", "n", "alpha"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of one run, and an empty database of MLflow."""
    path = tmp_path_factory.mktemp("runs")
    run(RunSpec(**TINY), Machine(runs=path, track=False))
    connect(path)
    return path


@pytest.fixture
def runs(finished: Path, tmp_path: Path) -> Path:
    """A copy of that store."""
    return Path(shutil.copytree(finished, tmp_path / "runs"))


def folder_of(runs: Path) -> Path:
    [file] = runs.glob("*/spec.json")
    return file.parent


def logged(runs: Path, client: MlflowClient | None = None) -> list[Run]:
    client = client or connect(runs)
    experiment = client.get_experiment_by_name("suite/digits")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def wait_for(reached: Callable[[], Any]) -> Any:
    end = time.monotonic() + 60
    while not (found := reached()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def point(step: int) -> dict[str, float]:
    return {"step": step, "epoch": step / 10, "loss": 1 / (1 + step), "lr": 0.1}


def begun(runs: Path, spec: RunSpec) -> LiveRun:
    """The log of a run that has only begun, in a process of its own as far as MLflow can see."""
    folder = folder_of(runs)
    return LiveRun(folder, runs, run_entry(folder, "digits"), spec)


@pytest.mark.slow
def test_a_run_is_there_from_its_beginning_and_is_taken_up_again(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "EVERY", 0.05)
    folder, client = folder_of(runs), connect(runs)
    result = (folder / "result.json").read_bytes()
    for file in (folder / "result.json", folder / "model.safetensors"):
        file.unlink()
    spec = RunSpec(**TINY).on("da465d82aff501a0")
    assert spec.start
    first = begun(runs, spec)
    first.start()
    first.report(spec.start, point(3))
    first.report(spec.model, point(1))

    def losses() -> list[tuple[int, float]]:
        [there] = logged(runs, client) or [None]
        history = client.get_metric_history(there.info.run_id, "training.loss") if there else []
        return sorted((each.step, each.value) for each in history)

    wait_for(lambda: losses() == [(1, 1 / 2)])
    [there] = logged(runs, client)
    assert (there.info.status, there.data.params["parameters.kappa"]) == ("RUNNING", "10")
    assert there.data.metrics["start.training.loss"] == 1 / 4
    assert there.data.tags["suite.command"].startswith("suite run --method heat --dataset digits")
    assert {"mlflow.user", "mlflow.source.name", "suite.method", "suite.arch", "suite.profile"} <= set(there.data.tags)
    [images] = there.inputs.dataset_inputs
    assert (images.dataset.name, images.dataset.digest) == ("digits", "da465d82aff501a0")
    first.report(spec.model, point(2))
    wait_for(lambda: len(losses()) == 2)

    second = begun(runs, spec)  # the first is as good as killed: nobody ends it
    for step in (1, 2, 3):
        second.report(spec.model, point(step))
    assert second.close("FAILED", error="out of memory")
    [failed] = logged(runs, client)
    assert (failed.info.run_id, failed.info.status) == (there.info.run_id, "FAILED")
    assert failed.data.tags["suite.error"] == "out of memory"
    assert losses() == [(1, 1 / 2), (2, 1 / 3), (3, 1 / 4)]

    (folder / "result.json").write_bytes(result)
    third = begun(runs, spec)
    assert third.close("FINISHED")
    [ended] = logged(runs, client)
    assert (ended.info.run_id, ended.info.status) == (there.info.run_id, "FINISHED")
    assert ended.data.metrics["acr"] == json.loads(result)["acr"]


@pytest.mark.slow
def test_an_exception_ends_the_log_and_an_interrupt_leaves_it(runs: Path) -> None:
    folder, data = folder_of(runs), datasets.load("digits")
    (folder / "result.json").unlink()
    spec = RunSpec(**TINY).on(data.fingerprint)
    for error, status in ((KeyboardInterrupt(), []), (UserError("too large"), ["FAILED"])):
        with pytest.raises(type(error)), tracked(folder, runs, data, spec, on=True):
            raise error
        assert [each.info.status for each in logged(runs)] == status


@pytest.mark.parametrize("limit", ["of the run", "of the process"])
def test_a_server_that_hangs_delays_a_run_by_two_seconds_in_all(
    limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers the first question and hangs then, or hangs at once."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setattr(live_module, "_for_answers", Patience())
    hang = lambda *_, **__: time.sleep(30)  # noqa: E731
    monkeypatch.setattr(live_module, "reach", hang if limit == "of the process" else lambda runs: None)
    monkeypatch.setattr(live_module, "connect", lambda runs: None)
    hanging = type("Hanging", (Background,), {"step": hang})
    delays = []
    for _ in range(3):
        background = hanging(tmp_path)
        background.start()
        begun = time.monotonic()
        assert not background.end()
        delays.append(time.monotonic() - begun)
    assert 1.9 < delays[0] < 2.5
    assert sum(delays) < (2.5 if limit == "of the process" else 7.5)


@pytest.mark.slow
def test_a_run_is_updated_in_place_and_three_at_once_do_not_double_it(runs: Path) -> None:
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(sync, [runs] * 3)) == [(1, 1)] * 3
    client, folder = connect(runs), folder_of(runs)
    [there] = logged(runs, client)
    client.set_tag(there.info.run_id, "mine", "a note")
    files = {file: file.stat().st_ino for file in (runs / "mlartifacts").rglob("*") if file.is_file()}
    content = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(content | {"acr": 0.5}))
    log(folder, client, runs)
    [again] = logged(runs, client)
    assert (again.info.run_id, again.data.metrics["acr"]) == (there.info.run_id, 0.5)
    assert again.data.tags["mine"] == "a note"
    assert {file for file in (runs / "mlartifacts").rglob("*") if file.is_file()} == set(files)
    assert len(client.get_metric_history(there.info.run_id, "clean_accuracy")) == 1

    spec = json.loads((folder / "spec.json").read_text())
    spec["certify"]["images"] = 29  # MLflow does not change a param
    (folder / "spec.json").write_text(json.dumps(spec))
    (folder / "result.json").write_text(json.dumps(content))
    log(folder, client, runs)
    [anew] = logged(runs, client)
    assert anew.info.run_id != there.info.run_id
    assert (anew.data.params["certify.images"], anew.data.tags["mine"]) == ("29", "a note")
    assert len([file for file in (runs / "mlartifacts").rglob("*") if file.is_file()]) == len(files)
    assert not set(anew.data.metrics) & CONSTANTS


@pytest.mark.slow
def test_the_model_is_logged_once_with_its_signature_and_loads(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(runs)
    client = connect(runs)
    log(folder, client, runs)
    log(Path(shutil.copytree(folder, runs / "twin")), client, runs)  # another run of the same model
    found = sorted(logged(runs, client), key=lambda each: each.info.start_time)
    first, second = (client.get_run(each.info.run_id) for each in found)
    [output], [model_input] = first.outputs.model_outputs, second.inputs.model_inputs
    assert output.model_id == model_input.model_id
    weights = list((runs / "mlartifacts").rglob("model.safetensors"))
    assert len(weights) == 1
    assert weights[0].samefile(folder / "model.safetensors")

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs}/mlflow.db")
    loaded = mlflow.pyfunc.load_model(f"models:/{output.model_id}")
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 1, 8, 8)
    assert loaded.metadata.signature.outputs.inputs[0].shape == (-1, 10)
    data = datasets.load("digits")
    images = data.test[torch.arange(5)].float() / 255
    network = build("cnn", 10, data.shape, data.mean, data.std).eval()
    load_into(network, folder / "model.safetensors")
    assert torch.equal(torch.from_numpy(loaded.predict(images.numpy())), network(images).detach())
    assert isinstance(loaded.get_raw_model(), torch.nn.Module)


def test_settings_are_params_and_measurements_metrics() -> None:
    result = {
        "schema": 4, "sigma": 0.25, "seed": 0, "top": 1, "every": 1, "images": 30, "n0": 100, "n": 100, "alpha": 0.001,
        "single_pass_images": 500, "acr": 0.2, "certified_accuracy": {"0.1": 0.5}, "method": "heat",
        "attack": {"steps": 20, "images": 50, "pgd": {"median": 0.6, "found": 35}},
        "lbound": {"images": 100, "averaging": {"draws": 200, "distance": 0.26}, "soft": {"mean": None}},
        "timing": {"batch": 128, "threads": 1, "pass": {"1": 0.004}}, "draws": 88.5,
    }  # fmt: skip
    assert metrics_of(result) == {
        "acr": 0.2,
        "certified_accuracy.0.1": 0.5,
        "attack.pgd.median": 0.6,
        "attack.pgd.found": 35.0,
        "lbound.averaging.distance": 0.26,
        "timing.pass.1": 0.004,
        "draws": 88.5,
    }
    spec = RunSpec(**TINY, protocols="accuracy,certify").to_json()
    named = {name.partition(".")[0] for name in params_of(spec, ["timing"])}
    assert {"certify", "timing", "parameters", "training", "start", "sigma", "seed"} <= named
    assert not named & {"schema", "protocols", "attack", "audit", "lbound"}


def test_training_reports_the_points_of_its_history(tmp_path: Path) -> None:
    data = datasets.load("digits")
    spec = RunSpec(method="baseline", dataset="digits", profile="demo", epochs=0.5).model
    model = build(spec.arch, len(data.classes), data.shape, data.mean, data.std)
    method = spec.build_method()
    method.begin(model, None)
    told: list[tuple[str, dict[str, float]]] = []
    history = train(
        model, method, data, spec,
        checkpoint=tmp_path / "training.pt", device=torch.device("cpu"),
        report=lambda of, entry: told.append((of.name, entry)),
    )  # fmt: skip
    assert told == [(spec.name, entry) for entry in history]
    assert [entry["step"] for entry in history] == list(range(1, 11))
    assert [entry["epoch"] for entry in history] == [step / 20 for step in range(1, 11)]
