"""A published row's file: what the log is of, where it is from, and its figures, as TOML."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveInt, ValidationError, model_validator

from leaderboards.published.figures import Figures
from leaderboards.published.names import stem
from suite.boards.board import Board
from suite.errors import MISFIT, UserError, first_line
from suite.protocols.certify import vote_terms
from suite.ranges import Name, one_line
from suite.statistics.intervals import FEWEST
from suite.store.result import Result

DAMAGED = (*MISFIT, OSError)
MARGIN_CLAIM = "the single pass keeps its answer within the radius, for the Lipschitz constant that its authors prove"
OF_A_VOTE = ("sigma", "n0", "n", "alpha")  # the fields of an entry that a margin does not have
SAID = {
    "between": "[radius, certified, of these at R = r]: radii that are not on the grid",
    "certified": "images that are correct with R >= r, at r = 0, 0.01, 0.02, ... (20 a line)",
    "ties": "of these, images with R = r",
    "p_right": "lower bounds p_A of right answers, from 0.5 by 0.01, from 0.99 by 0.001, from 0.999 by 0.0001 to 1",
    "p_wrong": "of wrong answers",
}


class Entry(Figures):
    """What a published log is of, where it is from, and its figures. σ in pixel units.

    `citation` is of whoever published the log, at `url`; `method_citation` and `method_url` of the paper that proposed
    the method, where that is another one. The log is `file`, or `path` of a repository at a commit, and `also` names
    other places that have the same bytes. `chance` is log10 of that with which arbitrary radii would have been taken.
    A log of margins has none of OF_A_VOTE, and one of votes has them all.
    """

    method: Name
    variant: Name = ""
    arch: Name
    kind: Literal["vote", "margin"] = "vote"
    sigma: FiniteFloat | None = None
    trained_sigma: FiniteFloat | None = None
    seed: NonNegativeInt | None = None
    n0: NonNegativeInt | None = None
    n: PositiveInt | None = None
    alpha: FiniteFloat | None = None
    top: PositiveInt
    data: Name
    citation: Name
    url: Name = ""
    method_citation: Name = ""
    method_url: Name = ""
    date: Name
    note: Name = ""
    chance: FiniteFloat | None = None
    file: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    repository: Annotated[str, Field(pattern=r"^([A-Za-z0-9_-][A-Za-z0-9_.-]*/[A-Za-z0-9_-][A-Za-z0-9_.-]*)?$")] = ""
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{0,40}$")] = ""
    path: Name = ""
    licence: Name = ""
    also: Name = ""
    columns: list[Name] = Field([], description="that other logs do not have")

    @model_validator(mode="after")
    def _of_its_kind(self) -> Self:
        missing = [name for name in OF_A_VOTE if getattr(self, name) is None]
        if missing != (list(OF_A_VOTE) if self.kind == "margin" else []):
            raise ValueError(f"a log of kind {self.kind} without {', '.join(missing) or 'less'}")
        return self

    @classmethod
    def from_file(cls, file: Path) -> Self:
        """The entry in a file. UserError where it is damaged."""
        try:
            return cls.model_validate(upgrade(tomllib.loads(file.read_text(encoding="utf-8"))))
        except ValidationError as error:
            raise damaged_row(file, one_line(error)) from error
        except DAMAGED as error:
            raise damaged_row(file, first_line(error)) from error

    def to_toml(self) -> str:
        """The content of its file, whose strings and numbers are JSON's; what is not known or empty is left out.

        So is the kind of votes.
        """
        fields = self.model_dump(exclude_defaults=True)
        about = [name for name in Entry.model_fields if name not in Figures.model_fields]
        ordered = {name: fields[name] for name in (*about, *Figures.model_fields) if name in fields}
        return "".join(map(toml_line, ordered, ordered.values()))

    @property
    def is_public(self) -> bool:
        """Whether it says from where its log can be fetched."""
        return bool(self.repository and self.commit and self.path)

    @property
    def terms(self) -> dict[str, Any]:
        """On what terms its certificates hold, and what is deployed, as a row has them."""
        if self.kind == "margin":
            noise = dict.fromkeys([*OF_A_VOTE, "sampling", "noise", "precision"])
            return noise | {"kind": "margin", "alpha": 0.0, "claim": MARGIN_CLAIM, "deployed": "pass"}
        sigma, n0, n, alpha = self.sigma or 0.0, self.n0 or 0, self.n or 0, self.alpha or 0.0
        terms = vote_terms(sigma=sigma, n0=n0, n=n, alpha=alpha)
        return terms | {"sigma": sigma, "draws": float(n), "deployed": "vote" if n0 else "pass"}

    @property
    def clean_accuracy(self) -> float | None:
        """Of a pass, or of the vote where the log tells; None where an abstention does not say what it would be."""
        if self.clean is not None:
            return self.clean / self.images
        is_known = self.kind == "margin" and not self.abstained
        return float(self.counts[0, 0] / self.images) if is_known else None

    def result(self, run_id: str, board: Board) -> Result:
        """The row, at the radii of a board."""
        dataset = run_id.partition("/")[0]
        proposed = f"method: {self.method_citation}" if self.method_citation else ""
        about = ("method", "data", "arch", "variant", "trained_sigma", "seed", "citation", "date", "top")
        links = (
            "url",
            "method_citation",
            "method_url",
            "repository",
            "licence",
            "acr_deviation",
            "acr_interval",
            "p_a_interval",
        )
        return Result(
            run_id=run_id,
            dataset=dataset,
            source="published",
            note="; ".join(filter(None, (self.note, proposed))),
            command=self.command(run_id),
            protocols=["certify"],
            every=self.every,
            images=self.images,
            clean_accuracy=self.clean_accuracy,
            certified_accuracy={str(r): self.share(r) for r in board.all_radii},
            certified_accuracy_paper={str(r): self.share(r, "paper") for r in board.all_radii},
            acr=self.acr,
            p_a=self.p_a,
            abstained=self.abstained / self.images,
            median_radius=self.median_radius,
            seconds_per_certificate=self.seconds,
            **{name: getattr(self, name) for name in (*about, *links)} | self.terms,
        )

    def command(self, run_id: str) -> str:
        """The shell line that gets the log, or puts it on a board."""
        if self.is_public:
            return shlex.join(["suite", "published", "fetch", run_id])
        board, _, row = run_id.partition("/")
        words = ["suite", "import", self.file, "--board", board, "--method", self.method, "--arch", self.arch]
        words += [] if row == f"{self.method}-{stem(Path(self.file))}" else ["--row", row]
        words += ["--sigma", str(self.sigma)] if self.kind == "vote" else ["--kind", "margin"]
        for name in ("variant", "trained_sigma", "seed", *(OF_A_VOTE[1:] if self.kind == "vote" else ()), "top"):
            value = getattr(self, name)
            words += [] if value in (None, "") else [f"--{name.replace('_', '-')}", str(value)]
        words += ["--few"] * (self.images < FEWEST)
        return shlex.join([*words, "--citation", self.citation])


def upgrade(content: dict[str, Any]) -> dict[str, Any]:
    """TOML's values as the fields have them."""
    between = content.get("between", [])
    return content | ({"between": [tuple(line) for line in between]} if between else {})


def toml_line(name: str, value: Any) -> str:
    said = f"# {SAID[name]}\n" if name in SAID else ""
    if name in ("certified", "ties", "p_right", "p_wrong"):
        return f"{said}{name} = '''\n{value}'''\n"
    return f"{said}{name} = {json.dumps(value, ensure_ascii=False)}\n"


def damaged_row(file: Path, said: str) -> UserError:
    return UserError(f"{file} is damaged ({said}); import the log again with --replace")
