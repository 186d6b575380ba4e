"""Published rows: metrics that their authors printed, and rows beside those of runs."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.first import first_rows
from helpers.shared import SHARED

from leaderboards import board_results, groups, load_board, table
from leaderboards.curves import row_curve, row_records
from leaderboards.paper.report import COMPARED
from leaderboards.published import PUBLISHED, entries, paper_values, published_rows, read_entry
from leaderboards.published.fetch import check_figures
from leaderboards.published.kept import KEPT, records_file
from leaderboards.published.log import fits, read_log, rounding
from methods import METHODS
from suite.errors import UserError
from suite.protocols import certify
from suite.spec.run_spec import PROTOCOLS, RunSpec
from suite.statistics.bounds import (
    average_certified_radius,
    certified_radius,
    largest_radius,
    smallest_count,
)
from suite.store.records import read_records
from suite.store.result import Result

LOGS = SHARED / "data" / "published"


FIELD = LOGS / "field"
BOARDS = ("cifar10", "cifar100", "fashion-mnist", "imagenet", "mnist")
ENTRIES = {name: entry for board in BOARDS for name, entry in entries(board).items()}
SOURCES = {source: hashlib.sha256(source.read_bytes()).hexdigest() for source in sorted(LOGS.glob("*/*/*.tsv"))}


def row_of(sha256: str) -> str:
    """The row of a log."""
    [found] = [name for name, entry in ENTRIES.items() if entry.sha256 == sha256]
    return found


# Cohen et al. (2019), certified accuracy on ImageNet at r = 0.5, 1, …, 3, as they print it
COHEN_IMAGENET = {
    "0.25": [0.49, 0, 0, 0, 0, 0],
    "0.50": [0.46, 0.37, 0.29, 0, 0, 0],
    "1.00": [0.38, 0.33, 0.26, 0.19, 0.15, 0.12],
}


@pytest.mark.parametrize("sigma", COHEN_IMAGENET)
def test_cohens_imagenet_figures_are_those_that_they_print(sigma: str) -> None:
    where = ("locuslab/smoothing", "ImageNet", float(sigma), float(sigma))
    of = lambda own: (own.repository, own.data, own.sigma, own.trained_sigma)  # noqa: E731
    [entry] = [entry for entry in ENTRIES.values() if of(entry) == where]
    shares = [entry.share(r) for r in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)]
    np.testing.assert_allclose(shares, COHEN_IMAGENET[sigma], atol=0.005)


@pytest.mark.skipif(not LOGS.is_dir(), reason="the published logs do not lie beside this checkout (../shared)")
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_row_is_its_log_counted_line_by_line(source: Path) -> None:
    board = source.parts[-2]
    name = row_of(SOURCES[source])
    [row] = [row for row in published_rows(board) if row.run_id == name]
    with source.open() as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    assert row.images == len(lines)
    for r in load_board(board).radii:
        sure = sum(line["correct"] == "1" and float(line["radius"]) >= r for line in lines)
        assert row.certified_accuracy[str(r)] == sure / len(lines)
        decided = [line for line in lines if line["predict"] != "-1"]
        sure = sum(line["correct"] == "1" and float(line["radius"]) > r for line in decided)
        assert row.certified_accuracy_paper[str(r)] == sure / len(decided)
    total = sum(float(line["radius"]) for line in lines if line["correct"] == "1")
    assert row.acr == pytest.approx(total / len(lines), rel=1e-9)
    entry = read_entry(name)
    for place, (reached, tied) in enumerate(entry.counts.T.tolist()):
        radius = [float(line["radius"]) for line in lines if line["correct"] == "1"]
        assert (reached, tied) == (sum(r >= place / 100 for r in radius), sum(r == place / 100 for r in radius))
    assert max(radius) < entry.counts.shape[1] / 100
    assert entry.images - entry.abstained == entry.bounds.sum()
    check_figures(read_log(source, load_board(board)), entry, name)
    seconds = [pd.Timedelta(line["time"]).total_seconds() for line in lines]
    assert row.seconds_per_certificate == pytest.approx(np.mean(seconds), abs=1e-3)


@pytest.mark.skipif(not LOGS.is_dir(), reason="the published logs do not lie beside this checkout (../shared)")
@pytest.mark.parametrize("file", SOURCES, ids=lambda path: path.name)
def test_each_radius_is_that_of_a_count_as_printed(file: Path) -> None:
    row = ENTRIES[row_of(SOURCES[file])]
    printed = pd.read_csv(file, sep="\t", dtype=str)["radius"].drop_duplicates().tolist()
    radius = np.array(printed, float)
    level = row.n, row.alpha, row.sigma
    assert fits(radius, rounding(printed), *level).all()
    every = certified_radius(np.arange(row.n // 2, row.n + 1), *level)
    above = np.searchsorted(every, radius).clip(1, len(every) - 1)
    nearest = np.where(radius - every[above - 1] < every[above] - radius, every[above - 1], every[above])
    form = ".4f" if row.method == "smoothadv" and row.data == "ImageNet" else ".3"
    assert [float(f"{r:{form}}") for r in nearest] == radius.tolist()


@pytest.mark.skipif(not FIELD.is_dir(), reason="the logs of the field do not lie beside this checkout (../shared)")
def test_where_the_randomized_smoothing_rows_on_cifar10_are_from() -> None:
    """Salman et al.'s repository, byte for byte. Cohen et al.'s own logs are of every 20th image, most at α = 0.01."""
    catalogue = pd.read_csv(FIELD / "catalogue.tsv", sep="\t", dtype=str, keep_default_na=False)
    names = [f"cifar10/randomized-smoothing-resnet110-sigma{s}" for s in ("0.12-8", "0.25-1", "0.5-a", "1-f3")]
    own = [entry for name, entry in ENTRIES.items() if name.startswith(tuple(names))]
    sources = catalogue[catalogue["sha256"].isin([entry.sha256 for entry in own])]
    assert len(sources) == len(own) == 4
    assert set(sources["repository"]) == {"Hadisalman/smoothing-adversarial"}
    assert all(entry.citation.startswith("Hadi Salman") and "Cohen" in entry.method_citation for entry in own)
    fitting = {}
    for log in catalogue[
        (catalogue["repository"] == "locuslab/smoothing") & (catalogue["dataset"] == "cifar10")
    ].itertuples():
        records = pd.read_csv(FIELD / log.file, sep="\t", dtype={"radius": str})
        assert records["idx"].tolist() == list(range(0, 10_000, 20))
        radius, half = records["radius"].astype(float), rounding(records["radius"].tolist())
        levels = [a for a in (0.05, 0.01, 0.001) if fits(radius, half, 100_000, a, float(log.sigma)).all()]
        fitting[float(log.trained_sigma), float(log.sigma)] = levels
    assert fitting == {
        (0.12, 0.12): [0.001], (0.25, 0.25): [0.01], (0.5, 0.5): [0.01], (1.0, 1.0): [0.01],
        (0.12, 0.5): [0.05, 0.01, 0.001], (0.25, 0.5): [0.001], (1.0, 0.5): [0.001],
    }  # fmt: skip


def test_the_fewest_votes_are_those_of_a_table() -> None:
    for n, alpha in [(100, 0.05), (1_000, 0.001), (100_000, 0.01)]:
        every = certified_radius(np.arange(n + 1), n, alpha, 0.5)
        wanted = np.linspace(0.01, 1.1 * largest_radius(n, alpha, 0.5), 57)
        assert smallest_count(wanted, n, alpha, 0.5).tolist() == np.searchsorted(every, wanted).tolist()


def test_a_fresh_clone_has_the_published_rows_by_comparable_group(tmp_path: Path) -> None:
    sources = {
        board: Counter(row.source for row in board_results(board, tmp_path)) for board in ("cifar10", "imagenet")
    }
    assert sources == {"cifar10": {"published": 119, "run": 56}, "imagenet": {"published": 43}}
    assert board_results("cifar10", tmp_path, published=None) == []
    assert board_results("paper", tmp_path) == board_results(str(PUBLISHED / "cifar10"), tmp_path) == []
    titled = {title: group["method"].tolist() for title, group in groups(table("imagenet", tmp_path))}
    assert titled["ImageNet: σ = 0.25, top-1, 427 images, every 100th, n = 100000, α = 0.01"] == [
        "randomized-smoothing"
    ]
    assert Counter(titled["ImageNet: σ = 0.25, top-1, 500 images, every 100th, n = 100000, α = 0.001"]) == {
        "smoothadv": 8, "acr-weakness": 1, "randomized-smoothing": 1,
    }  # fmt: skip
    lengths = {title: len(group) for title, group in groups(table("cifar10", tmp_path))}
    whole = [lengths[f"CIFAR-10: σ = {s}, top-1, 10000 images, n = 100000, α = 0.001"] for s in (0.12, 0.25, 0.5, 1)]
    assert (whole, sum(lengths.values()), len(lengths)) == ([16, 28, 47, 21], 162, 13)
    root = first_rows(tmp_path)
    titled = {title: group["method"].tolist() for title, group in groups(table("imagenet", tmp_path, published=root))}
    assert titled["ImageNet: σ = 0.25, top-1, 500 images, every 100th, n = 100000, α = 0.001"] == ["smoothadv"]
    assert [len(group) for _, group in groups(table("cifar10", tmp_path, published=root))] == [
        2,
        3,
        2,
        2,
        12,
        17,
        2,
        12,
    ]


def test_a_fresh_clone_has_the_studys_rows(tmp_path: Path) -> None:
    """Every method at σ = 0.25 or by its margin, and at the paper's σ through every protocol."""
    kept = [row for row in board_results("cifar10", tmp_path) if row.source == "run"]
    methods = {*METHODS.paths()} - {"checkpoint"}
    assert {row.method for row in kept if row.sigma != 0.1} == methods
    own = [row for row in kept if row.sigma == 0.1]
    whole = {row.method for row in own if {*row.protocols} == {*PROTOCOLS.paths()}}
    assert whole == methods - {"lipschitz", "lipschitz-heat"} > {*COMPARED}
    for row in own:
        assert (row.data, row.images, row.n, row.sampling) == ("CIFAR-10 (JPEG)", 500, 10_000, "adaptive")
        records = read_records(records_file(PUBLISHED / KEPT / row.run_id, "certify"))
        assert average_certified_radius(records["radius"], records["correct"]) == pytest.approx(row.acr)
        assert (records["radius"] <= largest_radius(row.n, row.alpha, row.sigma)).all()


def test_rows_have_a_runs_keys_and_figures() -> None:
    spec = RunSpec(method="randomized-smoothing", dataset="cifar10", profile="quick", sigma=0.25, n=1_000, alpha=0.01)
    records = pd.DataFrame(
        {"idx": range(4), "label": [0, 1, 2, 3], "chosen": [[0], [1], [0], [3]], "predict": [0, 1, 0, -1]}
        | {"radius": [0.5, 0.1, 0.3, 0.0], "correct": [1, 1, 0, 0], "time": [1.0] * 4, "n0": [100] * 4}
    )
    run = certify.PROTOCOL.metrics(spec, records.assign(draws=1_000))
    common = {"run_id", "method", "dataset", "data", "arch", "sigma", "seed", "source", "date", "deployed", "top"}
    for row in published_rows("cifar10"):
        content = row.model_dump(mode="json")
        assert set(content) >= common | set(run)
        assert Result.model_validate(json.loads(json.dumps(content)), strict=True) == row
        assert row.source == "published"


def test_how_far_apart_the_conventions_are() -> None:
    """At any hundredth, in points."""
    apart = [
        (entry.share(k / 100, "paper") or 0) - (entry.share(k / 100) or 0)
        for entry in ENTRIES.values()
        for k in range(entry.counts.shape[1])
    ]
    text = " ".join((Path(__file__).parents[1] / "docs" / "concepts" / "metrics.md").read_text().split())
    assert f"on published logs the difference reaches {100 * max(apart):.0f} points" in text


def test_published_rows_have_curves(tmp_path: Path) -> None:
    frame = table("cifar10", tmp_path).query("source == 'published' and images == 10_000")
    row = frame.iloc[0]
    curve = row_curve(row, tmp_path)
    assert len(curve) <= 101
    assert set(curve["radius"].mul(100).round(9) % 1) == {0}
    [at] = curve.loc[curve["radius"] == 0.24, "accuracy"]
    assert at >= row["r=0.25"]
    assert curve["accuracy"].is_monotonic_decreasing
    assert curve["accuracy"].iloc[-1] == 0
    assert ((curve["low"] <= curve["accuracy"]) & (curve["accuracy"] <= curve["high"])).all()
    with pytest.raises(UserError, match=rf"published as figures.*suite published fetch {row['run_id']}$"):
        row_records(row, tmp_path)
    assert row_records(row, tmp_path, protocol="attack").empty


def test_every_entry_cites_a_whole_reference() -> None:
    own = list(ENTRIES.values())
    assert len(own) == len({entry.sha256 for entry in own}) == 200
    for entry in own:
        citations = [entry.citation, *filter(None, [entry.method_citation])]
        assert all(citation.count(".") >= 3 for citation in citations)
        assert all(citation[-7:] in (f", {year}." for year in range(2019, 2026)) for citation in citations)
        assert entry.citation.endswith(f"{entry.date}.")
        assert entry.url.startswith("https://arxiv.org/abs/")
        assert entry.is_public
    assert {entry.alpha for entry in own if entry.repository != "locuslab/smoothing"} == {0.001}
    assert {entry.images for entry in own} == {10_000, 500, 427}
    files = [file for board in BOARDS for file in (PUBLISHED / board).iterdir()]
    assert {file.suffix for file in files} == {".toml"}  # no log is among them
    assert sum(file.stat().st_size for file in files) < 1.5e6


@pytest.mark.skipif(not FIELD.is_dir(), reason="the logs of the field do not lie beside this checkout (../shared)")
def test_every_figure_of_the_catalogue_is_the_rows_to_its_printed_digits() -> None:
    """Certified accuracies in percent, ACR and images of 200 logs, and what else their lines say."""
    with (FIELD / "catalogue.tsv").open() as file:
        lines = list(csv.DictReader(file, delimiter="\t"))
    compared = 0
    for line in lines:
        entry = ENTRIES[row_of(line["sha256"])]
        for name in ("method", "variant", "arch", "repository", "commit", "path", "licence", "also"):
            assert getattr(entry, name) == line[name]
        for name in ("sigma", "trained_sigma", "alpha"):
            assert getattr(entry, name) == float(line[name])
        assert (str(entry.n0), str(entry.n)) == (line["n0"], line["n"])
        assert str(entry.seed or "") == line["seed"]
        shares = {
            name: 100 * entry.share(float(name[1:])) for name in line if name.startswith("r") and name[1:2].isdigit()
        }
        for name, found in (shares | {"acr": entry.acr, "images": entry.images}).items():
            digits = len(line[name].partition(".")[2])
            assert abs(found - float(line[name])) <= 0.5 * 10**-digits + 1e-9, (line["file"], name)
            compared += 1
    assert (len(lines), compared) == (200, 1600)


# of rows on five boards: ACR, and certified accuracy in percent at r = 0, 0.25, 0.5, 1, 1.5 and 2
PRINTED = """
cifar10/randomized-smoothing-resnet110-sigma0.25-18867bca 0.4240 76.7 61.2 42.2 0.0 0.0 0.0
cifar10/cat-rs-resnet110-sigma0.25-7d583bb9 0.5616 76.3 68.1 58.8 0.0 0.0 0.0
cifar10/cat-rs-resnet110-sigma0.5-666358c0 0.7571 62.3 56.8 50.5 38.5 27.1 0.0
cifar10/cat-rs-resnet110-sigma1-92f304e3 0.8148 43.2 40.2 37.2 31.0 24.9 19.3
cifar10/acr-weakness-resnet110-sigma0.5-3f371c0a 0.7603 59.3 54.8 49.6 38.9 29.0 0.0
cifar10/acr-weakness-resnet110-sigma1-38e7fc3d 0.8437 42.0 39.4 36.5 31.1 25.6 20.6
imagenet/cat-rs-resnet50-sigma1-c4277ad7 1.0715 43.6 41.0 38.2 35.2 30.8 26.8
imagenet/acr-weakness-resnet50-sigma0.5-94548aa7 0.8417 55.2 52.2 48.6 43.8 37.6 0.0
mnist/cat-rs-lenet-sigma0.5-3e177ccb 1.6999 98.6 98.0 97.0 92.8 82.5 0.0
"""


@pytest.mark.parametrize("line", PRINTED.split("\n")[1:-1], ids=lambda line: line.split()[0])
def test_figures_of_rows_are_those_printed(line: str) -> None:
    name, acr, *percent = line.split()
    entry = read_entry(name)
    assert f"{entry.acr:.4f}" == acr
    found = [100 * entry.share(r) for r in (0, 0.25, 0.5, 1, 1.5, 2)]
    np.testing.assert_allclose(found, np.array(percent, float), rtol=0, atol=0.05 + 1e-9)
    assert entry.share(1 / 3) is None  # not among the figures
    assert entry.share(36 / 255) > entry.share(72 / 255) > entry.share(108 / 255) > entry.share(0.5)


def test_the_papers_figures_say_how_they_were_read() -> None:
    frame = paper_values()
    assert set(frame["read"]) == {"table", "plot"}
    assert (frame["uncertainty"] > 0).all()
    assert frame["percent"].between(0, 100).all()
    top5 = frame[frame["item"] == "Table 1"].set_index("method")["percent"].to_dict()
    assert top5 == {"heat": 86.1, "randomized-smoothing": 85.3, "smoothadv": 78.8}
    assert set(frame.loc[frame["quantity"] == "certified accuracy", "convention"]) == {"paper"}
    attacked = frame[(frame["attack"] == "ddn") & (frame["method"] == "heat")].set_index("at")["percent"].to_dict()
    assert attacked == {0.5: 47, 1.0: 92}


@pytest.mark.skipif(not LOGS.is_dir(), reason="the paper's figures do not lie beside this checkout (../shared)")
def test_figure_1_is_what_was_read_off() -> None:
    theirs = pd.read_csv(LOGS / "paper_figure1.csv").set_index(["dataset", "method", "radius"])
    ours = paper_values().query("quantity == 'certified accuracy'").set_index(["dataset", "method", "at"])
    assert len(ours) == len(theirs) == 52
    assert (ours["percent"] == theirs["certified_accuracy_percent"].reindex(ours.index)).all()
    assert (ours["sigma"] == theirs["sigma"].reindex(ours.index)).all()
    assert [f"top{k}" for k in ours["top"]] == theirs["rule"].reindex(ours.index).tolist()
