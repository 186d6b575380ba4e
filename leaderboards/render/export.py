"""A board as JSON, CSV, Markdown and LaTeX. A name may be anybody's text: it is escaped as each format has it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.board import count_names, rows, table
from leaderboards.comparable import title
from leaderboards.published import PUBLISHED
from leaderboards.render.cells import blocks, remarks
from leaderboards.render.schema import VERSION
from leaderboards.rows import COMPARABLE, Row
from suite.boards.board import Roots, load_board
from suite.protocols.protocol import columns
from suite.statistics.bounds import Convention

TEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "–": "--", "±": r"$\pm$", "≤": r"$\le$", "≥": r"$\ge$", "²": r"$^2$", "σ": r"$\sigma$",
    "α": r"$\alpha$", "η": r"$\eta$", "ℓ": r"$\ell$", "₀": r"$_0$",
}  # fmt: skip


FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the beginning of one


def document(
    dataset: str,
    runs: Path,
    published: Roots | None = PUBLISHED,
    *,
    convention: Convention = "standard",
    sort: str | None = None,
    methods: Iterable[str] = (),
    sigmas: Iterable[float] = (),
) -> dict[str, Any]:
    """The board in the form of `schema`: rows in the order of the table. Margins stand beside votes at every σ."""
    board = load_board(dataset, published)
    methods, sigmas = set(methods), set(sigmas)
    frame = table(dataset, runs, convention, published, sort=sort)
    titles = dict(zip(frame.get("run_id", ()), ranks(frame), strict=True))
    found = [
        row_json(row, titles.get(row.run_id, []))
        for row in rows(dataset, runs, convention, published, sort=sort)
        if (not methods or row.method in methods) and (not sigmas or row.sigma is None or row.sigma in sigmas)
    ]
    about = {name: value for name, value in asdict(board).items() if name not in ("classes", "images")}
    about |= {"convention": convention, "comparable": list(COMPARABLE)}
    return {"schema": VERSION, "board": {"dataset": dataset, **about}, "rows": found}


def ranks(frame: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """For each line of a table its rank in each table of the board that it stands in, and the ranks it may have."""
    if frame.empty:
        return []
    votes = frame[frame["kind"] == "vote"]
    titles = {
        next(iter(places)): title(row) for places, (_, row) in zip(votes["places"], votes.iterrows(), strict=True)
    }
    return [
        [
            {"table": titles.get(number, title(row)), "rank": place.rank, "best": place.best, "worst": place.worst}
            for number, place in row["places"].items()
            if place.best is not None
        ]
        for _, row in frame.iterrows()
    ]


def row_json(row: Row, places: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row as JSON values, with its `ranks`; a count as an object with its total."""
    values: dict[str, Any] = {}
    intervals: dict[str, Any] = {}
    spread: dict[str, Any] = {}
    for key, column in columns().items():
        if column.by_radius:
            curve = row.curves[key]
            values[key] = {r: estimate.value for r, estimate in curve.items()}
            intervals[key] = {r: estimate.interval for r, estimate in curve.items()}
            spread[key] = {r: estimate.spread for r, estimate in curve.items()}
        elif column.of:
            names = [name.rpartition(".")[2] for name in count_names(column)]
            found, of = row.metrics[key].value, row.metrics[key].of
            values[key] = None if found is None or of is None else dict(zip(names, (int(found), int(of)), strict=True))
        else:
            own = row.metrics[key]
            values[key], intervals[key], spread[key] = own.value, own.interval, own.spread
    named = {"group": title(row), "ranks": list(places), **row.shared()}
    return named | values | {"intervals": intervals, "spread": spread}


def to_json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)


def to_csv(frame: pd.DataFrame) -> str:
    """The table, with columns COLUMN_low, COLUMN_high (95 %) and COLUMN_spread (over seeds) where they are known."""
    flat = frame.drop(columns=["places", "intervals", "spread"]).assign(
        **{name: frame[name].map(lambda values: " ".join(map(str, values))) for name in ("seeds", "runs")}
    )
    uncertain: dict[str, list[float | None]] = {}
    for number, (bounds, deviations) in enumerate(zip(frame["intervals"], frame["spread"], strict=True)):
        own = {
            f"{name}_{end}": pair[i] for name, pair in bounds.items() if pair for i, end in enumerate(("low", "high"))
        }
        own |= {f"{name}_spread": deviation for name, deviation in deviations.items() if deviation is not None}
        for name, value in own.items():
            uncertain.setdefault(name, [None] * len(frame))[number] = value
    whole = pd.concat([flat, pd.DataFrame(uncertain, index=frame.index)], axis=1)
    return whole.map(defused).to_csv(index=False)


def defused(value: Any) -> Any:
    """A cell of a CSV; a text that a spreadsheet would compute is marked as text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def to_markdown(frame: pd.DataFrame, paper_convention: bool, *, wide: bool = False, sort: str = "") -> str:
    """A table for each group, then what columns and certificates say (GitHub's Markdown)."""
    headings: set[str] = set()
    parts = []
    for group in blocks(frame, wide=wide, sort=sort):
        headings |= set(group.headings)
        rule = ["---"] * group.names + ["---:"] * (len(group.headings) - group.names)
        lines = [group.headings, rule, *([text for text, _ in cells] for cells in group.lines)]
        rows = [
            "| " + " | ".join(line if lines[1] is cells else markdown(line) for line in cells) + " |" for cells in lines
        ]
        parts.append("\n".join([f"### {markdown(group.title)}", "", *rows]))
    parts += [f"- {markdown(line)}" for line in remarks(frame, headings, paper_convention)]
    return "\n\n".join(parts) + "\n"


def markdown(text: str) -> str:
    """Text that stays text: no table cell ends, no markup begins, no tag opens, no link forms by itself."""
    plain = re.sub(r"\s+", " ", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return (
        re.sub(r"([\\`*_{}\[\]#|~$!])", r"\\\1", plain)
        .replace("://", "&#58;//")
        .replace("www.", "www&#46;")
        .replace("@", "&#64;")
    )


def to_latex(frame: pd.DataFrame, paper_convention: bool, *, wide: bool = False, sort: str = "") -> str:
    """A tabular for each group, then remarks: needs booktabs, and XeLaTeX or LuaLaTeX for names beyond Latin."""
    headings: set[str] = set()
    parts = ["% \\usepackage{booktabs}"]
    for group in blocks(frame, wide=wide, sort=sort):
        headings |= set(group.headings)
        form = "l" * group.names + "r" * (len(group.headings) - group.names)
        head, *rows = (" & ".join(map(latex, line)) + r" \\" for line in (
            group.headings, *([text for text, _ in cells] for cells in group.lines)
        ))  # fmt: skip
        tabular = [
            rf"\begin{{tabular}}{{{form}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
        ]
        parts.append("\n".join([rf"\paragraph{{{latex(group.title)}}}", r"\noindent", *tabular]))
    parts += [rf"\noindent {latex(line)}" for line in remarks(frame, headings, paper_convention)]
    return "\n\n".join(parts) + "\n"


def latex(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in re.sub(r"\s+", " ", text))
