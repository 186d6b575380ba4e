"""Commands about the suite itself: what it has, its figures, its log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from suite.cli.options import RUNS, DataRoot, Format, Output, Runs, out, show_list
from suite.errors import UserError, require
from suite.registry import Registry

if TYPE_CHECKING:
    from suite.protocols.protocol import Protocol

T = TypeVar("T")


def methods(format: Output = Format.table) -> None:
    """List the methods: what each deploys, and its settings."""
    from methods import METHODS, Method

    def describe(name: str, kind: type[Method[Any]]) -> dict[str, Any]:
        settings = {name: field.default for name, field in kind.Parameters.model_fields.items()}
        return {"name": name, "summary": kind.summary, "deployed": kind.deployed, "settings": settings}

    show_list(list_registry(METHODS, describe, format), format)


def protocols(format: Output = Format.table) -> None:
    """List the protocols: what each measures of a run's model."""
    from suite.spec.sections import PROTOCOLS

    def describe(name: str, protocol: Protocol) -> dict[str, Any]:
        return {"name": name, "summary": PROTOCOLS.summary(name), "needs": ", ".join(protocol.needs)}

    show_list(list_registry(PROTOCOLS, describe, format), format)


def architectures(format: Output = Format.table) -> None:
    """List the architectures: their default width, and whether a network has a Lipschitz bound, for margins."""
    from suite.networks.architecture import Architecture
    from suite.networks.architectures import ARCHITECTURES

    def describe(name: str, found: Architecture) -> dict[str, Any]:
        own = {"width": found.width, "lipschitz": found.lipschitz}
        return {"name": name, "summary": ARCHITECTURES.summary(name)} | own

    show_list(list_registry(ARCHITECTURES, describe, format), format)


def list_registry(
    registry: Registry[T], describe: Callable[[str, T], dict[str, Any]], format: Format
) -> list[dict[str, Any]]:
    """An entry for each name of a registry; what another package registers and fails to load has its error instead."""
    found = []
    for name in registry.paths():
        try:
            found.append(describe(name, registry.get(name)))
        except UserError as error:
            found.append({"name": name, "error" if format is Format.json else "summary": str(error)})
    return found


def datasets(data_root: DataRoot = None, format: Output = Format.table) -> None:
    """List the data sets, and where they are looked for."""
    from suite.data import DATASETS

    root = data_root or Path(os.environ.get("SUITE_DATA") or "data")
    found = [{"name": name, "loader": path} for name, path in DATASETS.paths().items()]
    show_list(found, format)
    if format is Format.table:
        out.print(f"looked for under {root}; a folder of your own goes by its path", highlight=False, soft_wrap=True)


def illustrate(
    out_folder: Annotated[Path, typer.Option("--out", help="where the figures go")] = Path("figures"),
    format: Output = Format.table,
) -> None:
    """Draw the paper's Figures 4 and 5: one-dimensional heat steps beside the exact Gaussian average."""
    require("suite illustrate", "app", "plotly")
    from suite.illustrate import illustrate as draw

    files = [str(file) for file in draw(out_folder)]
    if format is Format.json:
        print(json.dumps(files))
    else:
        for file in files:
            out.print(file, highlight=False, soft_wrap=True)


def sync(runs: Runs = RUNS, format: Output = Format.table) -> None:
    """Send to MLflow what it lacks of finished runs and studies: made without it, or while it was down."""
    if not find_spec("mlflow"):  # to import it takes seconds, and a server may not answer
        require("suite sync", "track", "mlflow")
    from suite.store.mlflow.place import shown, tracking_uri
    from suite.store.mlflow.resend import sync as send

    there, finished = send(runs)
    whole = there == finished
    if whole and (runs / "studies.db").exists() and find_spec("optuna"):
        from suite.tuning.mlflow import sync_studies

        whole = sync_studies(runs)
    place = shown(tracking_uri(runs))
    if format is Format.json:
        print(json.dumps({"logged": there, "finished": finished, "tracking_uri": place}))
    else:
        line = f"{there} of {finished} finished runs are in MLflow at {place}"
        out.print(line, highlight=False, markup=False, soft_wrap=True)
    if not whole:
        raise typer.Exit(1)
