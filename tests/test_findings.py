"""The numbers in the documentation are those of the code, of the published logs and of the kept rows."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.findings import (
    FINDINGS,
    ON_ONE_NETWORK,
    at_the_papers_sigma,
    called,
    clean_on_certified,
    kept_records,
    line_of,
    papers_columns,
    rows_of,
    seeds_at_the_papers_sigma,
    signed,
)
from helpers.heat_equation import STEPS, errors
from helpers.pages import COLUMNS, DOCS, ROOT, blocks, fields_of, shown, tables

from leaderboards import board_results as board
from leaderboards import table
from leaderboards.board import rows
from leaderboards.curves import row_records
from leaderboards.field import FieldLine, extra_data, field
from leaderboards.paper.report import COMPARED, budget
from leaderboards.paper.statements import STATEMENTS, judge
from leaderboards.published import PUBLISHED, entries, published_rows
from leaderboards.published.entry import Entry
from leaderboards.published.figures import SHARES
from leaderboards.published.kept import KEPT
from leaderboards.verdict import compared
from suite.boards.board import Board, load_board, numbers
from suite.experiments.experiment import count_passes, load_experiment, runs_of
from suite.illustrate import ISLAND, POINT, SIGMA, TIMESTEPS, adversarial_distance, heat_steps
from suite.pipeline import Machine
from suite.spec.run_spec import PROTOCOLS, RunSpec
from suite.statistics.intervals import mean_interval
from suite.store.read import read_spec
from suite.store.result import Result
from suite.training import training_steps

REPRODUCING = "how-to/reproducing-the-paper.md"


def test_the_readmes_table_is_the_boards() -> None:
    found = table("cifar10", Path("nowhere"))
    found = found[
        (found["data"] == "CIFAR-10 (JPEG)") & (found["images"] == 1_000) & found["arch"].isin(ON_ONE_NETWORK)
    ]
    lines = [line_of_readme(row) for _, row in found.sort_values("acr", ascending=False, kind="stable").iterrows()]
    [(_, written)] = [(heading, rows) for heading, rows in tables(ROOT / "README.md") if "certificate" in rows[0]]
    assert written == lines


def published_line_of_readme(line: FieldLine) -> dict[str, str]:
    return {
        "method": f"`{line.method}`",
        "year": line.year,
        "other training data": line.extra_data or "–",
        **{f"r = {r:g}": f"{100 * line.at[r].share:.1f}" for r in (0.25, 0.5, 1.0, 1.5, 2.0)},
    }


def test_the_readmes_table_of_published_results_is_the_boards_first(tmp_path: Path) -> None:
    [(_, written)] = [
        (heading, rows) for heading, rows in tables(ROOT / "README.md") if "other training data" in rows[0]
    ]
    recorded = [line for line in field("cifar10", tmp_path) if line.source == "records"]
    assert written == [published_line_of_readme(line) for line in recorded]


def line_of_readme(row: pd.Series[Any]) -> dict[str, str]:
    spread = row["spread"].get("acr")
    audited = "" if pd.isna(row["audit.attacked"]) else f"{row['audit.violations']:.0f} of {row['audit.attacked']:.0f}"
    return {
        "method": called(row["method"], row["run_id"]),
        "deploys": row["deployed"],
        "certificate": row["kind"],
        "holds for it": "yes" if row["holds"] else "**no**",
        "seeds": str(len(row["seeds"])),
        "clean": f"{100 * row['clean_accuracy']:.1f}",
        **{f"r = {radius:g}": f"{100 * row[f'r={radius}']:.1f}" for radius in (0.25, 0.5, 0.75)},
        "ACR": f"{row['acr']:.3f}" + (f" ± {spread:.3f}" if spread else ""),
        "broken": audited or "–",
    }


def test_the_passes_announced_are_those_of_the_code() -> None:
    """In millions of forward passes of one image."""
    sizes = {"cifar10": (50_000, 10_000), "imagenet": (1_281_167, 50_000)}
    for row in rows_of(REPRODUCING, "train"):
        column = COLUMNS[row["profile"]]
        train, test = sizes[column["dataset"]]
        spec = RunSpec(method=row["method"].strip("`"), **column)
        images = training_steps(spec.training, train) * spec.training.batch_size
        counts = {"train": images * spec.build_method().passes}
        counts |= {protocol: PROTOCOLS.get(protocol).passes(spec, test) for protocol in PROTOCOLS.paths()}
        for protocol, count in counts.items():
            assert row[protocol] == f"{float(f'{count / 1e6:.3g}'):g}", (row["method"], row["profile"], protocol)


def test_the_hours_on_imagenet_follow_from_the_passes() -> None:
    [heat] = [row for row in rows_of(REPRODUCING, "train")
              if row["profile"] == "paper, ImageNet" and row["method"] == "`heat`"]  # fmt: skip
    for row in rows_of(REPRODUCING, "HeatSmoothing"):
        step = 3 * float(row["training, images/s"])
        assert row["HeatSmoothing"] == f"{float(heat['train']) * 1e6 / step / 3600:.1f} h"
        assert row["baseline, 90 epochs"] == f"{346e6 / step / 3600:.0f} h"
        if row["inference, images/s"] != "not given":
            seconds = float(heat["certify"]) * 1e6 / float(row["inference, images/s"])
            assert row["certificates"] == f"{seconds / 60:.0f} min"


def test_the_passes_of_the_experiments_are_those_of_the_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("suite.spec.fill_in.fast_precision", lambda: "fp32")
    sizes = {"cifar10": (50_000, 10_000), "imagenet": (1_281_167, 50_000)}
    for row in rows_of(REPRODUCING, "experiment"):
        name, _, extent = row["experiment"].partition(", ")
        if extent:
            study = load_experiment("paper").select(**({} if extent == "whole" else {"sigmas": [0.1], "seeds": [0]}))
            specs = runs_of(study, "cifar10", profile=name)
        else:
            specs = runs_of(load_experiment(name))
        train, test = sizes[specs[0].dataset]
        data: Any = SimpleNamespace(train=range(train), test=range(test))
        passes = count_passes(specs, data, Machine(runs=tmp_path)) / 1e6
        assert (row["runs"], row["forward passes"]) == (str(len(specs)), f"{float(f'{passes:.3g}'):g}")


def test_the_board_in_the_documentation_is_cifar10s() -> None:
    content = next(
        content for _, language, content in blocks(DOCS / "how-to" / "adding-a-board.md") if language == "toml"
    )
    settings = tomllib.loads(content)
    assert Board(**settings | {name: numbers(settings[name]) for name in ("radii", "reported")}) == load_board(
        "cifar10"
    )
    assert fields_of(DOCS / "how-to" / "adding-a-board.md", "Adding a board", "field") == {*settings}


def test_the_errors_in_one_dimension_are_those_computed() -> None:
    for row in rows_of(FINDINGS, "n_T = 1"):
        found = errors(STEPS["one step"], row["`lambda`"].strip("`"), 0.5 * {"σ²": 1, "2σ²": 2**0.5}[row["against"]])
        for timesteps in (1, 2, 4, 8, 16, 32, 64):
            assert row[f"n_T = {timesteps}"] == f"{found[timesteps]:.4f}"


def test_the_distances_of_figure_5_are_those_computed() -> None:
    x = torch.linspace(-2, 2, 801, dtype=torch.float64)
    for row in rows_of(FINDINGS, "f_0"):
        constant: Any = row["`lambda`"].strip("`")
        iterates = heat_steps(ISLAND, x, sigma=SIGMA, timesteps=TIMESTEPS, constant=constant)
        for k, v in enumerate(iterates):
            assert row[f"f_{k}"] == f"{adversarial_distance(v, x, POINT):.2f}"


def test_the_two_conventions_are_those_of_the_published_logs() -> None:
    for row in rows_of(FINDINGS, "abstained"):
        [published] = [
            entry for entry in published_rows(row["data"])
            if f"{entry.method} {entry.variant}".strip() == row["row"] and shown(entry.sigma) == row["σ"]
        ]  # fmt: skip
        assert row["abstained"] == f"{100 * published.abstained:.1f}"
        for column, key in (("standard", "certified_accuracy"), ("paper's", "certified_accuracy_paper")):
            for radius in ("0.25", "0.5", "1.0"):
                if f"{column}, r = {radius}" in row:
                    assert row[f"{column}, r = {radius}"] == f"{100 * getattr(published, key)[radius]:.1f}"


def test_the_rows_at_the_papers_sigma_are_those_kept(tmp_path: Path) -> None:
    kept = at_the_papers_sigma(tmp_path)
    lines = rows_of(FINDINGS, "abst. %", under="Certified accuracy")
    assert [line["row"].strip("`") for line in lines] == [*kept]
    means = {row.run_id: row for row in rows("cifar10", tmp_path)}
    for line in lines:
        own = papers_columns(means[kept[line["row"].strip("`")].run_id])
        assert line == {"row": line["row"]} | {column: own[column] for column in line if column != "row"}


def test_the_table_of_all_methods_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = [row for row in rows("cifar10", tmp_path) if row.arch in ON_ONE_NETWORK and row.sigma in (None, 0.25)]
    kept.sort(key=lambda row: -(row.metrics["acr"].value or 0))
    assert rows_of(FINDINGS, "broken", under="Every method") == [line_of(row) for row in kept]
    audited = [row for row in board("cifar10", tmp_path) if row.kind == "margin" and "audit" in row.protocols]
    nearest = {row.method: f"{row.metric('audit.certify.smallest_ratio'):.2f}" for row in audited}
    said = "at {lipschitz} radii of `lipschitz`, and at {lipschitz-heat} of `lipschitz-heat`".format(**nearest)
    assert said in " ".join((DOCS / FINDINGS).read_text().split())


def test_methods_that_train_for_the_vote_stand_beside_the_published_logs(tmp_path: Path) -> None:
    logs = [entry for entry in entries("cifar10").values() if entry.sigma == 0.25 and entry.arch == "resnet110"]
    own = {
        row.method: row.metrics["acr"].value
        for row in rows("cifar10", tmp_path)
        if row.arch in ON_ONE_NETWORK and row.deployed == "vote" and row.sigma == 0.25
    }
    lines = rows_of(FINDINGS, "trained by")
    for line in lines:
        method = line["trained by"].strip("`")
        best = max(log.acr for log in logs if log.method == method and log.images == 10_000 and not extra_data(log))
        assert (line["published"], line["here"]) == (f"{best:.3f}", f"{own[method]:.3f}")
    published = [line["published"] for line in lines]
    assert published == sorted(published, reverse=True)
    here = [line["trained by"] for line in sorted(lines, key=lambda line: line["here"], reverse=True)]
    assert [name for name in here if name != "`macer`"] == [
        line["trained by"] for line in lines if line["trained by"] != "`macer`"
    ]
    assert here[-1] == "`macer`"


def test_the_distribution_of_p_a_is_that_of_the_published_logs() -> None:
    """Of each method the log with the largest ACR, without extra data."""
    best: dict[str, Entry] = {}
    for entry in entries("cifar10").values():
        if (entry.sigma, entry.arch, entry.images) == (0.5, "resnet110", 10_000) and not extra_data(entry):
            best[entry.method] = max(best.get(entry.method, entry), entry, key=lambda log: log.acr)
    lines = rows_of(FINDINGS, "p_A ≥ 0.999")
    assert {line["largest ACR of"].strip("`") for line in lines} == {*best}
    for line in lines:
        entry = best[line["largest ACR of"].strip("`")]
        assert line["ACR"] == f"{entry.acr:.3f}"
        assert line["r = 0.25"] == f"{100 * (entry.share(0.25) or 0):.1f}"
        for p in ("0.5", "0.9", "0.99", "0.999"):
            above = entry.bounds[0][np.searchsorted(SHARES, float(p) - 1e-9) :].sum()
            assert line[f"p_A ≥ {p}"] == f"{100 * above / entry.images:.1f}", (line, p)


def test_numbers_at_the_papers_sigma_within_sentences_are_those_kept(tmp_path: Path) -> None:
    text = " ".join((DOCS / FINDINGS).read_text().split())
    kept = seeds_at_the_papers_sigma(tmp_path)
    [heat] = [row for row in rows("cifar10", tmp_path) if row.run_id == kept["heat"][0].run_id]
    assert f"the pass of `heat` has {100 * clean_on_certified(heat):.1f} % on them" in text
    pairs = list(zip(kept["heat"], kept["randomized-smoothing"], strict=True))
    bounds = [signed((a.metric("lbound.mean") or 0) - (b.metric("lbound.mean") or 0), 3) for a, b in pairs]
    assert "of `randomized-smoothing` ({} and {} for the two seeds)".format(*bounds) in text
    points = [signed(100 * (a.certified_accuracy["0.25"] - b.certified_accuracy["0.25"]), 1) for a, b in pairs]
    assert "at r = 0.25 the two seeds have {} and {} points".format(*points) in text
    paper, others = ([row.metric("timing.ratio.full") or 0 for method, (row, *_) in kept.items() if
                      (method in COMPARED) == known] for known in (True, False))  # fmt: skip
    assert f"as long as {min(paper):.0f} to {max(paper):.0f} single passes" in text
    assert f"it is {min(others):.0f} to {max(others):.0f}, and" in text


def averaging_line(result: Result) -> dict[str, str]:
    """The line of the table of passes that a result with an L-bound and an audit has."""
    same = "–"
    if result.metric("agreement.stochastic") is not None:
        found = kept_records(result, "agreement")
        answered = found[found["stochastic"] != -1]
        same = f"{100 * (answered['predict'] == answered['stochastic']).mean():.1f} %"

    def broken(name: str) -> str:
        return f"{result.metric(f'audit.{name}.violations'):.0f} of {result.metric(f'audit.{name}.attacked'):.0f}"

    return {
        "pass of": called(result.method, result.run_id),
        "σ": f"{result.sigma:g}",
        "averaging error": f"{result.metric('averaging.distance'):.3f}",
        "class = the average's": f"{100 * (result.metric('averaging.agreement.share') or 0):.0f} %",
        "class = `randomized-smoothing`'s vote, where that answers": same,
        "Certify's radii broken": broken("certify"),
        "L-bounds broken": broken("lbound"),
        "nearest, of the L-bound": f"{result.metric('audit.lbound.smallest_ratio'):.2f}",
        "probit form broken": broken("probit"),
    }


def passes_beside_averages(store: Path) -> dict[tuple[str, str], Result]:
    """The kept rows of passes whose L-bounds were searched, as the table calls them."""
    found = [row for row in board("cifar10", store) if row.arch in ON_ONE_NETWORK and row.deployed == "pass"]
    found = [row for row in found if {"lbound", "audit"} <= {*row.protocols} and row.method in {"average", *COMPARED}]
    return {
        (called(row.method, row.run_id), f"{row.sigma:g}"): row
        for row in sorted(found, key=lambda row: row.seed or 0, reverse=True)  # of several seeds the first
        if row.metric("audit.lbound.attacked")
    }


def test_the_table_of_passes_beside_their_averages_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = {name: averaging_line(row) for name, row in passes_beside_averages(tmp_path).items()}
    lines = rows_of(FINDINGS, "averaging error")
    assert {(line["pass of"], line["σ"]) for line in lines} == {*kept}
    for line in lines:
        assert line == kept[line["pass of"], line["σ"]]


def test_how_much_nearer_to_the_average_an_epoch_brings_a_pass_is_that_of_the_kept_records(tmp_path: Path) -> None:
    kept = passes_beside_averages(tmp_path)
    text = " ".join((DOCS / FINDINGS).read_text().split())

    def gain(method: str, start: str, sigma: str) -> list[str]:
        rows = [kept[f"`{name}`", sigma] for name in (start, method)]
        assert len({row.seed for row in rows}) == 1
        before, after = (kept_records(row, "lbound").set_index("idx")["distance"] for row in rows)
        nearer = before - after
        return [signed(number, 3).removeprefix("+") for number in (nearer.mean(), *(mean_interval(nearer) or ()))]

    assert "nearer by {} ({} to {}) at 0.25".format(*gain("heat", "baseline", "0.25")) in text
    assert "and not at 0.1 ({}, {} to {})".format(*gain("heat", "baseline", "0.1")) in text
    assert "by {} ({} to {}) at 0.25, and further away".format(*gain("madry-heat", "madry", "0.25")) in text
    mean, low, high = (number.removeprefix("−") for number in gain("madry-heat", "madry", "0.1"))
    assert f"further away by {mean} ({high} to {low}) at 0.1" in text


def audit_line(seeds: list[Result]) -> dict[str, str]:
    """What the searches of a row's seeds found together."""
    found = {"row": f"`{seeds[0].method}`", "deployed": str(seeds[0].deployed)}
    for broken, nearest, name in (
        ("certificates broken", "nearest, of the radius", "certify"),
        ("L-bounds broken", "nearest, of the L-bound", "lbound"),
    ):
        of_it = [row.audit[name] for row in seeds if row.audit[name]["attacked"]]
        counts = [sum(own[key] for own in of_it) for key in ("violations", "attacked")]
        found[broken] = "{} of {}".format(*counts) if of_it else "–"
        found[nearest] = f"{min(own['smallest_ratio'] for own in of_it):.2f}" if of_it else "–"
    return found


def test_the_audits_at_the_papers_sigma_are_those_kept(tmp_path: Path) -> None:
    kept = seeds_at_the_papers_sigma(tmp_path)
    assert rows_of(FINDINGS, "certificates broken") == [audit_line(seeds) for seeds in kept.values()]
    each = [row.audit["certify"]["violations"] for row in kept["heat"]]
    assert "here for {} and {} of the 47 that were attacked of its two seeds".format(*each) in " ".join(
        (DOCS / FINDINGS).read_text().split()
    )


def test_the_recipes_of_heat_are_those_kept(tmp_path: Path) -> None:
    at_sigma = [row for row in rows("cifar10", tmp_path) if (row.sigma, row.source) == (0.1, "run")]
    kept = {row.variant or "usual": row for row in at_sigma if row.method == "heat"}
    [smoothed] = [row for row in at_sigma if row.method == "randomized-smoothing"]
    own = {"the usual": kept["usual"], "`randomized-smoothing`": smoothed}
    lines = rows_of(FINDINGS, "recipe of `heat`")
    assert {line["recipe of `heat`"].strip("`") for line in lines} == {*kept}
    for line in lines:
        row = kept[line["recipe of `heat`"].strip("`")]
        assert line["epochs"] == budget(read_spec(PUBLISHED / KEPT / row.run_id))
        assert line["ACR"] == f"{row.metrics['acr'].value:.4f}"
        assert line["clean"] == f"{100 * (row.metrics['clean_accuracy'].value or 0):.1f}"
        for column, cell in line.items():
            if column.startswith("r = "):
                share = row.curves["certified_accuracy"][column.removeprefix("r = ")].value
                assert cell == f"{100 * (share or 0):.1f}"
            elif column.startswith("minus ") and cell != "–":
                other, _, radius = column.removeprefix("minus ").partition(", r = ")
                verdict = compared(row, own[other], lambda row: row_records(row, tmp_path)).verdict
                [at] = [at for at in verdict if at.radius == float(radius)]
                d, low, high = (signed(100 * number, 1) for number in (at.difference, at.low, at.high))
                assert cell == f"{d} ({low} to {high})"


def distances_line(seeds: list[Result]) -> dict[str, str]:
    """The mean distances of a row, over the seeds that have them."""

    def mean(metric: str) -> str:
        found = [value for row in seeds if (value := row.metric(metric)) is not None]
        return f"{np.mean(found):.3f}"

    return {
        "row": f"`{seeds[0].method}`",
        "L-bound, mean": mean("lbound.mean"),
        **{f"{name}, mean": mean(f"attack.{name.lower()}.mean") for name in ("PGD", "DDN")},
        "nearest found, mean": mean("attack.best.mean"),
        "nearest found, median": mean("attack.best.median"),
    }


def test_adversarial_distances_are_those_of_the_kept_records(tmp_path: Path) -> None:
    kept = seeds_at_the_papers_sigma(tmp_path)
    assert rows_of(FINDINGS, "nearest found, mean") == [distances_line(seeds) for seeds in kept.values()]
    for line in rows_of(FINDINGS, "`heat` minus"):
        assert line == line_of_differences(kept["heat"], kept[line["`heat` minus"].strip("`")])


def line_of_differences(heat: list[Result], other: list[Result]) -> dict[str, str]:
    """The paper's statements on mean distances, judged on the seeds that have them."""
    found = {"`heat` minus": f"`{other[0].method}`"}
    for statement in STATEMENTS:
        about = statement.item == "Table 5" and statement.reduce == "mean"
        if about and other[0].method in (statement.more, statement.less):
            records = (
                [kept_records(row, statement.protocol) for row in seeds if statement.protocol in row.protocols]
                for seeds in (heat, other)
            )
            verdict = judge(statement, *records)
            assert verdict is not None
            low, high = verdict.interval or (0, 0)
            said = f"{signed(verdict.difference, 3)} ({signed(low, 3)} to {signed(high, 3)})"
            found[statement.metric.removeprefix("mean ")] = said
    return found
