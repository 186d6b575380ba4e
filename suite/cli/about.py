"""Commands about the suite itself: what it has, its figures, its log."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.options import RUNS, DataRoot, Format, Output, Runs, out, show_list


def methods(format: Output = Format.table) -> None:
    """List the methods and their settings."""
    from methods import METHODS

    found = [
        {
            "name": name,
            "summary": kind.summary,
            "settings": {k: f.default for k, f in kind.Parameters.model_fields.items()},
        }
        for name, kind in ((name, METHODS.get(name)) for name in METHODS.paths())
    ]
    show_list(found, format)


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
    from suite.illustrate import illustrate as draw

    files = [str(file) for file in draw(out_folder)]
    if format is Format.json:
        print(json.dumps(files))
    else:
        for file in files:
            out.print(file, highlight=False, soft_wrap=True)


def sync(runs: Runs = RUNS, format: Output = Format.table) -> None:
    """Send finished runs to MLflow that were made without it, or while it was down."""
    from suite.store.mlflow import sync as send
    from suite.store.mlflow import tracking_uri

    there, finished = send(runs)
    if format is Format.json:
        print(json.dumps({"logged": there, "finished": finished, "tracking_uri": tracking_uri(runs)}))
    else:
        out.print(f"{there} of {finished} finished runs are in MLflow at {tracking_uri(runs)}", highlight=False)
    if there < finished:
        raise typer.Exit(1)
