"""A run's network as a logged model of MLflow: its weights once, its signature, and no pickled code.

`mlflow.pyfunc.load_model("models:/ID")` gives a model whose `predict` takes pixels in [0,1], float32 (N, C, H, W), and
gives logits, float32 (N, K); its `get_raw_model()` is the network, as `suite` builds it from `network.json`.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from suite.leftovers import temporary

if TYPE_CHECKING:
    import numpy as np
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run
    from torch import nn

    from suite.store.mlflow.content import Content

NAME, WEIGHTS = "model", "model.safetensors"


def log_model(client: MlflowClient, run: Run, folder: Path, content: Content) -> str | None:
    """The id of the run's logged model, uploaded unless MLflow has it: runs that share a model share it there, too.

    None for a run without weights, and for one of an earlier version, which does not know the shape of its images.
    """
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    linked: list[Any] = [*run.inputs.model_inputs] if run.inputs else []
    linked += [*run.outputs.model_outputs] if run.outputs else []
    if linked:
        return str(linked[0].model_id)
    if not content.data or not content.model or not (folder / WEIGHTS).exists():
        return None
    where, run_id = run.info.experiment_id, run.info.run_id
    known = list(client.search_logged_models([where], f"tags.`suite.model` = '{content.model}'"))
    ready = [model for model in known if model.status == "READY"]
    if ready:
        client.log_inputs(run_id, models=[LoggedModelInput(ready[0].model_id)])
        return str(ready[0].model_id)
    begun = [model for model in known if model.source_run_id == run_id]
    tags = {"suite.model": content.model}
    model = begun[0] if begun else client.create_logged_model(where, NAME, run_id, tags, model_type="classifier")
    upload(client, model, run_id, folder / WEIGHTS, content)
    client.finalize_logged_model(model.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return str(model.model_id)


def upload(client: MlflowClient, model: LoggedModel, run_id: str, weights: Path, content: Content) -> None:
    """Put the files of a logged model in their place; on this machine's disk the weights are linked, not copied."""
    with temporary() as place:
        description = describe(model.model_id, run_id, weights, content)
        (place / "MLmodel").write_text(json.dumps(description, indent=2) + "\n")  # YAML takes JSON
        (place / "data").mkdir()
        network = {"arch": content.spec["arch"], "classes": content.data["classes"], "shape": content.data["shape"]}
        (place / "data" / "network.json").write_text(json.dumps(network) + "\n")
        client.log_model_artifacts(model.model_id, str(place))
    location = urlsplit(model.artifact_location)
    target = Path(unquote(location.path)) / "data" / WEIGHTS
    if location.scheme in ("", "file") and target.parent.is_dir() and not target.exists():
        try:
            os.link(weights, target)
            return
        except OSError:  # another file system, or one without links
            pass
    client.log_model_artifact(model.model_id, str(weights), "data")


def describe(model_id: str, run_id: str, weights: Path, content: Content) -> dict[str, Any]:
    """The content of MLmodel: how it is loaded, by this module, and its signature."""
    import numpy as np
    from mlflow.models import Model
    from mlflow.models.signature import ModelSignature
    from mlflow.types import Schema, TensorSpec

    pixels = TensorSpec(np.dtype("float32"), (-1, *content.data["shape"]), "pixels")
    logits = TensorSpec(np.dtype("float32"), (-1, content.data["classes"]), "logits")
    model = Model(
        run_id=run_id,
        model_id=model_id,
        artifact_path=NAME,
        model_size_bytes=weights.stat().st_size,
        signature=ModelSignature(Schema([pixels]), Schema([logits])),
        metadata={"suite.model": content.model, "suite.arch": content.spec["arch"]},
    )
    model.add_flavor("python_function", loader_module=__name__, data="data", python_version=platform.python_version())
    found: dict[str, Any] = model.to_dict()
    return found


class Classifier:
    """A network as MLflow calls it."""

    def __init__(self, network: nn.Module):
        self.network = network

    def predict(self, pixels: np.ndarray | dict[str, np.ndarray]) -> np.ndarray:
        """The logits of images, for a single pass without noise: float32 (N, K)."""
        import torch

        images = pixels["pixels"] if isinstance(pixels, dict) else pixels
        with torch.inference_mode():
            logits: np.ndarray = self.network(torch.as_tensor(images, dtype=torch.float32)).numpy()
        return logits

    def get_raw_model(self) -> nn.Module:
        return self.network


def _load_pyfunc(path: str) -> Classifier:
    """What MLflow calls, under this name, to load a logged model from its folder `data`."""
    from suite.networks.architectures import build
    from suite.networks.weights import load_into

    about = json.loads((Path(path) / "network.json").read_text())
    channels = about["shape"][0]
    network = build(about["arch"], about["classes"], tuple(about["shape"]), (0.0,) * channels, (1.0,) * channels)
    load_into(network, Path(path) / WEIGHTS)  # with the constants of the normalising layer
    return Classifier(network.eval())
