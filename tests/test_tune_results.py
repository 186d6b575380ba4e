"""What comes out of a study: lists, the front, plots, MLflow, and the command that makes the winner's row."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
from helpers.cli import Cli, succeed
from helpers.known import records_file
from helpers.studying import COMMAND

from leaderboards.render.study_plots import plot_study
from suite.tuning.results import best_trials, open_studies, open_study, run_line, tabulate_trials


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a study of three trials for two objectives, logged to MLflow."""
    runs = tmp_path_factory.mktemp("tuned")
    wanted = ["--objective", "acr", "--objective", "clean_accuracy", "--search", "sigma=0.1:0.5 kappa=1:4"]
    command = [*COMMAND, *wanted, "--study", "front", "--trials", "3", "--runs", str(runs)]
    succeed(*command)
    return runs


@pytest.mark.slow
def test_a_study_is_listed_and_shown_with_its_front(suite: Cli, finished: Path) -> None:
    [listed] = json.loads(suite("studies", "--runs", str(finished), "--format", "json")[1])
    assert (listed["study"], listed["finished"], listed["objectives"]) == ("front", 3, "acr, clean_accuracy")
    shown = json.loads(suite("studies", "show", "front", "--runs", str(finished), "--format", "json")[1])
    points = {each["trial"]: (each["acr"], each["clean_accuracy"]) for each in shown["trials"]}
    front = {
        number
        for number, (a, c) in points.items()
        if not any(x >= a and y >= c and (x, y) != (a, c) for x, y in points.values())
    }
    assert {each["trial"] for each in shown["best_trials"]} == front
    assert set(shown["importances"]["acr"]) == {"sigma", "kappa"}
    assert sum(shown["importances"]["acr"].values()) == pytest.approx(1)
    code, out, _ = suite("studies", "show", "front", "--runs", str(finished))
    assert (code, out.count("front: trial")) == (0, len(front))


@pytest.mark.slow
def test_a_trials_value_is_what_its_records_say(finished: Path) -> None:
    study = open_study("front", f"sqlite:///{finished}/studies.db")
    frame = tabulate_trials(study)
    assert list(frame["state"]) == ["complete"] * 3
    for _, row in frame.iterrows():
        lines = records_file(finished / "studies" / row["run"], "certify").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        assert row["acr"] == pytest.approx(sum(each["radius"] * each["correct"] for each in records) / 30)
    drawn = plot_study(study)
    assert set(drawn) >= {"Pareto front", "History of acr", "Importances for acr", "Slices of clean_accuracy"}
    assert sorted(x for trace in drawn["Pareto front"].data for x in trace.x) == sorted(frame["acr"])


@pytest.mark.slow
def test_trials_are_nested_in_mlflow_and_both_ways_linked(finished: Path) -> None:
    pytest.importorskip("mlflow")
    from suite.store.mlflow import connect

    client = connect(finished)
    where = client.get_experiment_by_name("suite/digits/studies")
    logged = {each.info.run_id: each for each in client.search_runs([where.experiment_id])}
    study = open_study("front", f"sqlite:///{finished}/studies.db")
    parent = logged.pop(study.user_attrs["mlflow"])
    assert (parent.info.run_name, parent.info.status) == ("front", "FINISHED")
    assert len(logged) == 3
    for trial in study.trials:
        each = logged[trial.user_attrs["mlflow"]]
        assert each.info.status == "FINISHED"
        assert each.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (each.data.tags["suite.study"], each.data.tags["suite.trial"]) == (
            "front",
            str(trial.number),
        )
        assert each.data.metrics["acr"] == trial.values[0]
        assert each.data.params["sigma"] == str(trial.params["sigma"])


@pytest.mark.slow
def test_the_winners_command_makes_its_row_on_the_test_set(suite: Cli, finished: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    own = ["--runs", str(runs), "--no-track"]
    code, _, err = suite("tune", "--study", "front", "--trials", "3", "--then", "run", *own)
    assert code == 0, err
    study = open_study("front", f"sqlite:///{runs}/studies.db")
    rows = [json.loads(file.read_text()) for file in runs.glob("*/result.json")]
    assert len(rows) == len(best_trials(study))
    assert {row["single_pass_images"] for row in rows} == {500}
    line = shlex.split(run_line(study, best_trials(study)[0]))
    code, out, _ = suite(*line[1:], *own, "--format", "json")
    assert (code, len(list(runs.glob("*/result.json")))) == (0, len(rows))
    assert json.loads(out)["run_id"] in {row["run_id"] for row in rows}
    assert [each.study_name for each in open_studies(f"sqlite:///{runs}/studies.db")] == ["front"]
