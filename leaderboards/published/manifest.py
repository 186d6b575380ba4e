"""Many logs at once, from a catalogue: a table with a line for each log, which says where it is from and what it is of.

Columns: file (beside the catalogue), dataset, method, arch, sigma (none: margins), sha256 of the unpacked log; where
they are known variant, trained_sigma, seed, n0, n, alpha, top, repository, commit, path, licence, also, corruption,
citation; and figures as they were printed, which have to come out of the log: images, acr, and certified accuracy in
percent as r0.25. `papers.toml` beside it has the citation, arxiv and code of each method that has none in its line.
"""

from __future__ import annotations

import csv
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from leaderboards.published import PUBLISHED
from leaderboards.published.layout import text_of
from leaderboards.published.log import Log
from leaderboards.published.names import catalogued_name
from leaderboards.published.store import USUAL, Labels, Row, check, check_board, make_row, write_rows
from suite.boards.board import load_board
from suite.errors import UserError
from suite.progress import progress
from suite.ranges import Scale
from suite.ranges import check as check_range

NEEDED = ("file", "dataset", "method", "arch", "sha256")
NUMBERS: dict[str, Callable[[str], Any]] = {
    "sigma": float, "trained_sigma": float, "alpha": float, "seed": int, "n0": int, "n": int, "top": int,
}  # fmt: skip
TEXTS = ("method", "variant", "arch", "repository", "commit", "path", "licence", "also", "corruption")
SAME = 0.5  # of two logs' images have one label, or they number the images in different ways
LABELLED = 3  # logs that have an image: then most of them are right about its label


@dataclass(frozen=True)
class Listed:
    """One line of a catalogue."""

    place: str
    fields: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return (self.fields.get(name) or "").strip()

    @property
    def printed(self) -> Iterator[tuple[str, str]]:
        """Figures as they were printed: by "acr", "images" or a radius."""
        for name, text in self.fields.items():
            if text and (name in ("acr", "images") or re.fullmatch(r"r[0-9.]+", name)):
                yield name.removeprefix("r"), text.strip()


def import_manifest(
    manifest: Path,
    root: Path = PUBLISHED,
    *,
    replace: bool = False,
    few: bool = False,
    labels: Callable[[str], Labels | None] = lambda dataset: None,
) -> list[dict[str, Any]]:
    """Put the logs of a catalogue on their boards, all or none; `labels` gives those of a data set, if it is at hand.

    Gives for each log what `Row.about` says, its data set and how many printed figures came out. UserError as in
    `import_logs`, for a log of another SHA-256 or other figures than its line says, and for one whose labels are not
    those of most logs of the data set; it names the first such log, and says how many there are.
    """
    listed = read_manifest(manifest)
    papers = read_papers(manifest.with_name("papers.toml"))
    known: dict[str, Labels | None] = {}
    rows: list[Row] = []
    refused: list[str] = []
    with progress("logs", len(listed)) as advance:
        for line in listed:
            try:
                dataset = line["dataset"]
                check_board(dataset, root)
                if dataset not in known:
                    known[dataset] = labels(dataset)
                rows.append(read_listed(line, manifest, root, papers, few, known[dataset]))
            except UserError as error:
                refused.append(str(error))
            advance(f"{line['dataset']}: {line['method']}")
    refused += odd_labels(rows)
    twice = {row.file for row in rows if sum(other.file == row.file for other in rows) > 1}
    refused += [f"{manifest}: {file.stem} is there twice" for file in sorted(twice)]
    if refused:
        raise UserError(refused[0] + (f" (and {len(refused) - 1} more are refused)" if len(refused) > 1 else ""))
    done = write_rows(rows, replace)
    return [
        said | {"dataset": line["dataset"], "figures": len(list(line.printed))}
        for said, line in zip(done, listed, strict=True)
    ]


def read_manifest(manifest: Path) -> list[Listed]:
    """The lines of a catalogue, separated by tabs or commas. UserError where it is none."""
    try:
        text = text_of(manifest.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{manifest} cannot be read: {error}") from error
    header = text.partition("\n")[0]
    reader = csv.DictReader(text.splitlines(), delimiter="\t" if "\t" in header else ",", restkey="more")
    if missing := [name for name in NEEDED if name not in (reader.fieldnames or ())]:
        raise UserError(f"{manifest} is no catalogue of logs: it has no column {', '.join(missing)}")
    found = []
    for fields in reader:
        line = Listed(f"{manifest}, line {reader.line_num}", fields)
        if "more" in fields or None in fields.values():
            raise UserError(f"{line.place}: not as many fields as columns")
        if absent := [name for name in NEEDED if not line[name]]:
            raise UserError(f"{line.place}: no {', '.join(absent)}")
        found.append(line)
    if not found:
        raise UserError(f"{manifest} lists no logs")
    return found


def read_papers(file: Path) -> dict[str, dict[str, str]]:
    """What methods cite: citation, arxiv, code."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {error}") from error


def read_listed(
    line: Listed, manifest: Path, root: Path, papers: dict[str, dict[str, str]], few: bool, labels: Labels | None
) -> Row:
    """The row of a listed log. UserError for what does not hold."""
    settings = settings_of(line, papers)
    sigma, dataset = settings.get("sigma"), line["dataset"]
    name = catalogued_name(
        line["method"], line["arch"], sigma, settings.get("trained_sigma"), settings.get("seed"), line["sha256"]
    )
    path = manifest.parent / line["file"]
    row = make_row(root / dataset / f"{name}.toml", path, load_board(dataset, root), settings, few, labels)
    if row.log.sha256 != line["sha256"]:
        raise UserError(f"{path} is not the log in {line.place}: its SHA-256 is {row.log.sha256}")
    for what, printed in line.printed:
        check_printed(row, what, printed, line.place)
    return row


def settings_of(line: Listed, papers: dict[str, dict[str, str]]) -> dict[str, Any]:
    """The fields of an entry that a line gives. UserError where they cannot be."""
    settings: dict[str, Any] = {name: line[name] for name in TEXTS if line[name]}
    try:
        settings |= {name: kind(line[name]) for name, kind in NUMBERS.items() if line[name]}
    except ValueError as error:
        raise UserError(f"{line.place}: {error}") from error
    settings = {"top": 1, "kind": "vote" if line["sigma"] else "margin"} | settings
    settings = (USUAL if line["sigma"] else {}) | settings | cited(line, papers)
    try:
        check(settings)
        for number in ("sigma", "trained_sigma"):
            if number in settings:
                check_range(number, settings[number], Scale)
    except UserError as error:
        raise UserError(f"{line.place}: {error}") from error
    return settings | {"file": Path(line["path"] or line["file"]).name}


def cited(line: Listed, papers: dict[str, dict[str, str]]) -> dict[str, str]:
    """What the log cites: the paper in whose repository it lies and, if that is another, the method's."""
    if line["citation"]:
        return {"citation": line["citation"]}
    method = papers.get(line["method"])
    if method is None:
        raise UserError(f"{line.place}: papers.toml beside the catalogue has no citation of {line['method']}")
    own = next((paper for paper in papers.values() if paper.get("code") == line["repository"]), method)
    found = {"citation": own["citation"], "url": address(own)}
    other = {"method_citation": method["citation"], "method_url": address(method)} if own is not method else {}
    return {name: text for name, text in (found | other).items() if text}


def address(paper: Mapping[str, str]) -> str:
    return f"https://arxiv.org/abs/{paper['arxiv']}" if paper.get("arxiv") else ""


def check_printed(row: Row, what: str, printed: str, place: str) -> None:
    """Raise UserError unless a figure comes out of the log to the digits that are printed; shares are in percent."""
    entry = row.entry
    try:
        digits = -int(Decimal(printed).as_tuple().exponent)
        r = None if what in ("acr", "images") else float(what)
    except (InvalidOperation, ValueError, TypeError) as error:
        raise UserError(f"{place}: '{printed}' is not a figure") from error
    if r is None:
        found: float | None = getattr(entry, what)
    else:
        share = entry.share(r)
        found = None if share is None else 100 * share
    if found is not None and abs(found - float(printed)) > 0.5 * 10.0**-digits + 1e-9:
        name = what if r is None else f"certified accuracy at {what}"
        raise UserError(f"{place}: {name} is printed as {printed}, and {row.log.path} gives {found:.{digits + 2}f}")


def odd_labels(rows: Iterable[Row]) -> list[str]:
    """What is wrong with logs that differ, in few images, from the labels that most logs of their data set have."""
    by_data: dict[tuple[str, str], list[Log]] = {}
    for row in rows:
        by_data.setdefault((row.file.parent.name, row.entry.data), []).append(row.log)
    found = []
    for logs in by_data.values():
        most = common_labels(logs)
        for log in logs:
            idx, label = log.records["idx"].to_numpy(), log.records["label"].to_numpy()
            wrong = (most[idx] >= 0) & (most[idx] != label)
            if wrong.any() and wrong.mean() < SAME:
                first = int(wrong.argmax())
                found.append(
                    f"{log.at(first)}: label {label[first]} of image {idx[first]}, which has the label "
                    f"{most[idx[first]]} in most of the {len(logs)} logs of this data set"
                )
    return found


def common_labels(logs: list[Log]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """By index the label that most of the logs have, −1 where fewer than LABELLED have the image."""
    idx = np.concatenate([log.records["idx"].to_numpy() for log in logs])
    label = np.concatenate([log.records["label"].to_numpy() for log in logs])
    pairs, often = np.unique(np.stack([idx, label], axis=1), axis=0, return_counts=True)
    most = np.full(int(idx.max()) + 1, -1, np.int64)
    order = np.argsort(often, kind="stable")
    most[pairs[order, 0]] = pairs[order, 1]
    most[np.bincount(idx, minlength=len(most)) < LABELLED] = -1
    return most
