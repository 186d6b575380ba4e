"""Somebody's certification logs, checked and put on a board."""

from __future__ import annotations

import glob
import json
import lzma
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from numpy.typing import ArrayLike

from leaderboards.published import OF_A_VOTE, PUBLISHED, Entry, digest_of, log_of
from leaderboards.published.log import WEAK, check_labels, check_level, evidence, read_log
from suite.boards.board import boards, load_board
from suite.errors import UserError, unknown
from suite.leftovers import sweep
from suite.ranges import Draws, Name, Scale
from suite.ranges import check as check_range
from suite.statistics.bounds import smallest_n
from suite.statistics.intervals import FEWEST
from suite.store.files import write_atomically

NAMED = re.compile(
    r"(?P<arch>[a-z]+[0-9]*)(_(?P<variant>.+))?_noise_(?P<trained_sigma>[0-9.]+)_sigma_(?P<sigma>[0-9.]+)"
)
OF_A_SIGMA = re.compile(r"sigma_(?P<sigma>[0-9]+(\.[0-9]+)?)")
SUFFIX = r"\.(tsv|csv|txt|log|dat|out)$"  # and no other: 0.25 has none
USUAL = {"n0": 100, "n": 100_000, "alpha": 0.001}  # of votes
Labels = tuple[ArrayLike, str]  # of the test set's images (N,), and where they are from


@dataclass(frozen=True)
class Row:
    """What is to be written for one log, and log10 of the chance with which arbitrary radii would have been taken.

    Of margins that is not known: any radius may be one.
    """

    file: Path
    entry: Entry
    lines: bytes
    chance: float | None

    @property
    def settings(self) -> bytes:
        """The entry as TOML, whose strings and numbers are JSON's; what is not known or empty is left out.

        So is the kind of votes, which entries of earlier versions do not say.
        """
        fields = {name: value for name, value in asdict(self.entry).items() if (name, value) != ("kind", "vote")}
        known = {name: value for name, value in fields.items() if value not in (None, "")}
        return "".join(f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in known.items()).encode()

    @property
    def log(self) -> Path:
        return log_of(self.file, self.entry.lines)

    def there(self) -> bool:
        """Whether the row is there as it would be written; compared unpacked, which no version of xz changes."""
        try:
            same = lzma.decompress(self.log.read_bytes()) == self.lines
            return same and self.file.read_bytes() == self.settings
        except (OSError, EOFError, lzma.LZMAError):
            return False

    def write_log(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.log, lzma.compress(self.lines, preset=9 | lzma.PRESET_EXTREME))

    def write_entry(self) -> None:
        """Write what makes it a row."""
        write_atomically(self.file, self.settings)

    def tidy(self) -> None:
        """Remove logs that the entry does not name."""
        for other in self.file.parent.glob(f"{glob.escape(self.file.stem)}*.tsv.xz"):
            if other != self.log and re.fullmatch(r"(\.[0-9a-f]{8})?\.tsv\.xz", other.name[len(self.file.stem) :]):
                other.unlink(missing_ok=True)


def import_logs(
    paths: Iterable[Path],
    dataset: str,
    root: Path = PUBLISHED,
    *,
    replace: bool = False,
    few: bool = False,
    labels: Labels | None = None,
    **given: Any,
) -> list[dict[str, Any]]:
    """Put certification logs in Cohen et al.'s layout on a board, all or none.

    `given` are the fields of `Entry` that a log does not say itself: method, citation, kind, top, note; of votes n0, n
    and alpha, by default USUAL; arch, sigma and trained_sigma where the file is not called
    ARCH[_VARIANT]_noise_SIGMA_sigma_SIGMA. `labels` are the test set's (N,) and where they are from. Gives for each log
    its row's name, file, number of images, note, whether it was new, and `chance`: log10 of that with which arbitrary
    radii would have been taken (`evidence`), None for margins.

    Raises UserError for a log with a line that cannot be, with radii that n, α and σ do not give, with labels that are
    not the test set's, of fewer than FEWEST images unless `few`, or with the name of a row that has other content.
    """
    if dataset not in boards(root):
        said = unknown("board", dataset, boards(root))
        raise UserError(f"{said}; a board of your own is a file {root / dataset}.toml with its title and radii")
    given = ({} if given.get("kind") == "margin" else USUAL) | {k: v for k, v in given.items() if v is not None}
    check(given)
    rows = [read(path, dataset, root, given, few, labels) for path in paths]
    if len({row.file for row in rows}) < len(rows):
        raise UserError("two of these files have the same name, and a row is called by it; rename one")
    new = [not row.there() for row in rows]
    for row, changed in zip(rows, new, strict=True):
        if changed and row.file.exists() and not replace:
            raise UserError(f"{row.file} is there with other content; --replace puts this log in its place")
    to_write = [row for row, changed in zip(rows, new, strict=True) if changed]
    sweep(root / dataset)
    for row in to_write:
        row.write_log()
    for row in to_write:
        row.write_entry()
    for row in rows:  # also of those that a killed import has written
        row.tidy()
    return [
        {"row": row.file.stem, "file": str(row.file), "images": row.entry.images, "note": row.entry.note}
        | {"new": changed, "chance": row.chance}
        for row, changed in zip(rows, new, strict=True)
    ]


def check(given: dict[str, Any]) -> None:
    """Raise UserError for what cannot be true of any log."""
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", given["method"]):
        raise UserError(f"method '{given['method']}': a method's name is made of a-z, 0-9 and -")
    for name in ("citation", "note", "arch"):
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


def read(path: Path, dataset: str, root: Path, given: dict[str, Any], few: bool, labels: Labels | None) -> Row:
    """A log's settings, partly from its file's name, and its lines without times. UserError for what does not hold."""
    board, votes = load_board(dataset, root), given.get("kind") != "margin"
    name = re.sub(SUFFIX, "", path.name)
    named = NAMED.fullmatch(name) or OF_A_SIGMA.fullmatch(name)
    settings: dict[str, Any] = {k: v for k, v in (named.groupdict() if named else {}).items() if v}
    if not votes:
        settings = {name: value for name, value in settings.items() if name in ("arch", "variant")}
    settings |= given
    for needed in ("arch", "sigma") if votes else ("arch",):
        if needed not in settings:
            raise UserError(
                f"{path.name} does not say the {needed} in its name (ARCH_noise_SIGMA_sigma_SIGMA): give --{needed}"
            )
    for number in ("sigma", "trained_sigma"):
        if number in settings:
            settings[number] = float(settings[number])
    if votes:
        check_range("sigma", settings["sigma"], Scale)
    if settings.get("trained_sigma"):
        check_range("trained-sigma", settings["trained_sigma"], Scale)
    settings["variant"] = settings.get("variant", "").replace("_", " ")
    log = read_log(path, board, settings["top"])
    level: list[Any] = [settings.get(name) for name in ("n", "alpha", "sigma")]
    if votes:
        check_level(log, *level)
    if labels:
        check_labels(log, *labels)
    if len(log.records) < FEWEST and not few:
        raise UserError(f"{path} has {len(log.records)} images, too few for a row; --few takes fewer than {FEWEST}")
    chance, weak = evidence(log, *level) if votes else None, ""
    if chance is not None and chance > WEAK:
        weak = f"radii too coarse to check n, α and σ: arbitrary ones fit with probability {10**chance:.2g}"
    settings["note"] = "; ".join(filter(None, (settings.get("note"), log.note, weak)))
    lines = log.records.drop(columns="time").to_csv(sep="\t", index=False, lineterminator="\n").encode()
    entry = Entry(
        **settings,
        lines=digest_of(lines),
        data=board.title,
        images=len(log.records),
        date=re.findall(r"\b(?:19|20)\d\d\b", settings["citation"])[-1],
        file=path.name,
        sha256=log.sha256,
        seconds=round(float(log.records["time"].mean()), 3),
    )
    return Row(root / dataset / f"{entry.method}-{name}.toml", entry, lines, chance)
