"""Commands about the suite itself: what it has, its figures, its log."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from suite.cli.options import PLAIN, RUNS, DataRoot, Format, Output, Runs, out, show_list
from suite.cli.options import methods as method_names
from suite.errors import UserError, require
from suite.registry import Registry

if TYPE_CHECKING:
    from pydantic import BaseModel

    from suite.protocols.protocol import Protocol

T = TypeVar("T")


def methods(
    name: Annotated[str | None, typer.Argument(help="all of this one", autocompletion=method_names)] = None,
    format: Output = Format.table,
) -> None:
    """List the methods, or describe one in full: its settings with their ranges, its recipes, what it starts from."""
    from methods import METHODS, Method
    from suite.spec.names import flatten

    def describe(name: str, kind: type[Method[Any]]) -> dict[str, Any]:
        settings = {name: field.default for name, field in kind.Parameters.model_fields.items()}
        return {"name": name, "summary": kind.summary, "deployed": kind.deployed, "settings": settings}

    if name is None:
        show_list(list_registry(METHODS, describe, format), format)
        return
    found = METHODS.get(name)
    facts: dict[str, Any] = {
        "deployed": found.deployed, "starts from": found.starts_from, "uses labels": found.uses_labels,
        "trains with noise": found.uses_sigma, "tunable": found.tunable,
    }  # fmt: skip
    facts |= {f"recipe {profile}": flatten(recipe) for profile, recipe in found.recipes.items()}
    show_one(name, found.summary, inspect.getdoc(found) or "", facts, found.Parameters, format)


def protocols(
    name: Annotated[str | None, typer.Argument(help="all of this one")] = None, format: Output = Format.table
) -> None:
    """List the protocols, or describe one in full: its settings with their ranges, and what a row has of it."""
    from suite.spec.sections import PROTOCOLS

    def describe(name: str, protocol: Protocol) -> dict[str, Any]:
        return {"name": name, "summary": PROTOCOLS.summary(name), "needs": ", ".join(protocol.needs)}

    if name is None:
        show_list(list_registry(PROTOCOLS, describe, format), format)
        return
    found = PROTOCOLS.get(name)
    facts = {"needs": ", ".join(found.needs) or None, "columns": {c.title: c.help for c in found.columns}}
    show_one(name, PROTOCOLS.summary(name), "", facts, found.settings, format)


def show_one(
    name: str, summary: str, text: str, facts: dict[str, Any], settings: type[BaseModel] | None, format: Format
) -> None:
    """All that is to be said of a method or a protocol."""
    entries = describe_settings(settings) if settings else []
    if format is Format.json:
        print(json.dumps({"name": name, "summary": summary, "text": text, **facts, "settings": entries}))
        return
    from leaderboards.render.terminal import plain_table, plain_text

    out.print(f"{name}: {summary}", **PLAIN)
    if text:
        out.print(f"\n{text}\n", **PLAIN)
    for fact, value in facts.items():
        if isinstance(value, dict) and fact == "columns":
            out.print("columns of a row:", **PLAIN)
            for title, help in value.items():
                out.print(f"  {title}: {help}", **PLAIN)
        else:
            out.print(f"{fact}: {plain_text(value)}", **PLAIN)
    if entries:
        out.print(plain_table(entries))


def describe_settings(settings: type[BaseModel]) -> list[dict[str, Any]]:
    """Each setting: its default, what it may be, and what it is."""
    schema = settings.model_json_schema()
    return [
        {
            "setting": name,
            "default": field.get("default"),
            "values": values_of(field),
            "what it is": field.get("description", ""),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def values_of(field: dict[str, Any]) -> str:
    """The range of a setting, from its JSON schema: choices, or a kind of number and its ends."""
    if "anyOf" in field:
        return " or ".join(values_of(each) for each in field["anyOf"])
    if "enum" in field:
        return ", ".join(map(str, field["enum"]))
    if "items" in field:
        return f"several: {values_of(field['items'])}"
    if "$ref" in field:
        return "a model's settings"
    bounds = [f"{sign} {field[end]:,}" for end, sign in BOUNDS.items() if end in field]
    kinds = {"integer": "whole number", "boolean": "true or false", "string": "text", "null": "none"}
    return ", ".join([kinds.get(field.get("type", ""), field.get("type", "")), *bounds])


BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


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
        out.print(f"looked for under {root}; a folder of your own goes by its path", **PLAIN)


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
            out.print(file, **PLAIN)


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
        out.print(line, **PLAIN)
    if not whole:
        raise typer.Exit(1)
