"""A study in MLflow: its trials nested, pruned ones with what they had, the best in the parent; nothing twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.studying import GIVEN
from optuna.trial import TrialState

from suite.store.files import write_json
from suite.store.mlflow import connect
from suite.tuning.definition import begin, definition_of
from suite.tuning.mlflow import StudyLog, sync_studies
from suite.tuning.storage import Storage, default_url

pytest.importorskip("mlflow")


@pytest.mark.slow
def test_trials_keep_their_values_and_the_parent_has_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trials: completed, pruned after two looks, and one whose process dies."""
    monkeypatch.chdir(tmp_path)
    runs = Path("runs")
    runs.mkdir()
    storage = Storage(default_url(runs))
    study = begin(GIVEN, "s", storage)
    definition, log = definition_of(study), StudyLog(runs, study, storage, on=True)
    ended = []
    for number, (state, values) in enumerate([(TrialState.COMPLETE, [0.5]), (TrialState.PRUNED, None)]):
        trial = study.ask(definition.build_space())
        spec = definition.trial_spec(trial.params)
        folder = runs / "studies" / spec.name
        folder.mkdir(parents=True)
        write_json(folder / "spec.json", spec.to_json())
        if state == TrialState.COMPLETE:
            write_json(folder / "result.json", {"schema": 4, "dataset": "digits", "method": "heat", "acr": 0.25})
        live = log.trial(number, trial.params, spec, folder)
        assert live
        live.start()
        live.report(spec.model, {"step": 4, "epoch": 0.1, "loss": 2.5, "lr": 0.01})
        for step, value in ((25, 0.2), (50, 0.3)) if state == TrialState.PRUNED else ():
            trial.report(value, step)
        log.end_trial(live, trial, state, values)
        study.tell(trial, values, state=state)
        ended.append(trial)
    lost = study.ask(definition.build_space())
    study.tell(lost, state=TrialState.FAIL)
    assert sync_studies(runs)

    client = connect(runs)
    where = client.get_experiment_by_name("suite/digits/studies").experiment_id
    found = {each.data.tags.get("suite.trial", "study"): each for each in client.search_runs([where])}
    parent, completed, pruned, failed = (found.pop(name) for name in ("study", "0", "1", "2"))
    assert not found
    assert study.user_attrs["mlflow"] == parent.info.run_id
    assert study.trials[1].user_attrs["mlflow"] == pruned.info.run_id
    statuses = [each.info.status for each in (parent, completed, pruned, failed)]
    assert statuses == ["FINISHED", "FINISHED", "KILLED", "FAILED"]
    for each in (completed, pruned, failed):
        assert each.data.tags["mlflow.parentRunId"] == parent.info.run_id
    for each in (completed, pruned):
        assert each.data.metrics["training.loss"] == 2.5
        assert each.data.params["parameters.kappa"] == each.data.params["kappa"]
        names = ("method", "dataset", "arch", "profile")
        assert [each.data.tags[f"suite.{name}"] for name in names] == ["heat", "digits", "cnn", "demo"]
    assert (completed.data.metrics["certified_accuracy"], completed.data.metrics["acr"]) == (0.5, 0.25)
    looks = client.get_metric_history(pruned.info.run_id, "intermediate.certified_accuracy")
    assert sorted((each.step, each.value) for each in looks) == [(25, 0.2), (50, 0.3)]
    assert [each.data.tags["suite.state"] for each in (completed, pruned, failed)] == ["complete", "pruned", "fail"]

    assert parent.data.tags["suite.storage"] == f"sqlite:///{tmp_path}/runs/studies.db"
    assert parent.data.metrics["certified_accuracy"] == 0.5
    assert parent.data.tags["suite.best.trials"] == "0"
    assert parent.data.tags["suite.best.sigma"] == str(ended[0].params["sigma"])
    assert parent.data.tags["suite.best.command"].startswith("suite run --method heat --dataset digits")
    assert [file.path for file in client.list_artifacts(parent.info.run_id)] == ["trials.csv"]

    assert sync_studies(runs)
    assert len(client.search_runs([where])) == 4
    assert len(client.get_metric_history(parent.info.run_id, "certified_accuracy")) == 1
