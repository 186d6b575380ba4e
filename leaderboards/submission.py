"""A row that somebody hands in: a finished run's folder as boards keep it, made and checked before it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboards.cache import read_result
from leaderboards.published.kept import KEPT, keep
from suite.boards.board import boards, load_board
from suite.errors import UserError
from suite.leftovers import temporary
from suite.statistics.intervals import FEWEST
from suite.store.inventory import state_of
from suite.store.read import read_run
from suite.store.result import Result
from suite.store.verify import Earlier, Labels, verify

SHOWN = 3  # faults of a run that are named


@dataclass(frozen=True)
class Submission:
    """A run that is a row, where it goes, what was checked of it, what was not, and what a reader will ask about."""

    place: Path
    result: Result
    checked: list[str]
    not_checked: list[str]
    warnings: list[str]


def check_run(folder: Path, root: Path, labels: Labels | None = None) -> Submission:
    """Make the row of a finished run aside, as `keep` makes it, and check it; `root` is where published rows are.

    Raises UserError for a run that has not finished, has no certificates, is of an earlier version, is damaged or
    changed (`verify`), has no board, or is there already.
    """
    if state_of(folder) == "at work":
        raise UserError(f"a process is at work on {folder.name}: wait until it has finished")
    place = root / KEPT / folder.name
    if place.exists():
        raise UserError(f"{place} is there already; a row is handed in once")
    with temporary() as scratch:
        made, _ = keep(folder, scratch)
        result = read_result(made / "result.json")
        assert isinstance(result, Result)  # keep has read it
        if result.dataset not in boards(root):
            raise UserError(
                f"there is no board for {result.dataset}: add {root / result.dataset}.toml with its title and radii"
            )
        try:
            faults = list(verify(made, labels))
        except Earlier as error:
            raise UserError(f"{error}; run its command again with this version: {result.command}") from error
    if faults:
        more = f", and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise UserError(f"{folder.name} is not what it says: {'; '.join(faults[:SHOWN])}{more}")
    warnings = list_warnings(folder, result, root)
    return Submission(place, result, list_checks(result, labels), list_gaps(result, labels), warnings)


def list_checks(result: Result, labels: Labels | None) -> list[str]:
    """What `verify` has found to be right, a line each."""
    votes = result.kind == "vote"
    which = f"{result.images} of the test set, every {result.every}th" if (result.every or 1) > 1 else ""
    which = which or f"the first {result.images} of the test set"
    found = [
        "settings: the folder's name is their digest, and the name of each file of records is that of its own",
        f"images: {which}, each once and none left out",
        f"radii: each follows from its votes, n = {result.n}, α = {result.alpha:g} and σ = {result.sigma:g}"
        if votes
        else "radii: none is below 0",
        f"records of {', '.join(result.protocols)}: each answer fits its class and label",
        "row: each metric is what the records give, and all else is what the settings say",
    ]
    return found + ([f"labels: as in {labels.source}"] if labels else [])


def list_gaps(result: Result, labels: Labels | None) -> list[str]:
    """What cannot be checked without the network or the data, a line each."""
    network = "the votes themselves" if result.kind == "vote" else "the margins, and the network's Lipschitz bound"
    gaps = [f"{network}: for that the network has to be trained again, by the row's command"]
    return gaps + ([] if labels else ["labels: neither the data set nor another row on the same data is here"])


def list_warnings(folder: Path, result: Result, root: Path) -> list[str]:
    """What is no fault, and what whoever reads the submission will ask about."""
    environment: dict[str, Any] = read_run(folder).environment or {}
    commit, title = str(environment.get("git_commit") or ""), load_board(result.dataset, root).title
    found = []
    if commit.endswith("-dirty"):
        found.append("the code had changes that no commit has: say what they were, or run it again from a clean one")
    if (result.images or 0) < FEWEST:
        found.append(f"{result.images} images are few: a row needs {FEWEST} for its intervals to say something")
    if result.data != title:
        found.append(f"its images are {result.data}, not {title}: it stands in tables of its own")
    if result.holds is False:
        found.append(
            "its certificates are of a vote, and it deploys a single pass: the board says that they do not hold of it"
        )
    if "audit" not in result.protocols:
        found.append(f"nobody has attacked its certificates: suite audit {folder.name} does")
    return found
