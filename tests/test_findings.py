"""The numbers in the documentation are those of the code, of the published logs and of the kept rows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.heat_equation import STEPS, errors
from helpers.pages import COLUMNS, DOCS, ROOT, blocks, fields_of, shown, tables

from leaderboards import board_results as board
from leaderboards import table
from leaderboards.board import rows
from leaderboards.compare import difference, paired
from leaderboards.field import extra_data
from leaderboards.paper.report import budget
from leaderboards.paper.statements import STATEMENTS, judge
from leaderboards.published import PUBLISHED, entries, published_rows
from leaderboards.published.entry import Entry
from leaderboards.published.figures import SHARES
from leaderboards.published.kept import KEPT, records_file
from leaderboards.rows import Row
from suite.boards.board import Board, load_board, numbers
from suite.experiments.experiment import count_passes, load_experiment, runs_of
from suite.illustrate import ISLAND, POINT, SIGMA, TIMESTEPS, adversarial_distance, heat_steps
from suite.pipeline import Machine
from suite.spec.run_spec import PROTOCOLS, RunSpec
from suite.store.read import read_spec
from suite.store.records import read_records
from suite.store.result import Result
from suite.training import training_steps

FINDINGS, REPRODUCING = "findings/findings.md", "how-to/reproducing-the-paper.md"


def rows_of(page: str, column: str) -> list[dict[str, str]]:
    [rows] = [rows for _, rows in tables(DOCS / page) if column in rows[0]]
    return rows


def test_the_readmes_table_is_the_boards() -> None:
    found = table("cifar10", Path("nowhere"))
    found = found[(found["data"] == "CIFAR-10 (JPEG)") & (found["images"] == 1_000)]
    lines = [line_of_readme(row) for _, row in found.sort_values("rank", kind="stable").iterrows()]
    [(_, written)] = [(heading, rows) for heading, rows in tables(ROOT / "README.md") if "certificate" in rows[0]]
    assert written == lines


def line_of_readme(row: pd.Series[Any]) -> dict[str, str]:
    best, worst = row["best_rank"], row["worst_rank"]
    spread = row["spread"].get("acr")
    audited = "" if pd.isna(row["audit.attacked"]) else f"{row['audit.violations']:.0f} of {row['audit.attacked']:.0f}"
    return {
        "rank": f"{best}" if best == worst else f"{best}–{worst}",
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


def test_the_studys_rows_in_the_findings_are_those_kept(tmp_path: Path) -> None:
    kept = {(row.method, row.sigma): row for row in board("cifar10", tmp_path) if row.arch == "resnet8"}
    for line in rows_of(FINDINGS, "abst. %"):
        row = kept[line["row"].strip("`"), float(line["σ"])]
        assert (line["abst. %"], line["ACR"]) == (f"{100 * row.abstained:.1f}", f"{row.acr:.4f}")
        for column, key in (("Cohen et al.'s", "certified_accuracy"), ("paper's", "certified_accuracy_paper")):
            for radius in ("0.1", "0.2"):
                assert line[f"{column}, r = {radius}"] == f"{100 * getattr(row, key)[radius]:.1f}"


ON_ONE_NETWORK = ("airbench-w32", "lipschitz-small")


def called(method: str, run: str) -> str:
    start = read_spec(PUBLISHED / KEPT / run).start
    return f"`{method}`" + (f", started from `{start.method}`" if method == "average" and start else "")


def line_of(row: Row) -> dict[str, str]:
    """The line of the table of all methods that a row of the board has."""
    vote, audit = row.kind == "vote", row.metrics["audit"]
    certified = row.curves["certified_accuracy"]
    return {
        "row": called(row.method, row.run_id),
        "epochs": budget(read_spec(PUBLISHED / KEPT / row.run_id)),
        "certified": row.kind,
        "deployed": str(row.deployed),
        "holds": "yes" if row.holds else "no",
        "seeds": str(len(row.seeds)),
        "clean": f"{100 * (row.metrics['clean_accuracy'].value or 0):.1f}",
        **{f"r = {r}": f"{100 * (certified[r].value or 0):.1f}" for r in ("0.1", "0.25", "0.5", "0.75")},
        "ACR": f"{row.metrics['acr'].value:.3f}",
        "± over seeds": f"{row.metrics['acr'].spread:.3f}" if row.metrics["acr"].spread is not None else "–",
        "passes a certificate": f"{round(row.metrics['draws'].value or 0):,}" if vote else "1",
        "passes an answer": str(row.n0) if row.deployed == "vote" else "1",
        "broken": f"{audit.value:.0f} of {audit.of:.0f}" if audit.of else "–",
    }


def test_the_table_of_all_methods_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = [row for row in rows("cifar10", tmp_path) if row.arch in ON_ONE_NETWORK]
    kept.sort(key=lambda row: -(row.metrics["acr"].value or 0))
    assert rows_of(FINDINGS, "broken") == [line_of(row) for row in kept]
    [margins] = [row for row in board("cifar10", tmp_path) if row.method == "lipschitz" and "audit" in row.protocols]
    nearest = margins.metric("audit.certify.smallest_ratio")
    assert f"the nearest finding is at {nearest:.2f} radii" in " ".join((DOCS / FINDINGS).read_text().split())


def test_methods_that_train_for_the_vote_stand_beside_the_published_logs(tmp_path: Path) -> None:
    logs = [entry for entry in entries("cifar10").values() if entry.sigma == 0.25 and entry.arch == "resnet110"]
    own = {
        row.method: row.metrics["acr"].value
        for row in rows("cifar10", tmp_path)
        if row.arch in ON_ONE_NETWORK and row.deployed == "vote"
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


def averaging_line(result: Result) -> dict[str, str]:
    """The line of the table of passes that a result with an L-bound and an audit has."""
    folder = PUBLISHED / KEPT / result.run_id
    found = read_records(records_file(folder, "agreement"))
    answered = found[found["stochastic"] != -1]
    same = (answered["predict"] == answered["stochastic"]).mean()

    def broken(name: str) -> str:
        return f"{result.metric(f'audit.{name}.violations'):.0f} of {result.metric(f'audit.{name}.attacked'):.0f}"

    return {
        "pass of": called(result.method, result.run_id),
        "averaging error": f"{result.metric('averaging.distance'):.3f}",
        "class = the average's": f"{100 * (result.metric('averaging.agreement.share') or 0):.0f} %",
        "class = `randomized-smoothing`'s vote": f"{100 * same:.1f} %",
        "Certify's radii broken": broken("certify"),
        "L-bounds broken": broken("lbound"),
        "nearest, of the L-bound": f"{result.metric('audit.lbound.smallest_ratio'):.2f}",
        "probit form broken": broken("probit"),
    }


def test_the_table_of_passes_beside_their_averages_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = {
        (called(row.method, row.run_id)): averaging_line(row)
        for row in board("cifar10", tmp_path)
        if row.arch in ON_ONE_NETWORK
        and row.deployed == "pass"
        and {"lbound", "audit", "agreement"} <= {*row.protocols}
    }
    lines = rows_of(FINDINGS, "averaging error")
    assert {line["pass of"] for line in lines} == {*kept}
    for line in lines:
        assert line == kept[line["pass of"]]


def test_the_intervals_in_the_findings_are_those_of_the_kept_records() -> None:
    text = " ".join((DOCS / FINDINGS).read_text().split())

    def records(method: str, sigma: str, protocol: str) -> pd.DataFrame:
        [folder] = (PUBLISHED / KEPT).glob(f"{method}-cifar10-resnet8-sigma{sigma}-seed0-*")
        return read_records(folder / f"{protocol}.jsonl")

    def signed(number: float, digits: int) -> str:
        return f"{number:+.{digits}f}".replace("-", "−")

    for figure, other in (("mean DDN distance", "randomized-smoothing"), ("mean DDN distance", "smoothadv")):
        [statement] = [own for own in STATEMENTS if (own.metric, own.less) == (figure, other)]
        verdict = judge(statement, [records("heat", "0.1", "attack")], [records(other, "0.1", "attack")])
        assert verdict is not None
        low, high = verdict.interval or (0, 0)
        assert f"{signed(verdict.difference, 3)} ({signed(low, 3)} to {signed(high, 3)}) against `{other}`" in text
    for r in (0.15, 0.25):
        mine = (own for own in STATEMENTS if own.less == "randomized-smoothing")
        [statement] = [own for own in mine if own.metric.endswith(f" {r:g}")]
        pair = [[records(method, "0.1", "certify")] for method in ("heat", "randomized-smoothing")]
        verdict = judge(statement, *pair)
        assert verdict is not None
        low, high = (signed(100 * bound, 1) for bound in verdict.interval or (0, 0))
        assert f"{signed(100 * verdict.difference, 1)}{' points' * (r == 0.15)} ({low} to {high})" in text
    for more, less, sigma, r in (
        ("heat", "randomized-smoothing", "0.1", 0.1),
        ("heat", "baseline", "0.1", 0.1),
        ("heat", "baseline", "0.1", 0.2),
        ("madry-heat", "madry", "0.1", 0.1),
        ("madry-heat", "madry", "0.25", 0.25),
    ):
        shared = paired(records(more, sigma, "certify"), records(less, sigma, "certify"))
        [line] = (100 * difference(shared, at=[r])[["difference", "low", "high"]]).to_numpy().tolist()
        found, low, high = (signed(number, 1) for number in line)
        assert re.search(rf"{re.escape(found)}( points)? \({re.escape(low)} to {re.escape(high)}\)", text)


def test_the_audits_in_the_findings_are_those_kept(tmp_path: Path) -> None:
    """ "19 of 80" and the like, of the rows at both σ."""
    text = " ".join((DOCS / FINDINGS).read_text().split())
    kept = {(row.method, row.sigma): row.audit for row in board("cifar10", tmp_path) if row.arch == "resnet8"}
    for method in ("baseline", "heat", "madry", "madry-heat"):
        for sigma in (0.1, 0.25):
            found = kept[method, sigma]["certify"]
            assert f"{found['violations']} of {found['attacked']}" in text
    for sigma, total in ((0.1, 193), (0.25, 180)):
        voted = [kept[method, sigma]["certify"] for method in ("randomized-smoothing", "smoothadv")]
        assert (sum(found["violations"] for found in voted), sum(found["attacked"] for found in voted)) == (0, total)
        assert f"0 of {total}" in text
