"""The JSON schema of an exported board: `schema.json` for what a row is, and the protocols' columns for its metrics."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from suite.protocols.protocol import Column, columns

CERTIFIED = ("clean_accuracy", "certified_accuracy", "certified_accuracy_paper", "acr", "abstained")


def schema() -> dict[str, Any]:
    """What `suite leaderboard DATASET --format json` writes, with the columns of the protocols that are installed."""
    found: dict[str, Any] = json.loads((files("leaderboards.render") / "schema.json").read_text(encoding="utf-8"))
    row = found["$defs"]["row"]
    intervals, spread = row["properties"]["intervals"], row["properties"]["spread"]
    intervals |= {"required": [], "properties": {}}
    spread |= {"required": [], "properties": {}}
    for key, (_, column) in columns().items():
        row["properties"][key] = metric(column)
        row["required"].append(key)
        if column.interval or key in CERTIFIED:
            intervals["properties"][key] = by_radius("interval") if column.by_radius else {"$ref": "#/$defs/interval"}
            intervals["required"].append(key)
        if not column.of:
            spread["properties"][key] = {"$ref": f"#/$defs/{'spread_by_radius' if column.by_radius else 'deviation'}"}
            spread["required"].append(key)
    return found


def metric(column: Column) -> dict[str, Any]:
    """The schema of a column's value in a row."""
    if column.by_radius:
        return {"description": f"by radius: {column.help}", "$ref": "#/$defs/by_radius"}
    if column.of:
        names = [path.rpartition(".")[2] for path in (column.of, column.path)]
        counts = {name: {"type": "integer", "minimum": 0} for name in names}
        pair = {"type": "object", "additionalProperties": False, "required": names, "properties": counts}
        return {"description": column.help, "oneOf": [{"type": "null"}, pair]}
    limits: dict[str, Any] = {"minimum": 0, "maximum": 1} if column.unit == "share" else {}
    return {"description": column.help, "type": ["number", "null"], **limits}


def by_radius(kind: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": {"$ref": f"#/$defs/{kind}"}}
