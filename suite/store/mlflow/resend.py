"""A store's finished runs sent to MLflow after the fact. What that needs is imported once MLflow has answered."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from suite.progress import logger
from suite.store.mlflow.place import connect, explain, reach


def sync(runs: Path) -> tuple[int, int]:
    """Send every finished run under `runs` to MLflow: (how many are there now, how many finished runs there are).

    Each reason why runs are not sent is said once, and a server that does not answer is asked once for all runs.
    """
    folders, there, reasons = [file.parent for file in sorted(runs.glob("[!.]*/result.json"))], 0, dict[str, int]()
    if not folders:
        return 0, 0
    try:
        client = connect(runs)
        from suite.store.mlflow.send import log

        for folder in folders:
            try:
                log(folder, client, runs)
                there += 1
            except Exception as error:  # whatever the store's client raises
                reason = explain(error, runs)
                reasons[reason] = reasons.get(reason, 0) + 1
                reach(runs, again=True)
    except Exception as error:
        reasons = {explain(error, runs): len(folders) - there}
    for reason, runs_lost in reasons.items():
        logger.warning(f"{runs_lost} of {len(folders)} runs not sent: {reason}")
    return there, len(folders)


def missing(runs: Path) -> list[str]:
    """The finished runs that MLflow does not have as they are now; nothing is sent."""
    client = connect(runs)
    from suite.store.mlflow.send import run_entry

    lacking = []
    for file in sorted(runs.glob("[!.]*/result.json")):
        raw = file.read_bytes()
        experiment = client.get_experiment_by_name(run_entry(file.parent, json.loads(raw)["dataset"]).experiment)
        stamp = f"tags.`suite.result` = '{hashlib.sha256(raw).hexdigest()}'"
        if not experiment or not client.search_runs([experiment.experiment_id], stamp, max_results=1):
            lacking.append(file.parent.name)
    return lacking
