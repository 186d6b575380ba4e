"""Rows, boards and MLflow, from runs whose figures are counted by hand."""

from __future__ import annotations

import math
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.first import first_rows
from helpers.rows import RECORDS, margin, result, store, summary
from rich.console import Console
from scipy.special import ndtri

from leaderboards import board_results, envelopes, groups, load_board, rows, table
from leaderboards.curves import row_curve, row_records, row_source
from leaderboards.envelope import envelope
from leaderboards.published.kept import records_file
from leaderboards.render.cells import blocks
from leaderboards.render.interactive import interactive_table
from leaderboards.render.terminal import leaderboard_tables, result_table
from leaderboards.whose import tell_whose
from suite.errors import UserError
from suite.spec.run_spec import RunSpec
from suite.statistics.intervals import averaged_share, mean_interval
from suite.store.result import Result


def test_a_row_is_what_its_records_say() -> None:
    row = result()
    assert row["certified_accuracy"]["0.1"] == 3 / 5  # R ≥ r, abstentions wrong
    assert row["certified_accuracy_paper"]["0.1"] == 2 / 4  # R > r, abstentions dropped
    assert row["certified_accuracy"]["0.2"] == 2 / 5
    assert row["acr"] == pytest.approx((0.5 + 0.1 + 0.2) / 5)
    assert row["abstained"] == 1 / 5
    assert row["clean_accuracy"] == 4 / 5  # of the class that the selection draws chose
    assert row["single_pass_accuracy"] == 3 / 4
    assert result("baseline")["clean_accuracy"] == 3 / 4  # of the single pass that is deployed


def test_the_claim_says_of_which_classifier_it_holds() -> None:
    assert "the vote is what this row deploys" in result()["claim"]
    baseline = {**RECORDS.to_dict("list"), "n0": [0] * 5}
    spec = RunSpec(method="baseline", dataset="digits")
    row = summary(spec, {"certify": pd.DataFrame(baseline)})
    assert "not guaranteed of the single pass" in row["claim"]


def test_rows_that_are_not_comparable_stand_in_different_tables(tmp_path: Path) -> None:
    good, better, other = result(), {**result(lr=0.2), "acr": 0.9}, result(n=500)
    store(tmp_path, good, better, other)
    frame = table("digits", tmp_path)
    assert frame[["n", "rank", "acr"]].to_numpy().tolist() == [
        [1000, 1, 0.9], [1000, 2, good["acr"]], [500, 1, other["acr"]],
    ]  # fmt: skip
    assert frame.loc[0, "r=0.2"] == 2 / 5
    assert table("digits", tmp_path, "paper").loc[0, "r=0.1"] == 2 / 4
    console = Console(width=105, record=True)
    for block in leaderboard_tables(frame, paper_convention=False):
        console.print(block)
    text = console.export_text()
    assert text.count(" cnn  vote vote  yes    80.0 60.0") == 3  # nothing cut off
    assert re.findall(r"randomized-smoothing(.*?) +cnn ", text) == [" (lr=0.2)", "", ""]
    assert "…" not in text
    assert "p_A" not in text
    wide = Console(width=200, record=True)
    for block in leaderboard_tables(frame, paper_convention=False, wide=True):
        wide.print(block)
    assert {"p_A", "s/cert."} <= set(wide.export_text().split())
    assert text.index("n = 1000") < text.index("n = 500")  # a table of one row leads no other


def test_names_are_text_and_not_markup(tmp_path: Path) -> None:
    store(tmp_path, {**result(), "method": "[red]mine[/red]", "claim": "[bold]true[/bold]"})
    console = Console(width=160, record=True)
    for block in leaderboard_tables(table("digits", tmp_path), paper_convention=False):
        console.print(block)
    assert "[red]mine[/red]" in (text := console.export_text())
    assert "[bold]true[/bold]" in text


def test_only_finished_runs_of_the_data_set_are_rows(tmp_path: Path) -> None:
    store(tmp_path, result())
    for name, content in (("unfinished", None), ("damaged", '{"meth'), ("other", '{"dataset": "cifar10", "acr": 1}')):
        (tmp_path / name).mkdir()
        if content:
            (tmp_path / name / "result.json").write_text(content)
    assert [row.method for row in board_results("digits", tmp_path)] == ["randomized-smoothing"]
    assert table("svhn", tmp_path).empty
    assert table("digits", tmp_path / "nowhere").empty


def test_a_summary_has_intervals() -> None:
    console = Console(width=120, record=True)
    console.print(result_table(Result.model_validate({**result(), "images": 100})))
    text = console.export_text()
    z, n, p = 1.959964, 100, 0.6
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    assert f"60.0 %  ({100 * (centre - half):.1f} – {100 * (centre + half):.1f})" in text


NOTHING_BUT_MARGINS = {
    "certify": {"attacked": 3, "violations": 0},
    "lbound": {"attacked": 0, "violations": 0}, "probit": {"attacked": 0, "violations": 0},
}  # fmt: skip


def test_counts_of_nothing_are_not_shown(tmp_path: Path) -> None:
    store(tmp_path, margin() | {"audit": NOTHING_BUT_MARGINS})
    [block] = blocks(table("digits", tmp_path, published=None))
    [cells] = block.lines
    assert dict(zip(block.headings, cells, strict=True))["audit"] == ("0/3", "")
    [(_, group)] = groups(table("digits", tmp_path, published=None))
    shown, _ = interactive_table(tell_whose(group, tmp_path), "all")
    assert [heading for heading in shown if "audit" in heading] == ["audit"]
    assert shown["audit"].tolist() == ["0/3"]
    voted = result() | {"audit": {"certify": {"attacked": 0, "violations": 0}}}
    store(tmp_path / "none", voted)
    [block] = blocks(table("digits", tmp_path / "none", published=None))
    assert "audit" not in block.headings


def test_a_summary_says_what_is_certified_and_whether_that_is_deployed() -> None:
    def text(row: dict[str, Any]) -> str:
        console = Console(width=160, record=True)
        console.print(result_table(Result.model_validate(row)))
        return console.export_text()

    def line(row: dict[str, Any], name: str) -> str:
        [found] = [found for found in text(row).splitlines() if name in found]
        return found.partition(name)[2].strip()

    pass_of_a_vote = result("baseline")
    assert line(result(), "certified  ") == "5 images, vote, n = 1,000, α = 0.001, σ = 0.25"
    assert [line(row, "holds for what is deployed") for row in (result(), pass_of_a_vote)] == ["yes", "no"]
    row = margin() | {"audit": NOTHING_BUT_MARGINS}
    assert line(row, "audit  ") == "0 of 3"
    assert "0 of 0" not in text(row)
    assert line(row, "certified  ") == "5 images, margin of one pass, no noise"
    assert line(row, "holds for what is deployed") == "yes"
    assert line(row, "certified accuracy at r = 0.6").startswith("20.0 %")  # no number of draws limits it
    assert "largest radius" not in text(row)
    assert "proven from its" in line(row, "the certificate says")


def test_runs_that_differ_in_the_seed_alone_are_one_row(tmp_path: Path) -> None:
    other = RECORDS.assign(radius=[0.5, 0.3, 0.3, 0.0, 0.0], predict=[0, 1, 0, -1, -1], correct=[1, 1, 0, 0, 0])
    spec = RunSpec(method="randomized-smoothing", dataset="digits", seed=4)
    second = summary(spec, {"certify": other})
    old = {name: value for name, value in result(seed=2).items() if name not in ("recipe", "image_radii")}
    attack = {"best": {"median": 0.25}, "pgd": {"median": 0.7}, "ddn": {"median": None}}
    audit = {"certify": {"attacked": 3, "violations": 1}, "lbound": {"attacked": 0, "violations": 0}}
    store(tmp_path, result() | {"attack": attack, "audit": audit}, second | {"audit": audit}, old)
    frame = table("digits", tmp_path).set_index(table("digits", tmp_path)["seeds"].map(str))
    assert set(frame.index) == {"[2]", "[0, 4]"}  # an old result, which names no recipe, stands alone
    row = frame.loc["[0, 4]"]
    assert row["runs"] == [result()["run_id"], second["run_id"]]
    assert row["run_id"] == result()["run_id"]
    assert row["command"] == f"{result()['command']} && {second['command']}"
    # at 0.2: 2 of 5 (images 0 and 4) with seed 0, 2 of 5 (0 and 1) with seed 4; at 0.1: 3 and 2 of 5
    assert (row["r=0.2"], row["r=0.1"]) == (2 / 5, 1 / 2)
    assert (row["spread"]["r=0.2"], row["spread"]["r=0.1"]) == (0, pytest.approx(0.2 / math.sqrt(2)))
    assert row["acr"] == pytest.approx((0.8 + 0.8) / 10)
    assert (row["pgd"], row["spread"]["pgd"]) == (0.7, None)  # one seed went through the attack
    assert (row["adversarial_distance"], row["spread"]["adversarial_distance"]) == (0.25, None)
    assert math.isnan(row["ddn"])
    assert (row["audit.attacked"], row["audit.violations"]) == (6, 2)
    assert math.isnan(frame.loc["[2]", "adversarial_distance"])
    assert row["intervals"]["acr"] is None  # of five images
    # at 0.2 the images' values are 1, ½, 0, 0, ½ of mean 0.4 and variance 0.14: as 0.24 / (0.14 / 5) images
    assert row["intervals"]["r=0.2"] == pytest.approx(wilson(0.4, 5 * 0.24 / 0.14))
    assert frame.loc["[2]", "intervals"]["r=0.2"] == pytest.approx(wilson(0.4, 5))
    paper = table("digits", tmp_path, "paper")
    assert paper[paper["seeds"].map(len) == 2].iloc[0]["r=0.1"] == pytest.approx((2 / 4 + 2 / 3) / 2)


def test_the_interval_of_clean_accuracy_is_of_the_images_that_it_is_of(tmp_path: Path) -> None:
    """A pass sees the whole test set (3 of 4 right), a vote the five images that are certified (4 of 5)."""
    store(tmp_path, result(), result("baseline"))
    found = table("digits", tmp_path, published=None).set_index("method")
    assert found.loc["baseline", "intervals"]["clean_accuracy"] == pytest.approx(wilson(3 / 4, 4))
    assert found.loc["randomized-smoothing", "intervals"]["clean_accuracy"] == pytest.approx(wilson(4 / 5, 5))


def test_the_interval_of_the_acr_of_several_seeds_is_over_the_images(tmp_path: Path) -> None:
    """The mean of R·[correct] over two seeds: of the five images 0.5, 0.2, 0, 0 and 0.1, twenty times."""
    five = pd.concat([RECORDS] * 20, ignore_index=True).assign(idx=range(100))
    other = five.assign(radius=[0.5, 0.3, 0.3, 0, 0] * 20, predict=[0, 1, 0, -1, -1] * 20, correct=[1, 1, 0, 0, 0] * 20)
    for seed, own in ((0, five), (4, other)):
        spec = RunSpec(method="randomized-smoothing", dataset="digits", seed=seed)
        store(tmp_path, summary(spec, {"certify": own}))
    values = [0.5, 0.2, 0.0, 0.0, 0.1] * 20
    [row] = [row for _, row in table("digits", tmp_path, published=None).iterrows()]
    assert row["intervals"]["acr"] == pytest.approx(mean_interval(values))


def wilson(p: float, n: float, z: float = 1.959964) -> list[float]:
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    return [centre - half, centre + half]


def test_the_interval_over_seeds_covers_the_test_set_for_these_seeds() -> None:
    """400 test sets of 200 images, three classifiers whose mistakes are correlated over the images."""
    generator = np.random.default_rng(0)
    easy = generator.beta(2, 1, (400, 1, 200))  # an image's chance to be right, the same for each classifier
    right = generator.random((400, 3, 200)) < easy
    _, low, high = averaged_share(right, np.ones_like(right))
    covered = np.mean((low <= 2 / 3) & (high >= 2 / 3))
    assert 0.92 <= covered <= 0.98
    alone = right[:, 0].mean(1)
    from statsmodels.stats.proportion import proportion_confint

    theirs = np.array([proportion_confint(round(200 * p), 200, method="wilson") for p in alone])
    ours = averaged_share(right[:, :1], np.ones_like(right[:, :1]))
    np.testing.assert_allclose(np.transpose(ours[1:]), theirs, atol=1e-12)


def test_what_makes_rows_comparable(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {}, {"sigma": 0.5}, {"n": 500}, {"alpha": 0.01}, {"sampling": "adaptive"},
        {"certify.precision": "bf16"}, {"certify.noise": "discrete"},
    ]  # fmt: skip
    apart = [result(**change) for change in changes]
    apart += [result() | {"run_id": name, "recipe": name, name: value}
              for name, value in (("top", 2), ("data", "JPEG"), ("every", 20))]  # fmt: skip
    store(tmp_path, *apart)
    titles = [title for title, _ in groups(table("digits", tmp_path))]
    assert len(titles) == len(set(titles)) == len(apart)
    assert titles[0] == "Digits: σ = 0.25, top-1, 5 images, n = 500, α = 0.001"  # the board's own rule and noise first
    assert "Digits: σ = 0.25, top-1, 5 images, every 20th, n = 1000, α = 0.001" in titles
    assert "Digits: σ = 0.25, top-1, 5 images, n ≤ 1000, α = 0.001" in titles


COHEN = {  # σ of the four CIFAR-10 logs: certified accuracy at r = 0.25, 0.5, 0.75, 1
    0.12: (0.5977, 0, 0, 0), 0.25: (0.6116, 0.4225, 0.2506, 0),
    0.5: (0.5491, 0.4279, 0.3245, 0.2197), 1.0: (0.4094, 0.3377, 0.2768, 0.2213),
}  # fmt: skip
RADII = ["r=0.25", "r=0.5", "r=0.75", "r=1.0"]


def test_cohens_cifar10_logs_and_their_envelope(tmp_path: Path) -> None:
    root = first_rows(tmp_path)
    frame = table("cifar10", tmp_path, published=root).query("source == 'published'")
    own = frame[frame["method"] == "randomized-smoothing"].set_index("sigma")
    assert {sigma: tuple(row) for sigma, row in own[RADII].iterrows()} == COHEN
    low, high = own.loc[0.25, "intervals"]["r=0.25"]
    assert (low, high) == pytest.approx(wilson(0.6116, 10_000))
    best = envelopes(frame).set_index("method").loc["randomized-smoothing"]
    assert tuple(best[RADII]) == tuple(np.max(list(COHEN.values()), axis=0)) == (0.6116, 0.4279, 0.3245, 0.2213)
    assert [best["chosen"][r] for r in RADII] == [0.25, 0.5, 0.5, 1.0]
    assert best["sigmas"] == [0.12, 0.25, 0.5, 1.0]
    low, high = own.loc[0.25, "intervals"]["acr"]
    assert low < own.loc[0.25, "acr"] < high < low + 0.015
    figures = {sigma: row_source(row, tmp_path) for sigma, row in own.iterrows()}
    curve = envelope(figures).set_index("radius")
    for sigma, counted in figures.items():
        certified = [counted.share(r) for r in curve.index]
        assert (curve["accuracy"] >= certified).all()
        chosen = curve["sigma"] == sigma
        np.testing.assert_allclose(curve["accuracy"][chosen], np.array(certified)[chosen])
    assert curve["sigma"].dropna().is_monotonic_increasing
    assert set(curve["sigma"].dropna()) == set(COHEN)


def test_a_papers_own_figures_stand_apart(tmp_path: Path) -> None:
    plotted = table("cifar10", tmp_path, "paper").query("read == 'plot'").set_index("method")
    assert plotted.loc["heat", "r=0.25"] == pytest.approx(0.654)
    assert math.isnan(plotted.loc["heat", "r=0.5"])  # the figure ends at 0.3
    assert set(plotted["source"]) == {"paper, plot"}
    assert plotted.loc["heat", "intervals"]["r=0.25"] is None
    assert "plot" not in set(table("cifar10", tmp_path)["read"])  # the figure has the paper's convention alone
    for convention in ("standard", "paper"):
        for _, group in groups(table("imagenet", tmp_path, convention)):
            assert len(set(group["source"])) == 1
    printed = table("imagenet", tmp_path).query("read == 'table'").set_index("method")["clean_accuracy"].to_dict()
    assert printed == pytest.approx({"heat": 0.861, "randomized-smoothing": 0.853, "smoothadv": 0.788})
    curve = row_curve(plotted.reset_index().iloc[0], tmp_path, "paper")
    assert curve["radius"].tolist() == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert curve["accuracy"].iloc[-1] == pytest.approx(0.59)
    assert "plot" not in set(table("cifar10", tmp_path, "paper", None).get("read", []))


def test_curves_of_several_seeds(tmp_path: Path) -> None:
    first, second = result(), result(seed=4)
    store(tmp_path, first, second)
    other = RECORDS.assign(radius=[0.5, 0.3, 0.3, 0.0, 0.0], predict=[0, 1, 0, -1, -1], correct=[1, 1, 0, 0, 0])
    for run, records in ((first, RECORDS), (second, other)):
        backwards = records.iloc[::-1]  # adaptive certificates come out of order
        file = tmp_path / run["run_id"] / run["records"]["certify"]
        file.write_text(backwards.to_json(orient="records", lines=True))
    [row] = [row for _, row in table("digits", tmp_path).iterrows()]
    curve = row_curve(row, tmp_path).set_index("radius")
    at = curve.index[curve.index <= 0.3].max()  # between 0.2 and 0.3: image 0, and image 1 of one seed
    assert curve.loc[at, "accuracy"] == pytest.approx(3 / 10)
    assert [curve.loc[at, "low"], curve.loc[at, "high"]] == pytest.approx(wilson(0.3, 5 * 0.21 / 0.16))
    assert curve["accuracy"].iloc[0] == pytest.approx((3 + 2) / 10)
    for run in row["runs"]:
        records_file(tmp_path / run, "certify").unlink()
    assert row_curve(row, tmp_path).empty
    assert row_records(row, tmp_path, protocol="attack").empty


def test_rows_are_sorted_by_what_is_asked_for(tmp_path: Path) -> None:
    root = first_rows(tmp_path)
    by_acr, by_radius = (table("cifar10", tmp_path, published=root, sort=sort) for sort in ("acr", "0.25"))
    of = lambda frame: frame[frame["sigma"] == 0.5].sort_values("rank")["method"].tolist()  # noqa: E731
    assert of(by_acr) == ["smoothadv", "randomized-smoothing"]
    assert of(by_radius) == ["randomized-smoothing", "smoothadv"]
    with pytest.raises(UserError, match=r"there are: acr, p_a, clean, 0\.05"):
        table("cifar10", tmp_path, sort="0.3")


def test_rows_sorted_by_p_a_are_compared_by_it(tmp_path: Path) -> None:
    """At σ = 0.5 on all of CIFAR-10's images the row that leads by ACR without other data has few of large radii."""
    frame = table("cifar10", tmp_path, sort="p_A")
    own = frame[(frame["sigma"] == 0.5) & (frame["images"] == 10_000) & (frame["arch"] == "resnet110")]
    leader = own[~own["variant"].str.contains("pre-trained|unlabelled")].sort_values("acr").iloc[-1]
    plain = own[own["method"] == "randomized-smoothing"].sort_values("p_a").iloc[-1]
    assert (leader["method"], round(leader["acr"], 3), round(plain["acr"], 3)) == ("acr-weakness", 0.760, 0.571)
    assert plain["p_a"] > leader["p_a"]
    assert leader["rank"] > plain["rank"]
    assert own.sort_values("rank")["p_a"].is_monotonic_decreasing


def test_rows_without_a_value_of_what_sorts_them_have_no_rank(tmp_path: Path) -> None:
    """Published logs have no clean accuracy, and a margin has no p_A: neither makes another row's rank less certain."""
    frame = table("cifar10", tmp_path, sort="clean")
    own = frame[(frame["sigma"] == 0.12) & (frame["source"] == "published")]
    assert own[["rank", "best_rank", "worst_rank"]].isna().all(axis=None)
    frame = table("cifar10", tmp_path, sort="p_a")
    for _, group in groups(frame[frame["data"] == "CIFAR-10 (JPEG)"]):
        votes, margins = group[group["kind"] == "vote"], group[group["kind"] == "margin"]
        assert margins[["best_rank", "worst_rank"]].isna().all(axis=None)
        assert votes["worst_rank"].max() == len(votes) or votes.empty


def test_the_radius_that_sorts_rows_is_a_column(tmp_path: Path) -> None:
    frame = table("cifar10", tmp_path, sort="36/255")
    of_logs = frame[(frame["source"] == "published") & (frame["images"] == 10_000)]
    headings = [block.headings for block in blocks(of_logs, sort=str(36 / 255))]
    assert headings
    assert all("36/255" in own for own in headings)
    assert not any("72/255" in own for own in headings)


def test_p_a_is_the_bound_behind_each_radius(tmp_path: Path) -> None:
    """R = σΦ⁻¹(p_A): of four images, two right with p_A = 0.9 and 0.6, one wrong, one abstained."""
    radius = [0.25 * float(ndtri(p)) for p in (0.9, 0.6, 0.8)]
    row = {**result(), "image_radii": [*radius[:2], -1.0, None], "images": 4}
    row.pop("p_a")
    store(tmp_path, {**row, "schema": 4})  # an earlier version's, which did not have it
    [line] = table("digits", tmp_path).to_dict("records")
    assert line["p_a"] == pytest.approx((0.9 + 0.6) / 4)


def test_an_adaptive_row_says_what_it_decided_whatever_the_board_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Radii of 0.5, 0.1, 0.3 (wrong), 0.2 and an abstention, at σ = 0.25; n = 1,000 draws cannot certify 0.7."""
    row = result(sampling="adaptive", radii=[0.1, 0.2], n=1_000)
    assert row["decided"] == [0, 0.1, 0.2]
    store(tmp_path, row)
    asked = replace(load_board("digits"), radii=(0.1, 0.15, 0.2, 0.7))
    for module in ("leaderboards.board", "suite.protocols.certify"):
        monkeypatch.setattr(sys.modules[module], "load_board", lambda dataset, own=None: asked)
    assert result(sampling="adaptive", radii=[0.1, 0.2], n=1_000) == row
    [line] = table("digits", tmp_path).to_dict("records")
    assert [line[f"r={r}"] for r in asked.radii] == [3 / 5, pytest.approx(np.nan, nan_ok=True), 2 / 5, 0]
    assert set(line["intervals"]) >= {"r=0.1", "r=0.15"}
    assert line["intervals"]["r=0.15"] is None
    assert row_curve(rows("digits", tmp_path)[0], tmp_path, published=tmp_path).empty  # there are no records


def test_rows_of_the_earlier_adaptive_rule_stand_apart_and_say_so(tmp_path: Path) -> None:
    earlier = result(sampling="adaptive")
    earlier |= {"schema": 3, "inference": "100 passes"}
    del earlier["decided"], earlier["deployed"]
    store(tmp_path, earlier, result(sampling="adaptive", lr=0.3))
    titles = {title: list(group["run_id"]) for title, group in groups(table("digits", tmp_path, published=None))}
    [apart] = [title for title in titles if "earlier adaptive sampling" in title]
    assert titles.pop(apart) == [earlier["run_id"]]
    assert len(titles) == 1
