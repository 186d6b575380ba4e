"""Somebody's certification logs, checked, and their figures put on a board."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike
from pydantic import ValidationError

from leaderboards.published import PUBLISHED
from leaderboards.published.entry import OF_A_VOTE, Entry
from leaderboards.published.fetch import keep_log
from leaderboards.published.figures import Figures
from leaderboards.published.layout import unpacked
from leaderboards.published.log import WEAK, Log, check_labels, check_level, evidence, read_log
from leaderboards.published.names import row_names, said_of
from suite.boards.board import Board, boards, load_board
from suite.errors import UserError, unknown
from suite.leftovers import sweep
from suite.ranges import Draws, Name, Scale, one_line
from suite.ranges import check as check_range
from suite.statistics.bounds import smallest_n
from suite.statistics.intervals import FEWEST
from suite.store.files import write_atomically

USUAL = {"n0": 100, "n": 100_000, "alpha": 0.001}  # of votes
SEVERITY = 10_000  # images of each severity in a set of corruptions, one severity after the other
Labels = tuple[ArrayLike, str]  # of the test set's images (N,), and where they are from


@dataclass(frozen=True)
class Row:
    """What is to be written for one log."""

    file: Path
    entry: Entry
    log: Log

    def there(self) -> bool:
        """Whether the row is there as it would be written."""
        return self.file.is_file() and self.file.read_bytes() == self.entry.to_toml().encode()

    def write(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.file, self.entry.to_toml().encode())

    def about(self, new: bool) -> dict[str, Any]:
        """What is said of it: `chance` is log10 of that with which arbitrary radii would have been taken."""
        entry = self.entry
        said = {"row": self.file.stem, "file": str(self.file), "images": entry.images, "note": entry.note}
        return said | {"new": new, "chance": entry.chance, "acr": entry.acr}


def import_logs(
    paths: Iterable[Path],
    dataset: str,
    root: Path = PUBLISHED,
    *,
    replace: bool = False,
    few: bool = False,
    labels: Labels | None = None,
    row: str | None = None,
    **given: Any,
) -> list[dict[str, Any]]:
    """Put certification logs on a board, all or none.

    `given` are the fields of `Entry` that a log does not say itself: method, citation, kind, variant, top, note; of
    votes n0, n and alpha, by default USUAL; arch, sigma, trained_sigma and seed where the names of the file and of the
    folders above it do not say them (`names.said_of`); and `corruption`, of what its images are a corruption. `labels`
    are the test set's (N,) and where they are from; `row` is what the row of a single log is called. Gives for each log
    what `Row.about` says. A log without a repository is kept in the user's cache, so that its images can be compared.

    Raises UserError for a log with a line that cannot be, with radii that n, α and σ do not give, with labels that are
    not the test set's, of fewer than FEWEST images unless `few`, or with the name of a row that has other content.
    """
    paths = list(paths)
    check_board(dataset, root)
    given = ({} if given.get("kind") == "margin" else USUAL) | {k: v for k, v in given.items() if v is not None}
    check(given)
    if row is not None and (len(paths) > 1 or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", row)):
        raise UserError(f"--row {row}: the name of one log's row is made of letters, digits and . _ + -")
    names = [row] if row else row_names(paths, given["method"])
    if len(set(names)) < len(names):
        raise UserError("two of these files have the same name, and a row is called by it; rename one")
    rows = [read(path, dataset, root, name, given, few, labels) for path, name in zip(paths, names, strict=True)]
    return write_rows(rows, replace)


def write_rows(rows: Sequence[Row], replace: bool) -> list[dict[str, Any]]:
    """Write what is not there yet, after a look at all of them; what is said of each."""
    new = [not row.there() for row in rows]
    for row, changed in zip(rows, new, strict=True):
        if changed and row.file.exists() and not replace:
            raise UserError(
                f"{row.file} is there with other content; --replace puts this log in its place, --row gives it another "
                "name"
            )
    for folder in {row.file.parent for row in rows}:
        sweep(folder)
    for row, changed in zip(rows, new, strict=True):
        if not row.entry.is_public:
            keep_log(unpacked(row.log.path), row.entry.sha256, row.log.path)
        if changed:
            row.write()
    return [row.about(changed) for row, changed in zip(rows, new, strict=True)]


def check_board(dataset: str, root: Path) -> None:
    """Raise UserError where there is no such board."""
    if dataset not in boards(root):
        said = unknown("board", dataset, boards(root))
        raise UserError(f"{said}; a board of your own is a file {root / dataset}.toml with its title and radii")


def check(given: dict[str, Any]) -> None:
    """Raise UserError for what cannot be true of any log."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given["method"]):
        raise UserError(f"method '{given['method']}': a method's name is made of a-z, 0-9 and -")
    for name in ("citation", "note", "arch", "variant", "corruption"):
        if given.get(name):
            check_range(name, given[name], Name)
    if not re.search(r"\b(19|20)\d\d\b", given["citation"]):
        raise UserError("the citation needs authors, title, venue and year; it has no year")
    if given.get("kind", "vote") not in ("vote", "margin"):
        raise UserError(f"kind '{given['kind']}': a certificate is a vote or a margin")
    if given["top"] < 1:
        raise UserError("a log is certified with top >= 1")
    if given.get("kind") == "margin":
        if noise := [name for name in OF_A_VOTE if name in given]:
            raise UserError(f"a margin has no {' and no '.join(noise)}: leave that out, or import a log of votes")
        return
    if not 0 < given["alpha"] < 1 or given["n0"] < 0:
        raise UserError("a log of votes is certified with 0 < alpha < 1 and n0 >= 0")
    check_range("n", given["n"], Draws)
    if given["n"] < (least := smallest_n(given["alpha"])):
        raise UserError(
            f"n = {given['n']} draws can certify nothing at alpha = {given['alpha']:g}: the least is {least}"
        )


def read(
    path: Path, dataset: str, root: Path, name: str, given: dict[str, Any], few: bool, labels: Labels | None
) -> Row:
    """A log's settings, partly from where it lies, and its figures. UserError for what does not hold."""
    votes = given.get("kind") != "margin"
    settings = said_of(path)
    if not votes:
        settings = {name: value for name, value in settings.items() if name in ("arch", "variant", "seed")}
    settings |= given
    for needed in ("arch", "sigma") if votes else ("arch",):
        if needed not in settings:
            raise UserError(
                f"{path.name} does not say the {needed} in its name (ARCH_noise_SIGMA_sigma_SIGMA): give --{needed}"
            )
    for number, kind in (("sigma", float), ("trained_sigma", float), ("seed", int)):
        if number in settings:
            settings[number] = kind(settings[number])
    if votes:
        check_range("sigma", settings["sigma"], Scale)
    if settings.get("trained_sigma"):
        check_range("trained-sigma", settings["trained_sigma"], Scale)
    settings["variant"] = settings.get("variant", "").replace("_", " ")
    settings["file"] = settings.get("file", path.name)
    return make_row(root / dataset / f"{name}.toml", path, load_board(dataset, root), settings, few, labels)


def make_row(
    file: Path, path: Path, board: Board, settings: dict[str, Any], few: bool = False, labels: Labels | None = None
) -> Row:
    """The row of a log whose settings are known. UserError for what does not hold."""
    corruption = settings.pop("corruption", "")
    log = read_log(path, board, settings["top"])
    sigma = settings.get("sigma")
    level: list[Any] = [settings.get("n"), settings.get("alpha"), sigma]
    chance = None
    if sigma is not None:
        check_level(log, *level)
        chance = round(evidence(log, *level), 4) + 0.0
    if labels:
        check_labels(log, *labels)
    if len(log.records) < FEWEST and not few:
        raise UserError(f"{path} has {len(log.records)} images, too few for a row; --few takes fewer than {FEWEST}")
    weak = ""
    if chance is not None and chance > WEAK:
        weak = f"radii too coarse to check n, α and σ: arbitrary ones fit with probability {10**chance:.2g}"
    settings["note"] = "; ".join(filter(None, (settings.get("note"), log.note, severities(log, corruption), weak)))
    about = dict(
        **Figures.of_log(log, board.all_radii, sigma),
        **settings,
        data=f"{board.title}: {corruption}" if corruption else board.title,
        chance=chance,
        columns=list(log.others),
        date=re.findall(r"\b(?:19|20)\d\d\b", settings["citation"])[-1],
        sha256=log.sha256,
    )
    try:
        return Row(file, Entry(**about), log)
    except ValidationError as error:
        raise UserError(f"{path.name!a}: {one_line(error)}") from error


def severities(log: Log, corruption: str) -> str:
    """Which severities of a corruption a log covers: its index runs over one after the other."""
    if not corruption:
        return ""
    found = sorted({int(idx) // SEVERITY + 1 for idx in log.records["idx"]})
    return f"severities {', '.join(map(str, found))}, {SEVERITY} images each"
