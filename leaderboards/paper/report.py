"""A report: the figures and tables of "Adversarial Boot Camp" with rows of a store beside the published values, what
the paper says of them and whether they bear it out, and how both were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from leaderboards.board import title
from leaderboards.kept import results, run_folder
from leaderboards.paper.items import ITEMS, Item, Records, beside, comparable, row_line
from leaderboards.paper.statements import Verdict, verdicts
from leaderboards.published import PUBLISHED, paper_figures
from leaderboards.render.document import Section
from leaderboards.render.plots import paper_figure
from leaderboards.rows import COMPARABLE, USUAL, is_decided
from suite.errors import UserError
from suite.spec.run_spec import RunSpec, make_spec
from suite.statistics.bounds import upper_confidence_bound
from suite.store.files import read_json
from suite.store.records import read_records
from suite.store.result import EARLIER

Result = Mapping[str, Any]
COMPARED = ("baseline", "randomized-smoothing", "smoothadv", "heat", "madry", "madry-heat")


def report(runs: Path, dataset: str, published: Path = PUBLISHED, only: Sequence[str] | None = None) -> list[Section]:
    """The report on a data set's runs: a part for each group of comparable rows with two of the paper's methods.

    `only` names the runs it is on; else all finished ones of the store and those kept in `published`. Raises UserError
    where no two can be compared.
    """
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for row in results(runs, published):
        if row["dataset"] == dataset and row["method"] in COMPARED and (only is None or row["run_id"] in only):
            groups.setdefault(tuple((USUAL | row)[name] for name in COMPARABLE), []).append(USUAL | row)
    parts = [list(part(rows, runs, published)) for _, rows in sorted(groups.items(), key=lambda group: str(group[0]))]
    parts = [sections for sections in parts if sections]
    if not parts:
        raise UserError(
            f"no two finished runs on '{dataset}' in {runs} can be compared: a report needs two methods at one σ"
        )
    return [section for sections in parts for section in sections]


def part(rows: list[Result], runs: Path, published: Path) -> Iterator[Section]:
    """The sections on comparable rows; none for rows of fewer than two methods."""
    by_recipe: dict[str, list[Result]] = {}
    for row in sorted(rows, key=lambda row: (COMPARED.index(row["method"]), row["seed"])):
        by_recipe.setdefault(row["recipe"], []).append(row)
    methods = [own[0]["method"] for own in by_recipe.values()]
    if len(set(methods)) < 2:
        return
    named = {}
    for method, own in zip(methods, by_recipe.values(), strict=True):
        apart = f" ({own[0]['run_id'].rpartition('-')[2]})" if methods.count(method) > 1 else ""
        named[method + apart] = own

    def records(row: Result, protocol: str) -> pd.DataFrame:
        return read_records(run_folder(row["run_id"], runs, published) / f"{protocol}.jsonl")

    first = rows[0]
    yield Section(f"Adversarial Boot Camp beside {title(first)}", 1, tuple(introduction(first)))
    yield made(named, runs, published)
    judged = verdicts({
        own[0]["method"]: {
            protocol: [records(row, protocol) for row in own if protocol in row["protocols"]]
            for protocol in own[0]["protocols"]
        }
        for own in reversed(named.values())
    })  # fmt: skip
    judged = [v for v in judged if v.claim.radius is None or all(is_decided(row, v.claim.radius) for row in rows)]
    yield from conclusions(judged)
    for name, item in items(first).items():
        section = shown(name, item, named, records)
        if section:
            yield section
            yield from said(name, judged)
    yield from audits(named)


def introduction(row: Result) -> Iterator[str]:
    yield paper_figures()["citation"].iloc[0]
    yield (
        "Values of the paper are read off its plots, as precisely as is said beside them; where it has a figure "
        "of which no values are known here, what was measured stands alone. Certified accuracy is in the paper's "
        "convention (abstentions left out, R > r). Several seeds: figures are means over them."
    )
    if row["sampling"] != "fixed":
        yield (
            "Sampling was adaptive: it decides whether an image is certified at each of the run's radii, and stops; "
            "at other radii (–) it says too little, and curves and statistics of radii are of what that took."
        )
    if row["sampling"] == EARLIER:
        yield (
            "The rule was that of an earlier version. Its certificates hold, but it gave up images that would have "
            "been certified, up to 1.2 % of a row's, and recorded a radius as r where R > r was certified, which the "
            "paper's convention leaves out at r: up to 2.2 points (`baseline` at σ = 0.25, r = 0.5)."
        )
    if row["sigma"] not in {item.sigma for item in ITEMS.values() if item.dataset == row["dataset"]}:
        yield f"The paper has no figures at σ = {row['sigma']:g} on these data."


def made(named: Mapping[str, list[Result]], runs: Path, published: Path) -> Section:
    """How the rows were made, and what the paper's numbers are, as far as the suite's `paper` profile has them."""
    lines, machines = [], set()
    for name, own in named.items():
        folder = run_folder(own[0]["run_id"], runs, published)
        spec = RunSpec(**read_json(folder / "spec.json"))
        machine = read_json(folder / "environment.json")
        machines.add(f"{machine['device_name']}, threads: {machine['threads']}, torch {machine['versions']['torch']}")
        of_paper = make_spec(method=spec.method, dataset=spec.dataset, profile="paper")
        lines.append({
            "row": name, "seeds": ", ".join(str(row["seed"]) for row in own),
            "network": spec.arch, "network, paper": of_paper.arch,
            "epochs": budget(spec), "epochs, paper": budget(of_paper),
            "images, n": f"{spec.certify.images:,}, {'≤ ' * (spec.certify.sampling == 'adaptive')}{spec.certify.n:,}",
            "images, n, paper": f"{of_paper.certify.images:,}, {of_paper.certify.n:,}",
        })  # fmt: skip
    text = (
        "What differs from the paper is the likely reason where figures do: the network, how long it was trained, and "
        "the data. Epochs of a model that starts from another are those of both. The columns of the paper are the "
        "suite's profile for it, which has the one-epoch recipe of HeatSmoothing; the experiments behind the paper's "
        "figures on CIFAR-10 took five timesteps of 200 epochs.",
        f"Machine: {'; '.join(sorted(machines))}.",
    )
    return Section("How the rows were made", 2, text, pd.DataFrame(lines))


def budget(spec: RunSpec) -> str:
    return " + ".join(f"{step.training.epochs:g}" for step in (spec.start, spec) if step)


def conclusions(judged: list[Verdict]) -> Iterator[Section]:
    """Where the rows agree with the paper, where they do not, and what they leave open: a paragraph each."""
    if not judged:
        return
    paragraphs = []
    for outcome, begins in (
        ("borne out", "Agreement. These come out as the paper has them, over all of their 95 % interval"),
        ("the other way round", "Disagreement. These come out the other way round, over all of theirs"),
        ("undecided", "Undecided. The intervals of these have both signs"),
        ("a median of ties", "Without an interval, because many images share the median's value"),
    ):
        found = [f"{claimed(v)} ({difference(v)})" for v in judged if v.outcome == outcome]
        paragraphs.append(f"{begins}: {'; '.join(found) or 'nothing'}.")
    yield Section("What the paper says, and what the rows say", 2, tuple(paragraphs))


def claimed(verdict: Verdict) -> str:
    claim = verdict.claim
    return f"{claim.figure}, {claim.more} above {claim.less}"


def difference(verdict: Verdict) -> str:
    if verdict.interval is None:
        return f"{verdict.difference:+.3f}, no interval"
    low, high = verdict.interval
    if verdict.claim.reduce == "share":
        return f"{100 * verdict.difference:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{verdict.difference:+.3f}, {low:+.3f} to {high:+.3f}"


def items(row: Result) -> dict[str, Item]:
    """The paper's items that a row can stand in; for data that it has nothing on, those of CIFAR-10."""
    known = {item.dataset for item in ITEMS.values()}
    source = row["dataset"] if row["dataset"] in known else "cifar10"
    return {
        name: replace(item, dataset=row["dataset"], sigma=row["sigma"], top=row["top"])
        for name, item in ITEMS.items() if item.dataset == source
    }  # fmt: skip


def shown(name: str, item: Item, named: Mapping[str, list[Result]], records: Records) -> Section | None:
    """An item's table, and its curves where it is a plot; None where no row has it."""
    own = {called: comparable(item, list(map(dict, rows))) for called, rows in named.items()}
    own = {called: rows for called, rows in own.items() if rows}
    if not own:
        return None
    table = beside(name, own, records, item).dropna(axis="columns", how="all")
    figure = None
    if item.kind in ("certified", "attacked"):
        axes = ("ℓ2 radius", "certified, %") if item.kind == "certified" else ("ℓ2 distance", "attacked, %")
        lines = {called: (rows[0]["method"], row_line(item, rows, records)) for called, rows in own.items()}
        given = paper_figures()
        same = item == ITEMS[name]
        figure = paper_figure(given[given["item"] == (name if same else "")], lines, *axes)
    if item.kind == "figures":
        table = table.dropna(axis="columns", how="all")
    figures = [column for column in table if column not in ("row", "source")]
    form = ".1f" if item.kind in ("certified", "attacked") or all("%" in str(c) for c in figures) else ".3g"
    for column in figures:
        table[column] = table[column].map(lambda value: "–" if pd.isna(value) else format(value, form))
    return Section(f"{name.partition(',')[0]}. {item.title}", 2, (), table.astype(str), figure)


def said(name: str, judged: list[Verdict]) -> Iterator[Section]:
    """What the paper says of an item, beside the rows' difference."""
    own = [verdict for verdict in judged if verdict.claim.item == name.partition(",")[0]]
    if own:
        lines = [{"the paper says": claimed(v), "difference, 95 %": difference(v), "": v.outcome} for v in own]
        yield Section("Said in the paper", 3, (), pd.DataFrame(lines))


def audits(named: Mapping[str, list[Result]]) -> Iterator[Section]:
    """What an attack on each certificate found on what the row deploys, and how far its pass is from an average."""
    headings = {"certify": "Certify", "lbound": "L-bound", "probit": "L-bound, probit form"}
    kinds = {kind for own in named.values() for row in own for kind in row.get("audit", {})}
    lines = []
    for name, own in named.items():
        audited = [row["audit"] for row in own if "audit" in row]
        if not audited:
            continue
        line = {"row": name, "deployed as": own[0]["inference"]}
        for kind, heading in ((kind, heading) for kind, heading in headings.items() if kind in kinds):
            of_kind = [audit[kind] for audit in audited if kind in audit]
            line |= {f"{heading}: violated": violated(of_kind)}
            ratios = [audit["smallest_ratio"] for audit in of_kind if audit["smallest_ratio"] is not None]
            line |= {f"{heading}: nearest, of R": f"{min(ratios):.2f}" if ratios else "–"}
        averaged = [row["averaging"] for row in own if "averaging" in row]
        line["averaging error"] = f"{mean(a['distance'] for a in averaged):.3f}" if averaged else "–"
        line["top-1 = average's"] = (
            f"{100 * mean(a['agreement']['share'] for a in averaged):.1f} %" if averaged else "–"
        )
        lines.append(line)
    if lines:
        text = (
            "Each certified image was attacked inside its own radius, on what the row deploys: the single pass, or the "
            "vote, a finding on which is confirmed on fresh draws. A violated radius is none of what the row deploys. "
            "In brackets: what the rate of violations is at most, at 95 %. Nearest: the nearest finding, as a share of "
            "the radius. Averaging error: how far one pass is, in ℓ2 distance of probabilities, from the Gaussian "
            "average that it is to be."
        )
        yield Section("Beyond the paper: the certificates, attacked", 2, (text,), pd.DataFrame(lines))


def violated(audits: Sequence[Mapping[str, Any]]) -> str:
    attacked, found = (sum(audit[key] for audit in audits) for key in ("attacked", "violations"))
    if not attacked:
        return "–"
    return f"{found} of {attacked} (≤ {100 * float(upper_confidence_bound(found, attacked, 0.05)):.1f} %)"


def mean(values: Iterator[float]) -> float:
    found = list(values)
    return sum(found) / len(found)
