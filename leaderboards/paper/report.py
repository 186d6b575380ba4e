"""A report on the runs on a data set: the paper's values with theirs, how both were made, and which of the paper's
statements the runs bear out. The paper is "Adversarial Boot Camp" (Campbell, Finlay and Oberman 2020)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd

from leaderboards.comparable import group_comparable, title
from leaderboards.paper.audits import audits
from leaderboards.paper.items import (
    ITEMS,
    Item,
    Records,
    comparable_results,
    compare_with_paper,
    is_deployed_as_usual,
    row_line,
)
from leaderboards.paper.statements import Verdict, verdicts
from leaderboards.published import PUBLISHED, paper_values
from leaderboards.published.kept import records_file, results, run_folder
from leaderboards.render.cells import yes_no
from leaderboards.render.document import Section
from leaderboards.render.labels import digests
from leaderboards.render.plots import paper_plot
from leaderboards.render.schema import DESCRIPTIONS
from leaderboards.rows import is_decided
from leaderboards.variants import settings_of, variants
from suite.boards.board import Roots
from suite.errors import UserError
from suite.spec.run_spec import RunSpec
from suite.store.read import machine_of, read_spec
from suite.store.records import read_records
from suite.store.result import EARLIER, Result, metrics_of

COMPARED = ("baseline", "randomized-smoothing", "smoothadv", "heat", "madry", "madry-heat")
SEVERAL = (
    "Of a method with several recipes, the paper's statements are about the one whose command changes the fewest "
    "settings."
)
Named = Mapping[str, list[Result]]  # runs that differ in the seed alone, by what the report calls them


def report(runs: Path, dataset: str, published: Roots = PUBLISHED, only: Sequence[str] | None = None) -> list[Section]:
    """The report on a data set's runs: a part for each group of comparable votes with two of the paper's methods.

    `only` names the runs it is on; else all finished ones of the store and those kept in `published`. Runs that deploy
    something else than their method's own are left out and named. Raises UserError where no two can be compared.
    """
    votes = [
        row
        for row in results(runs, published)
        if row.dataset == dataset
        and row.kind == "vote"
        and row.method in COMPARED
        and (only is None or row.run_id in only)
    ]
    parts = [list(part(rows, runs, published)) for rows in group_comparable(votes)]
    parts = [sections for sections in parts if sections]
    if not parts:
        others = left_out(votes)
        raise UserError(
            f"no two finished runs on '{dataset}' in {runs} can be compared: a report needs two methods at one σ"
            + (f". {others}" if others else "")
        )
    return [section for sections in parts for section in sections]


def part(rows: list[Result], runs: Path, published: Roots) -> Iterator[Section]:
    """The sections on comparable rows; none for rows of fewer than two methods."""
    others, rows = left_out(rows), list(filter(is_deployed_as_usual, rows))
    named = name_recipes(rows)
    if len({own[0].method for own in named.values()}) < 2:
        return

    @cache
    def records(row: Result, protocol: str) -> pd.DataFrame:
        folder = run_folder(row.run_id, runs, published)
        found = read_records(records_file(folder, protocol))
        if len(found) and protocol in row.sections:  # those of earlier versions have other forms
            metrics_of(protocol, read_spec(folder), found)  # which says so where they are damaged
        elif not len(found) and protocol in row.protocols:
            raise UserError(f"the {protocol} records of {row.run_id} are gone; 'suite verify' says what else is")
        return found

    first = rows[0]
    several = SEVERAL if len({own[0].method for own in named.values()}) < len(named) else ""
    paragraphs = (*introduction(first), *filter(None, [several, others]))
    yield Section(f"Adversarial Boot Camp beside {title(first)}", 1, paragraphs)
    yield settings(named, runs, published)
    found = verdicts({
        method: {
            protocol: [records(row, protocol) for row in own if protocol in row.protocols]
            for protocol in own[0].protocols
        }
        for method, own in own_recipes(named).items()
    })  # fmt: skip
    found = [v for v in found if v.statement.radius is None or all(is_decided(r, v.statement.radius) for r in rows)]
    yield from conclusions(found)
    for name, item in items(first).items():
        section = item_section(name, item, named, records)
        if section:
            yield section
            yield from item_statements(name, found)
    yield from audits(named)


def left_out(rows: list[Result]) -> str:
    """A sentence that names the rows that deploy something else than their method's own; empty without any."""
    own = sorted(f"{row.method} as a {row.deployed} ({row.run_id})" for row in rows if not is_deployed_as_usual(row))
    return f"Left out, because the paper deploys these methods otherwise: {', '.join(own)}." if own else ""


def name_recipes(rows: list[Result]) -> dict[str, list[Result]]:
    """The runs of each recipe, which differ in the seed alone, by method; of several recipes also by what sets them
    apart, and that whose command changes the fewest settings, which is nearest to the method's own, is first."""
    by_recipe: dict[str, list[Result]] = {}
    for row in sorted(rows, key=lambda row: (COMPARED.index(row.method), row.seed or 0)):
        by_recipe.setdefault(row.recipe, []).append(row)

    def order(own: list[Result]) -> tuple[int, bool, int]:
        command = own[0].command
        return COMPARED.index(own[0].method), not command, len(settings_of(command))

    recipes = sorted(by_recipe.values(), key=order)
    apart = variants(own[0] for own in recipes)
    names = [" ".join(filter(None, [own[0].method, apart.get(own[0].run_id)])) for own in recipes]
    return {
        f"{name} ({digests(own[0].run_id)})" if names.count(name) > 1 else name: own
        for name, own in zip(names, recipes, strict=True)
    }


def own_recipes(named: Named) -> dict[str, list[Result]]:
    """Of `name_recipes` each method's own recipe: its first."""
    return {own[0].method: own for own in reversed([*named.values()])}


def introduction(row: Result) -> Iterator[str]:
    yield paper_values()["citation"].iloc[0]
    yield (
        "The paper's values are read off its plots, with the uncertainty beside them. Where no value of the paper is "
        "known, only what was measured is shown. Certified accuracy is in the paper's convention (abstentions left "
        "out, R > r). With several seeds, numbers are means over them. Each interval holds for its statement alone; "
        "'suite compare' gives wider ones, for all radii at once."
    )
    if row.sampling != "fixed":
        yield (
            "Sampling was adaptive: it stops as soon as it is decided for each of the run's radii whether the image is "
            "certified there. Other radii are left blank (–); curves and radius statistics use the radii reached when "
            "sampling stopped, which are lower bounds."
        )
    if row.sampling == EARLIER:
        yield (
            "The rule was that of an earlier version. Its certificates hold, but it gave up images that would have "
            "been certified, up to 1.2 % of a row's. It also recorded a radius as r where R > r was certified, which "
            "the paper's convention leaves out at r: up to 2.2 points (`baseline` at σ = 0.25, r = 0.5)."
        )
    if row.sigma not in {item.sigma for item in ITEMS.values() if item.dataset == row.dataset}:
        yield f"The paper has no values at σ = {row.sigma:g} on these data."


def settings(named: Named, runs: Path, published: Roots) -> Section:
    """How the rows were made, and what the paper's settings are, as far as the suite's `paper` profile has them."""
    lines, machines = [], set()
    for name, own in named.items():
        folder = run_folder(own[0].run_id, runs, published)
        spec = read_spec(folder)
        machines.add(machine_of(folder))
        of_paper = RunSpec(method=spec.method, dataset=spec.dataset, profile="paper")
        lines.append({
            "row": name, "kind": own[0].kind, "deployed": own[0].deployed, "holds": yes_no(own[0].holds),
            "seeds": ", ".join(str(row.seed) for row in own),
            "network": spec.arch, "network, paper": of_paper.arch,
            "epochs": budget(spec), "epochs, paper": budget(of_paper),
            "images, n": f"{spec.certify.images:,}, {'≤ ' * (spec.certify.sampling == 'adaptive')}{spec.certify.n:,}",
            "images, n, paper": f"{of_paper.certify.images:,}, {of_paper.certify.n:,}",
        })  # fmt: skip
    text = (
        "Where values differ from the paper's, the likely reason is the network, how long it was trained, or the data. "
        "Epochs of a model that starts from another are those of both. The columns of the paper are the suite's "
        "profile for it, which has the one-epoch recipe of HeatSmoothing; the experiments behind the paper's plots on "
        "CIFAR-10 took five timesteps of 200 epochs.",
        f"Kind says {DESCRIPTIONS['kind']}. Holds says {DESCRIPTIONS['holds']}.",
        f"Machine: {'; '.join(sorted(machines))}.",
    )
    return Section("How the rows were made", 2, text, pd.DataFrame(lines))


def budget(spec: RunSpec) -> str:
    return " + ".join(f"{step.training.epochs:g}" for step in (spec.start, spec) if step)


def conclusions(found: list[Verdict]) -> Iterator[Section]:
    """Where the rows agree with the paper, where they do not, and what they leave open: a paragraph each."""
    if not found:
        return
    paragraphs = []
    for outcome, begins in (
        ("borne out", "Agreement. These come out as the paper has them, over all of their 95 % interval"),
        ("the other way round", "Disagreement. These come out the other way round, over all of theirs"),
        ("undecided", "Undecided. The intervals of these have both signs"),
        ("a median of ties", "Without an interval, because many images share the median's value"),
    ):
        own = [f"{statement_text(v)} ({difference_text(v)})" for v in found if v.outcome == outcome]
        paragraphs.append(f"{begins}: {'; '.join(own) or 'nothing'}.")
    yield Section("What the paper states, and what the rows show", 2, tuple(paragraphs))


def statement_text(verdict: Verdict) -> str:
    statement = verdict.statement
    return f"{statement.metric}, {statement.more} above {statement.less}"


def difference_text(verdict: Verdict) -> str:
    if verdict.interval is None:
        return f"{verdict.difference:+.3f}, no interval"
    low, high = verdict.interval
    if verdict.statement.reduce == "share":
        return f"{100 * verdict.difference:+.1f} points, {100 * low:+.1f} to {100 * high:+.1f}"
    return f"{verdict.difference:+.3f}, {low:+.3f} to {high:+.3f}"


def items(row: Result) -> dict[str, Item]:
    """The paper's items that a row can stand in; for data that it has nothing on, those of CIFAR-10."""
    known = {item.dataset for item in ITEMS.values()}
    source = row.dataset if row.dataset in known else "cifar10"
    return {
        name: replace(item, dataset=row.dataset, sigma=row.sigma or 0.0, top=row.top)
        for name, item in ITEMS.items() if item.dataset == source
    }  # fmt: skip


def item_section(name: str, item: Item, named: Named, records: Records) -> Section | None:
    """An item's table, and its curves where it is a plot; None where no row has it."""
    own = {called: comparable_results(item, rows) for called, rows in named.items()}
    own = {called: rows for called, rows in own.items() if rows}
    if not own:
        return None
    table = compare_with_paper(name, own, records, item).dropna(axis="columns", how="all")
    plot = None
    if item.kind in ("certified", "attacked"):
        axes = ("ℓ2 radius", "certified, %") if item.kind == "certified" else ("ℓ2 distance", "attacked, %")
        lines = {called: (rows[0].method, row_line(item, rows, records)) for called, rows in own.items()}
        given = paper_values()
        plot = paper_plot(given[given["item"] == (name if item == ITEMS[name] else "")], lines, *axes)
    values = [column for column in table if column not in ("row", "source")]
    form = ".1f" if item.kind in ("certified", "attacked") or all("%" in str(c) for c in values) else ".3g"
    for column in values:
        table[column] = table[column].map(lambda value: "–" if pd.isna(value) else format(value, form))
    return Section(f"{name.partition(',')[0]}. {item.title}", 2, (), table.astype(str), plot)


def item_statements(name: str, found: list[Verdict]) -> Iterator[Section]:
    """What the paper states of an item, with the rows' difference."""
    own = [verdict for verdict in found if verdict.statement.item == name.partition(",")[0]]
    if own:
        lines = [
            {"the paper states": statement_text(v), "difference, 95 %": difference_text(v), "": v.outcome} for v in own
        ]
        yield Section("Statements of the paper", 3, (), pd.DataFrame(lines))
