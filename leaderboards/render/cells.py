"""A board in words and figures as people read them: the same in a terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from leaderboards.board import groups
from suite.store.result import EARLIER

# columns that stand in a table if any of its rows has them: heading, column, how it is printed
MEASURED = (
    ("dist.", "distance", ".3f"), ("PGD", "pgd", ".2f"), ("DDN", "ddn", ".2f"), ("s/image", "seconds_per_image", ".1e"),
    ("avg.err.", "averaging", ".3f"), ("draws", "draws", ".0f"), ("audit", "audited", ""),
)  # fmt: skip
LEGEND = {
    "dist.": "dist.: median ℓ2 distance of the nearest adversarial examples found, by PGD, DDN and FMN",
    "PGD": "PGD, DDN: the same as the paper attacks; its PGD's distances are multiples of its step, 0.4 in 20 steps of "
    "norms to 4, its DDN's no lower than about 0.43",
    "s/image": "s/image: seconds to classify an image as the row is deployed, in full batches",
    "avg.err.": "avg.err.: mean ℓ2 distance of the single pass from the Gaussian average, as probabilities",
    "draws": "draws: made per certificate, mean",
    "audit": "audit: certificates violated of those attacked, on what the row deploys",
}
NAMES = ("#", "method", "arch", "seeds", "source")  # headings of what is no figure
Cell = tuple[str, str]  # text, and its 95 % interval where there is one


@dataclass(frozen=True)
class Shown:
    """A group of comparable rows: the first `names` columns are names, the others figures."""

    title: str
    headings: list[str]
    lines: list[list[Cell]]
    rows: pd.DataFrame

    @property
    def names(self) -> int:
        return sum(heading in NAMES for heading in self.headings)


def percent(share: float | None) -> str:
    return "–" if share is None or pd.isna(share) else f"{100 * share:.1f}"


def decimals(value: float, form: str) -> str:
    return "–" if pd.isna(value) else format(value, form)


def references(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """What is cited: variant, note and citation of rows that are not of runs, in their order."""
    others = frame[frame["source"] != "run"]
    return others[["variant", "note", "citation"]].drop_duplicates().apply(tuple, axis=1).tolist()


def shown_groups(frame: pd.DataFrame) -> Iterator[Shown]:
    """The groups of a table, best row first, without columns that say nothing."""
    cited = references(frame)
    for title, group in groups(frame):
        radii = [column for column in map(str, group) if column.startswith("r=")]
        shares = dict(zip(["clean", *radii, "abst."], ["clean", *radii, "abstained"], strict=True))
        measured = [m for m in MEASURED if group[m[1]].notna().any() and (m[1] != "draws" or "n ≤" in title)]
        seeds, sources = any(s not in ([], [0]) for s in group["seeds"]), (group["source"] != "run").any()
        names = ["#", "method", "arch", *(["seeds"] if seeds else []), *(["source"] if sources else [])]
        headings = [*names, "clean", *(r.removeprefix("r=") for r in radii), "ACR", "abst.", *(m[0] for m in measured)]
        lines = []
        for _, row in group.iterrows():
            cells = {name: (percent(row[column]), interval(row, column, 100, ".1f")) for name, column in shares.items()}
            cells |= {"ACR": (decimals(row["acr"], ".4f") + spread(row), interval(row, "acr", 1, ".4f"))}
            cells |= {name: (decimals(row[column], form), "") for name, column, form in measured if form}
            if "audit" in headings:
                known = pd.notna(row["audited"])
                cells["audit"] = (f"{row['violations']}/{row['audited']}" if known else "–", "")
            own = (row["variant"], row["note"], row["citation"])
            source = "run" if row["source"] == "run" else f"[{cited.index(own) + 1}]"
            text = {"#": str(row["rank"]), "method": row["method"], "arch": row["arch"], "source": source}
            text["seeds"] = ",".join(map(str, row["seeds"])) or "–"
            figures = ["clean", *radii, "ACR", "abst.", *(m[0] for m in measured)]
            lines.append([*((text[name], "") for name in names), *(cells[name] for name in figures)])
        yield Shown(title, headings, lines, group)


def interval(row: Any, column: str, scale: float, form: str) -> str:
    bounds = row["intervals"].get(column)
    return "–".join(format(scale * bound, form) for bound in bounds) if bounds else ""


def spread(row: Any) -> str:
    deviation = row["spread"]["acr"]
    return "" if deviation is None else f" ± {deviation:.4f}"


def legend(frame: pd.DataFrame, headings: set[str], paper_convention: bool) -> Iterator[str]:
    """What the columns mean, a line each."""
    said = "R > r, abstentions dropped (the paper's)" if paper_convention else "R ≥ r, abstentions wrong (Cohen's)"
    yield f"0.1 and so on: % of images certified at that radius r; {said}"
    yield "clean: accuracy of what the row deploys; a pass on the whole test set, a vote on the certified images"
    if (frame["sampling"] == EARLIER).any():
        yield (
            f"{EARLIER}: certified before its rule was mended; the certificates hold, but images were given up that "
            "would have been certified, up to 1.2 % of a row's"
        )
    if (frame["source"] == "published").any():
        yield "clean –: a published log does not say what the images that were abstained on were taken for"
    if frame["seeds"].map(len).max() > 1:
        yield "seeds: figures are means over them; ACR ± is their standard deviation"
    yield from (said for heading, said in LEGEND.items() if heading in headings)


def claims(frame: pd.DataFrame) -> Iterator[str]:
    """What each certificate says, and of whose rows."""
    for said, methods in frame.groupby("claim")["method"].unique().items():
        yield f"{', '.join(methods)}: {said}"


def notes(cited: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """The numbered references."""
    for number, reference in enumerate(cited, start=1):
        yield f"[{number}] {'; '.join(filter(None, reference))}"
