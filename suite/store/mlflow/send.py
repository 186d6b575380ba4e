"""A run in MLflow: found again by its tags and updated in place, so that it is there once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.errors import unless_interrupted
from suite.store.files import read_json
from suite.store.mlflow.content import Content, loss_points, make_metric, own_tags, read_content
from suite.store.mlflow.model import log_model
from suite.store.mlflow.place import locked, open_experiment
from suite.store.result import upgrade

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

FILES = ("spec.json", "environment.json", "result.json", "training.json")
METRICS, PARAMS, TAGS = 1_000, 100, 100  # as many as MLflow takes in one call
LONGEST_TAG, LONGEST_PARAM = 5_000, 6_000  # characters
Parent = Callable[["MlflowClient"], str]


@dataclass(frozen=True)
class Entry:
    """Where a run stands in MLflow: its experiment and name there, the tags `key` that find it again, and what it has
    besides its folder's content. `formerly` are names that earlier versions gave it; `parent` gives the id of the run
    that it is nested in."""

    experiment: str
    name: str
    key: Mapping[str, str]
    formerly: tuple[str, ...] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: Parent | None = None
    model: bool = True  # whether its weights are kept
    source: str = ""  # where its images came from


def run_entry(folder: Path, dataset: str, source: str = "") -> Entry:
    """The place of an ordinary run."""
    environment = read_json(folder / "environment.json") if (folder / "environment.json").exists() else {}
    formerly = tuple(filter(None, (environment.get("formerly"),)))
    return Entry(f"suite/{dataset}", folder.name, {"suite.run_id": folder.name}, formerly, source=source)


def log(folder: Path, client: MlflowClient, runs: Path) -> str:
    """Bring MLflow's run of a finished run up to date; returns its id there.

    One that is there, finished and with the same result, is left as it is.
    """
    raw = (folder / "result.json").read_bytes()
    entry = run_entry(folder, upgrade(json.loads(raw))["dataset"])
    with locked(runs, entry.name):
        where = open_experiment(client, entry.experiment, runs)
        there = find(client, where, entry)
        if there and is_settled(there, hashlib.sha256(raw).hexdigest()):
            return str(there.info.run_id)
        return complete(client, entry, there, folder, runs)


def complete(client: MlflowClient, entry: Entry, there: Run | None, folder: Path, runs: Path) -> str:
    """Send all that MLflow lacks of a finished run, and only then call it finished. The caller holds its lock."""
    content = read_content(folder)
    run = take_up(client, entry, there, content, runs)
    run_id, told = run.info.run_id, dict(run.data.metrics)
    model = log_model(client, run, folder, content) if entry.model else None
    fresh = [
        make_metric(name, value, model=model) for name, value in content.metrics.items() if told.get(name) != value
    ]
    log_metrics(client, run_id, [*fresh, *missing_losses(client, run_id, folder, content)])
    send_files(client, run, folder, with_model=entry.model and model is None)
    client.set_tag(run_id, "suite.result", content.stamp)
    client.set_terminated(run_id, "FINISHED")
    return str(run_id)


def is_settled(run: Run, stamp: str) -> bool:
    """Whether MLflow has all of a finished run."""
    return bool(stamp) and run.info.status == "FINISHED" and run.data.tags.get("suite.result") == stamp


def find(client: MlflowClient, where: str, entry: Entry) -> Run | None:
    """MLflow's run of an entry; of several, which only a server that lost an answer can have, the first is kept."""
    keys = [entry.key, *({"suite.run_id": name} for name in entry.formerly)]
    found: list[Run] = []
    for key in keys:
        quoted = {name: f'"{value}"' if "'" in value else f"'{value}'" for name, value in key.items()}
        wanted = " AND ".join(f"tags.`{name}` = {value}" for name, value in quoted.items())
        found += client.search_runs([where], wanted)
    found.sort(key=lambda run: (run.info.status != "FINISHED", run.info.start_time))
    for other in found[1:]:
        remove(client, other)
    return client.get_run(found[0].info.run_id) if found else None  # a search leaves out the models


def remove(client: MlflowClient, run: Run) -> None:
    """Delete a run in MLflow, and its files where the store can."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client.delete_run(run.info.run_id)
    try:
        files: Any = get_artifact_repository(run.info.artifact_uri, tracking_uri=client.tracking_uri)
        files.delete_artifacts()
    except Exception as error:  # not every store of files can delete
        unless_interrupted(error)


def take_up(client: MlflowClient, entry: Entry, there: Run | None, content: Content, runs: Path) -> Run:
    """The run to log to, running: the one that is there, or a new one; with params, tags and data set as they are now.

    MLflow never changes a param. Where one is another now, the run is made anew and keeps the user's tags.
    """
    params = {**content.params, **entry.params}
    tags = {**content.tags, **entry.key, **entry.tags}
    if there and any(there.data.params.get(name, text) != text[:LONGEST_PARAM] for name, text in params.items()):
        users = {k: v for k, v in there.data.tags.items() if not k.startswith(("mlflow.", "suite."))}
        users |= {k: v for k, v in there.data.tags.items() if k == "mlflow.note.content"}
        remove(client, there)
        there, tags = None, users | tags
    if there is None:
        where = open_experiment(client, entry.experiment, runs)
        nested = {"mlflow.parentRunId": entry.parent(client)} if entry.parent else {}
        there = client.create_run(where, run_name=entry.name, tags=shortened({**own_tags(), **nested, **tags}))
    elif there.info.status != "RUNNING":
        client.update_run(there.info.run_id, status="RUNNING")
    set_tags(client, there, tags)  # of a new run they are there
    log_params(client, there.info.run_id, {k: v for k, v in params.items() if k not in there.data.params})
    if content.spec.get("data") and not (there.inputs and there.inputs.dataset_inputs):
        client.log_inputs(there.info.run_id, [data_input(content, entry.source)])
    return there


def data_input(content: Content, source: str) -> Any:
    """The images that a run is trained and measured on, as MLflow lists them: by name and fingerprint.

    `source` is where they came from, as far as it is known: a folder, or a name.
    """
    import numpy as np
    from mlflow.data.schema import TensorDatasetSchema
    from mlflow.entities import Dataset, DatasetInput, InputTag
    from mlflow.types import Schema, TensorSpec

    name, about = Path(str(content.spec["dataset"])).name, content.data
    schema = None
    if about:
        features = TensorSpec(np.dtype("float32"), (-1, *about["shape"]), "pixels")
        labels = TensorSpec(np.dtype("int64"), (-1,), "label")
        schema = json.dumps(TensorDatasetSchema(Schema([features]), Schema([labels])).to_dict())
    local, title = Path(source).exists() and bool(source), source or about.get("title", name)
    found = {"uri": source} if local else {"tags": {"mlflow.source.name": title, "mlflow.source.type": "LOCAL"}}
    data = Dataset(
        name,
        digest=str(content.spec["data"])[:36],
        source_type="local" if local else "code",
        source=json.dumps(found),
        schema=schema,
        profile=json.dumps(about),
    )
    return DatasetInput(data, [InputTag("mlflow.data.context", "training")])


def missing_losses(client: MlflowClient, run_id: str, folder: Path, content: Content) -> list[Metric]:
    """The training's history, and that of the models it began with, but for the points that MLflow has."""
    places = [folder, *(folder.parent / "models" / name for name in content.starts)]
    found: list[Metric] = []
    for generation, place in enumerate(places):
        if not (place / "training.json").exists() or not (history := read_json(place / "training.json")):
            continue
        prefix = "start." * generation
        have = {each.step for each in client.get_metric_history(run_id, f"{prefix}training.loss")}
        points = [point for entry in history for point in loss_points(entry, prefix)]
        found += [make_metric(*point) for point in points if point[2] not in have]
    return found


def send_files(client: MlflowClient, run: Run, folder: Path, *, with_model: bool) -> None:
    """The files of a run, but for those that MLflow has as they are, by the digests in a tag."""
    files = [folder / name for name in (*FILES, *(["model.safetensors"] if with_model else []))]
    files = [file for file in (*files, *sorted(folder.glob("*.jsonl"))) if file.exists()]
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in files}
    have: dict[str, str] = {}
    with suppress(ValueError):
        have = json.loads(run.data.tags.get("suite.files", "{}"))
    for file in files:
        if have.get(file.name) != digests[file.name]:
            client.log_artifact(run.info.run_id, str(file))
    client.set_tag(run.info.run_id, "suite.files", json.dumps(digests))


def set_tags(client: MlflowClient, run: Run, tags: Mapping[str, str]) -> None:
    """Set the tags that are not there as they should be, as many in one call as MLflow takes."""
    from mlflow.entities import RunTag

    fresh = [RunTag(name, text) for name, text in shortened(tags).items() if run.data.tags.get(name) != text]
    for first in range(0, len(fresh), TAGS):
        client.log_batch(run.info.run_id, tags=fresh[first : first + TAGS])


def shortened(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as long as MLflow takes them."""
    return {name: text[:LONGEST_TAG] for name, text in tags.items()}


def log_params(client: MlflowClient, run_id: str, params: Mapping[str, object]) -> None:
    """Log settings, as many in one call as MLflow takes."""
    from mlflow.entities import Param

    entries = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in params.items()]
    for first in range(0, len(entries), PARAMS):
        client.log_batch(run_id, params=entries[first : first + PARAMS])


def log_metrics(client: MlflowClient, run_id: str, metrics: Sequence[Metric]) -> None:
    """Log numbers, as many in one call as MLflow takes."""
    for first in range(0, len(metrics), METRICS):
        client.log_batch(run_id, metrics=metrics[first : first + METRICS])
