"""The JSON Schema of a board's JSON, made from the columns of the protocols and from the fields of a result."""

from __future__ import annotations

from typing import Any

from leaderboards.board import count_names
from leaderboards.estimates import CURVES
from leaderboards.rows import SHARED
from suite.protocols.protocol import Column, columns
from suite.store.result import Result

# 5 had no `trained_sigma` and `convention`; 4 no `ranks` and `p_a`; 3 no `reported` radii; 2 no `kind` and `holds`, and
# a sigma in every row; 1 `inference` where 2 has `deployed`
VERSION = 6
TEXT = {"type": "string"}
NUMBER = {"type": ["number", "null"]}
RANK = {"type": "integer", "minimum": 1}
DEVIATION = {"type": ["number", "null"], "minimum": 0}
INTERVAL = {"oneOf": [{"type": "null"}, {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}]}
DESCRIPTIONS = {
    "data": "the variant of the data set that the images came from",
    "variant": "what sets a row apart from others of its method",
    "kind": "what is certified: vote, the vote under noise, with probability 1 - alpha per image; margin, the single "
    "pass of a Lipschitz network, which cannot fail by chance",
    "deployed": "what the row's user runs: a single pass, or a vote of n0 passes",
    "holds": "whether the certificates are of what the row deploys: a vote's radius is not guaranteed of a single pass",
    "sigma": "noise of the certificate, pixels in [0,1]; null for a margin, which has none",
    "trained_sigma": "noise in training, pixels in [0,1]; null where there was none, or where it is not known",
    "top": "a draw counts if its class is among the top this many",
    "images": "how many test images are certified",
    "every": "step between their indices in the test set",
    "n0": "selection draws; 0: the class of a single pass",
    "n": "estimation draws; with adaptive sampling the most",
    "alpha": "failure probability of each certificate; 0 for a margin",
    "decided": "the radii at which adaptive sampling decided whether images are certified; null: any radius",
    "read": "where the numbers come from: records, or a paper's table or plot",
    "claim": "what the certificate guarantees, and of which classifier",
    "run_id": "the first run's, or a published row's name",
}


def schema() -> dict[str, Any]:
    """The schema of `suite leaderboard DATASET --format json`, with the columns of all installed protocols."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A board of certified l2 robustness",
        "description": "suite leaderboard DATASET --format json. Shares are in [0,1]; radii, distances and sigma in "
        "pixels of [0,1]; what is not known is null.",
        **closed({
            "schema": {"const": VERSION},
            "board": board_schema(),
            "rows": {
                "description": "in the order of the table: best first among those of one group",
                "type": "array",
                "items": row_schema(columns()),
            },
        }),
    }  # fmt: skip


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with just these properties, all of them required."""
    return {
        "type": "object", "additionalProperties": False, "required": list(properties), "properties": properties,
    }  # fmt: skip


def board_schema() -> dict[str, Any]:
    radius = {"type": "number", "exclusiveMinimum": 0}
    return closed({
        "dataset": TEXT,
        "title": TEXT,
        "norm": {"const": "l2"},
        "radii": {"description": "at which rows are compared", "type": "array", "items": radius},
        "reported": {"description": "more radii, at which papers report", "type": "array", "items": radius},
        "top": {"description": "the board's usual rule", "type": "integer"},
        "sigma": {"description": "the board's usual noise", **NUMBER},
        "sort": {"description": "what rows are sorted by", **TEXT},
        "convention": {
            "description": "of the certified accuracies that rows are ordered and ranked by", "enum": list(CURVES),
        },
        "comparable": {
            "description": "votes that differ in one of these do not compare; a margin, which has no noise, compares "
            "with all votes that it shares read, data, top, images and every with",
            "type": "array", "items": TEXT,
        },
    })  # fmt: skip


def row_schema(known: dict[str, Column]) -> dict[str, Any]:
    fields = Result.model_json_schema()["properties"] | {"holds": {"type": ["boolean", "null"]}}
    measured = {key: column for key, column in known.items() if not column.of}
    return closed({
        "group": {"description": "what the row shares with all rows whose certificates have the same terms", **TEXT},
        "ranks": {
            "description": "in each table of the board that the row stands in, and the best and the worst that it may "
            "have there, at 95 % for all rows of the table at once",
            "type": "array",
            "items": closed({"table": TEXT} | dict.fromkeys(("rank", "best", "worst"), RANK)),
        },
        **{name: field_schema(name, fields[name]) for name in SHARED},
        "seeds": {
            "description": "of the runs that the row is the mean over", "type": "array", "items": {"type": "integer"},
        },
        "runs": {
            "description": "the runs that the row is the mean over", "type": "array", "items": TEXT, "minItems": 1,
        },
        "date": TEXT,
        "command": {"description": "the shell line that makes the row again; empty where there is none", **TEXT},
        "device": {"description": "where the seconds were measured", **TEXT},
        **{key: {"description": column.help, **value_schema(column)} for key, column in known.items()},
        "intervals": {
            "description": "95 % intervals [low, high] for a finite test set, for these seeds, by metric",
            **closed({key: by_radius(INTERVAL) if c.by_radius else INTERVAL for key, c in measured.items()}),
        },
        "spread": {
            "description": "sample standard deviation over the seeds, by metric; null for fewer than two",
            **closed({key: by_radius(DEVIATION) if c.by_radius else DEVIATION for key, c in measured.items()}),
        },
    })  # fmt: skip


def field_schema(name: str, field: dict[str, Any]) -> dict[str, Any]:
    """A field of a result, as pydantic describes it."""
    kept = {key: value for key, value in field.items() if key not in ("title", "default", "description")}
    return {"description": DESCRIPTIONS[name], **kept} if name in DESCRIPTIONS else kept


def value_schema(column: Column) -> dict[str, Any]:
    """A column's value: a number, numbers by radius, or a count with its total."""
    if column.of:
        whole = {"type": "integer", "minimum": 0}
        names = [name.rpartition(".")[2] for name in count_names(column)]
        return {"oneOf": [{"type": "null"}, closed(dict.fromkeys(names, whole))]}
    value = NUMBER | ({"minimum": 0, "maximum": 1} if column.unit == "share" else {})
    return by_radius(value) if column.by_radius else value


def by_radius(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "propertyNames": {"pattern": "^[0-9.e-]+$"}, "additionalProperties": value}
