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
from helpers.heat_equation import STEPS, errors
from helpers.pages import COLUMNS, DOCS, ROOT, blocks, fields_of, shown, tables

from leaderboards import board_results as board
from leaderboards import table
from leaderboards.board import rows
from leaderboards.curves import row_records
from leaderboards.field import FieldLine, extra_data, field
from leaderboards.paper.report import budget, name_recipes
from leaderboards.paper.statements import STATEMENTS, judge
from leaderboards.published import PUBLISHED, entries, published_rows
from leaderboards.published.entry import Entry
from leaderboards.published.figures import SHARES
from leaderboards.published.kept import KEPT, records_file
from leaderboards.rows import Row
from leaderboards.verdict import compared
from suite.boards.board import Board, load_board, numbers
from suite.experiments.experiment import count_passes, load_experiment, runs_of
from suite.illustrate import ISLAND, POINT, SIGMA, TIMESTEPS, adversarial_distance, heat_steps
from suite.pipeline import Machine
from suite.spec.run_spec import PROTOCOLS, RunSpec
from suite.statistics.bounds import Convention, certified_accuracy
from suite.store.read import read_spec
from suite.store.records import read_records
from suite.store.result import Result
from suite.training import training_steps

FINDINGS, REPRODUCING = "findings/findings.md", "how-to/reproducing-the-paper.md"


def rows_of(page: str, column: str, under: str = "") -> list[dict[str, str]]:
    [rows] = [rows for heading, rows in tables(DOCS / page) if column in rows[0] and under in heading]
    return rows


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


ON_ONE_NETWORK = ("airbench-w32", "lipschitz-small")
LARGER = ("airbench", "lipschitz-medium")


def at_the_papers_sigma(store: Path) -> dict[str, Result]:
    """Of each method of the paper the row at σ = 0.1, on one network; of several recipes the method's own."""
    kept = [row for row in board("cifar10", store) if row.arch in ON_ONE_NETWORK and row.sigma == 0.1]
    found: dict[str, Result] = {}
    for own in name_recipes(kept).values():
        found.setdefault(own[0].method, own[0])
    return found


def check_papers_columns(line: dict[str, str], row: Result) -> None:
    assert (line["abst. %"], line["ACR"]) == (f"{100 * row.abstained:.1f}", f"{row.acr:.4f}")
    assert line["clean"] == f"{100 * (row.metric('clean_accuracy') or 0):.1f}"
    for column, key in (("Cohen et al.'s", "certified_accuracy"), ("paper's", "certified_accuracy_paper")):
        for radius in ("0.1", "0.2", "0.25"):
            if f"{column}, r = {radius}" in line:
                assert line[f"{column}, r = {radius}"] == f"{100 * getattr(row, key)[radius]:.1f}"


def test_the_rows_at_the_papers_sigma_are_those_kept(tmp_path: Path) -> None:
    kept = at_the_papers_sigma(tmp_path)
    lines = rows_of(FINDINGS, "abst. %", under="Certified accuracy")
    assert [line["row"].strip("`") for line in lines] == [*kept]
    for line in lines:
        check_papers_columns(line, kept[line["row"].strip("`")])


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
    kept = [row for row in rows("cifar10", tmp_path) if row.arch in ON_ONE_NETWORK and row.sigma in (None, 0.25)]
    kept.sort(key=lambda row: -(row.metrics["acr"].value or 0))
    assert rows_of(FINDINGS, "broken", under="Every method") == [line_of(row) for row in kept]
    audited = [row for row in board("cifar10", tmp_path) if row.kind == "margin" and "audit" in row.protocols]
    nearest = {row.method: f"{row.metric('audit.certify.smallest_ratio'):.2f}" for row in audited}
    said = "at {lipschitz} radii of `lipschitz`, and at {lipschitz-heat} of `lipschitz-heat`".format(**nearest)
    assert said in " ".join((DOCS / FINDINGS).read_text().split())


def larger(store: Path) -> dict[str, Row]:
    """The rows of the larger networks, as their table calls them, by ACR."""
    found = [row for row in rows("cifar10", store) if row.arch in LARGER]
    found.sort(key=lambda row: -(row.metrics["acr"].value or 0))
    steps = {row.run_id: read_spec(PUBLISHED / KEPT / row.run_id).parameters.get("timesteps", 1) for row in found}
    return {
        f"`{row.method}`" + (f", {steps[row.run_id]} timesteps" if steps[row.run_id] > 1 else ""): row for row in found
    }


def test_the_table_of_the_larger_networks_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = larger(tmp_path)
    lines = rows_of(FINDINGS, "passes a certificate", under="larger")
    assert [line["row"] for line in lines] == [*kept]
    for line in lines:
        own = line_of(kept[line["row"]]) | {"row": line["row"]}
        assert line == {column: own[column] for column in line}


def audited(row: Result) -> pd.DataFrame:
    """The audit's records of a row's certificates by image; `broken` says which did not hold."""
    found = kept_records(row, "audit").set_index("idx")
    found = found[found["radius"] > 0]
    return found.assign(broken=pd.to_numeric(found["distance"]) < found["radius"])


def test_the_audits_of_larger_networks_in_sentences_are_those_kept(tmp_path: Path) -> None:
    text = " ".join((DOCS / FINDINGS).read_text().split())
    everything = board("cifar10", tmp_path)
    kept = [row for row in everything if row.arch in LARGER]
    holds = {row.run_id: row.holds for row in rows("cifar10", tmp_path) if row.arch in LARGER}
    assert {row.run_id: not row.audit["certify"]["violations"] for row in kept} == holds
    bounds = {
        method: [row.audit["lbound"] for row in kept if row.method == method]
        for method in ("baseline", "heat", "madry", "madry-heat")
    }
    found = {method: {(own["violations"], own["attacked"]) for own in several} for method, several in bounds.items()}
    assert found == {"baseline": {(27, 50)}, "heat": {(0, 50)}, "madry": {(0, 50)}, "madry-heat": {(0, 50)}}
    assert "(none of 50 each is violated), and not for the `baseline` (27 of 50)" in text

    counts = np.zeros((2, 2), dtype=int)
    for method in bounds:
        [large] = [row for row in kept if row.method == method and "timesteps=3" not in row.command]
        [small] = [
            row for row in everything
            if (row.method, row.arch, row.sigma, row.deployed) == (method, "airbench-w32", 0.25, "pass")
            and row.metric("audit.certify.attacked")
        ]  # fmt: skip
        attacked = [set(kept_records(row, "audit")["idx"]) for row in (large, small)]
        for line, row in zip(counts, (large, small), strict=True):
            own = audited(row)
            line += own.loc[own.index.isin(attacked[0] & attacked[1]), "broken"].agg(["sum", "size"]).to_numpy()
    said = "{} of {} certificates of `baseline`, `madry`, `heat` and `madry-heat` are broken, and {} of {} on the small"
    assert said.format(*counts.ravel()) in text

    [large] = [row for row in everything if (row.arch, row.method) == ("resnet34", "baseline")]
    own = (f"{large.audit[name]['violations']} of {large.audit[name]['attacked']}" for name in ("certify", "lbound"))
    assert "were audited: {} are broken, and {} of its L-bounds.".format(*own) in text
    claims = (DOCS / "findings" / "claim-by-claim.md").read_text()
    assert "of larger ones 27 of 50 [at 0.25](findings.md#on-a-larger-network)" in claims
    assert f"and {large.audit['lbound']['violations']} of 50 at 0.1 ([ResNet-34]" in claims


def test_what_a_larger_network_changes_is_what_the_kept_rows_say(tmp_path: Path) -> None:
    kept = larger(tmp_path)
    small = {
        (row.method, row.deployed): row
        for row in rows("cifar10", tmp_path)
        if row.arch in ON_ONE_NETWORK and row.sigma in (None, 0.25) and not row.variant
    }
    for line in rows_of(FINDINGS, "A", under="larger"):
        a = kept[line["A"]]
        b = kept.get(line["B"]) or small[a.method, a.deployed]
        convention: Convention = "paper" if line["convention"] == "paper's" else "standard"
        verdict = compared(a, b, lambda row: row_records(row, tmp_path), convention).verdict
        known = {f"r = {at.radius:g}": at for at in verdict}
        for column in line.keys() - {"A", "B", "convention"}:
            at = known[column]
            d, low, high = (signed(100 * number, 1) for number in (at.difference, at.low, at.high))
            assert line[column] == f"{d} ({low} to {high}) " + (f"**{at.ahead}**" if at.ahead else "–")


def ahead(a: Row, b: Row, store: Path, convention: Convention = "standard") -> tuple[list[float], list[float]]:
    """The radii at which A is ahead, and B."""
    verdict = compared(a, b, lambda row: row_records(row, store), convention).verdict
    return tuple([at.radius for at in verdict if at.ahead == letter] for letter in "AB")  # type: ignore[return-value]


def test_who_is_ahead_on_a_larger_network_is_as_the_pages_say(tmp_path: Path) -> None:
    """The bullets below the tables, and the verdicts of the fourth claim in brackets."""
    kept = larger(tmp_path)
    heat, smoothed, adversarial = (kept[f"`{name}`"] for name in ("heat", "randomized-smoothing", "smoothadv"))
    assert ahead(heat, smoothed, tmp_path) == ([], [0.05, 0.1, 0.15, 0.2, 0.25])
    assert ahead(heat, smoothed, tmp_path, "paper") == ([], [])
    assert ahead(heat, adversarial, tmp_path) == ([0.05], [0.5, 0.75])
    assert ahead(heat, adversarial, tmp_path, "paper") == ([0.05, 0.1, 0.15, 0.2, 0.25], [0.75])
    steps = kept["`heat`, 3 timesteps"]
    assert ahead(steps, heat, tmp_path) == ([0.75], [])
    assert ahead(steps, smoothed, tmp_path) == ([], [0.05])
    small = {row.method: row for row in rows("cifar10", tmp_path) if row.arch == "lipschitz-small"}
    assert ahead(kept["`lipschitz`"], small["lipschitz"], tmp_path) == ([pytest.approx(36 / 255), 0.15], [])
    assert ahead(kept["`lipschitz-heat`"], small["lipschitz-heat"], tmp_path) == ([], [])


def test_the_rows_of_the_papers_network_are_those_kept(tmp_path: Path) -> None:
    kept = {
        f"`{row.method}`": row for row in board("cifar10", tmp_path) if (row.arch, row.source) == ("resnet34", "run")
    }
    lines = rows_of(FINDINGS, "row of ResNet-34")
    assert {line["row of ResNet-34"] for line in lines} == {*kept}
    for line in lines:
        check_papers_columns(line, kept[line["row of ResNet-34"]])
    own = {row.method: row for row in rows("cifar10", tmp_path) if (row.arch, row.source) == ("resnet34", "run")}
    verdict = compared(own["heat"], own["baseline"], lambda row: row_records(row, tmp_path)).verdict
    known = {at.radius: [f"{100 * number:.0f}" for number in (at.difference, at.low, at.high)] for at in verdict}
    said = (
        "{0} points more at r = 0.1, and {3} at 0.25, in Cohen et al.'s convention "
        "(intervals +{1} to +{2} and +{4} to +{5})"
    )
    text = " ".join((DOCS / FINDINGS).read_text().split())
    assert said.format(*known[0.1], *known[0.25]) in text
    large = {row.method: row for row in kept.values()}
    lost = [answered(rest["baseline"]) - answered(rest["heat"]) for rest in (large, at_the_papers_sigma(tmp_path))]
    assert "it loses {:.0f} points, where our recipe on the small network loses {:.0f}".format(*lost) in text


def answered(row: Result) -> float:
    """Certified accuracy at r = 0 in the paper's convention, %."""
    found = kept_records(row, "certify")
    return 100 * certified_accuracy(found["radius"], found["correct"], found["predict"] == -1, 0.0, "paper")


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
        "σ": f"{result.sigma:g}",
        "averaging error": f"{result.metric('averaging.distance'):.3f}",
        "class = the average's": f"{100 * (result.metric('averaging.agreement.share') or 0):.0f} %",
        "class = `randomized-smoothing`'s vote, where that answers": f"{100 * same:.1f} %",
        "Certify's radii broken": broken("certify"),
        "L-bounds broken": broken("lbound"),
        "nearest, of the L-bound": f"{result.metric('audit.lbound.smallest_ratio'):.2f}",
        "probit form broken": broken("probit"),
    }


def test_the_table_of_passes_beside_their_averages_is_that_of_the_kept_rows(tmp_path: Path) -> None:
    kept = {
        (called(row.method, row.run_id), f"{row.sigma:g}"): averaging_line(row)
        for row in board("cifar10", tmp_path)
        if row.arch in ON_ONE_NETWORK
        and row.deployed == "pass"
        and {"lbound", "audit"} <= {*row.protocols}
        and row.metric("agreement.stochastic") is not None
    }
    lines = rows_of(FINDINGS, "averaging error")
    assert {(line["pass of"], line["σ"]) for line in lines} == {*kept}
    for line in lines:
        assert line == kept[line["pass of"], line["σ"]]


def signed(number: float, digits: int) -> str:
    return f"{number:+.{digits}f}".replace("-", "−")


def kept_records(row: Result, protocol: str) -> pd.DataFrame:
    return read_records(records_file(PUBLISHED / KEPT / row.run_id, protocol))


def test_the_audits_at_the_papers_sigma_are_those_kept(tmp_path: Path) -> None:
    kept = at_the_papers_sigma(tmp_path)
    lines = rows_of(FINDINGS, "certificates broken")
    assert [line["row"].strip("`") for line in lines] == [*kept]
    for line in lines:
        found = kept[line["row"].strip("`")].audit
        for column, name in (("certificates broken", "certify"), ("L-bounds broken", "lbound")):
            own = found[name]
            assert line[column] == (f"{own['violations']} of {own['attacked']}" if own["attacked"] else "–")
        for column, name in (("nearest, of the radius", "certify"), ("nearest, of the L-bound", "lbound")):
            nearest = found[name]["smallest_ratio"]
            assert line[column] == ("–" if nearest is None else f"{nearest:.2f}")


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


def test_adversarial_distances_are_those_of_the_kept_records(tmp_path: Path) -> None:
    kept = at_the_papers_sigma(tmp_path)
    for line in rows_of(FINDINGS, "nearest found, mean"):
        row = kept[line["row"].strip("`")]
        assert line["L-bound, mean"] == f"{row.metric('lbound.mean'):.3f}"
        for column, name in (("PGD", "pgd"), ("DDN", "ddn"), ("nearest found", "best")):
            assert line[f"{column}, mean"] == f"{row.metric(f'attack.{name}.mean'):.3f}"
        assert line["nearest found, median"] == f"{row.metric('attack.best.median'):.3f}"
    heat = kept["heat"]
    for line in rows_of(FINDINGS, "`heat` minus"):
        other = kept[line["`heat` minus"].strip("`")]
        for statement in STATEMENTS:
            if (
                statement.item == "Table 5"
                and statement.reduce == "mean"
                and other.method in (statement.more, statement.less)
            ):
                pair = ([kept_records(row, statement.protocol)] for row in (heat, other))
                verdict = judge(statement, *pair)
                assert verdict is not None
                low, high = verdict.interval or (0, 0)
                found = f"{signed(verdict.difference, 3)} ({signed(low, 3)} to {signed(high, 3)})"
                assert line[statement.metric.removeprefix("mean ")] == found
