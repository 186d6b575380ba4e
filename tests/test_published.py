"""Published rows: metrics that their authors printed, and rows beside those of runs."""

from __future__ import annotations

import csv
import hashlib
import json
import lzma
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.shared import SHARED

from leaderboards import board_results, groups, load_board, table
from leaderboards.curves import row_curve, row_records
from leaderboards.paper.report import COMPARED
from leaderboards.published import PUBLISHED, Entry, paper_values, published_records, published_rows
from leaderboards.published.kept import KEPT
from leaderboards.published.log import fits, rounding
from suite.protocols import certify
from suite.spec.run_spec import RunSpec
from suite.statistics.bounds import (
    average_certified_radius,
    certified_accuracy,
    certified_radius,
    largest_radius,
    smallest_count,
)
from suite.store.records import read_records
from suite.store.result import EARLIER, Result

LOGS = SHARED / "data" / "published"


ROWS = sorted(PUBLISHED.glob("*/*.tsv.xz"))


# Cohen et al. (2019), certified accuracy on ImageNet at r = 0.5, 1, …, 3, as they print it
COHEN_IMAGENET = {
    "0.25": [0.49, 0, 0, 0, 0, 0],
    "0.50": [0.46, 0.37, 0.29, 0, 0, 0],
    "1.00": [0.38, 0.33, 0.26, 0.19, 0.15, 0.12],
}


@pytest.mark.parametrize("sigma", COHEN_IMAGENET)
def test_cohens_imagenet_figures_are_those_that_they_print(sigma: str) -> None:
    records = published_records(f"imagenet/randomized-smoothing-resnet50_noise_{sigma}_sigma_{sigma}")
    shares = [
        certified_accuracy(records["radius"], records["correct"], records["predict"] == -1, r)
        for r in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
    ]
    np.testing.assert_allclose(shares, COHEN_IMAGENET[sigma], atol=0.005)


@pytest.mark.skipif(not LOGS.is_dir(), reason="the published logs do not lie beside this checkout (../shared)")
@pytest.mark.parametrize("source", sorted(LOGS.glob("*/*/*.tsv")), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_row_is_its_log_counted_line_by_line(source: Path) -> None:
    board = source.parts[-2]
    [row] = [row for row in published_rows(board) if row.run_id.endswith(source.stem)]
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
    [log] = (PUBLISHED / board).glob(f"{row.run_id.partition('/')[2]}.????????.tsv.xz")
    content = lzma.decompress(log.read_bytes())
    assert log.name.endswith(f".{hashlib.sha256(content).hexdigest()[:8]}.tsv.xz")
    kept = content.decode().splitlines()[1:]
    assert kept == ["\t".join(list(line.values())[:5]) for line in lines]
    hashed = hashlib.sha256(source.read_bytes()).hexdigest()
    assert hashed in (PUBLISHED / f"{row.run_id}.toml").read_text()
    seconds = [pd.Timedelta(line["time"]).total_seconds() for line in lines]
    assert row.seconds_per_certificate == pytest.approx(np.mean(seconds), abs=1e-3)


@pytest.mark.parametrize("file", ROWS, ids=lambda path: path.name)
def test_each_kept_radius_is_that_of_a_count_as_printed(file: Path) -> None:
    [row] = [row for row in published_rows(file.parent.name) if row.run_id.endswith(f"/{file.name[:-16]}")]
    printed = pd.read_csv(file, sep="\t", dtype=str)["radius"].drop_duplicates().tolist()
    radius = np.array(printed, float)
    level = row.n, row.alpha, row.sigma
    assert fits(radius, rounding(printed), *level).all()
    every = certified_radius(np.arange(row.n // 2, row.n + 1), *level)
    above = np.searchsorted(every, radius).clip(1, len(every) - 1)
    nearest = np.where(radius - every[above - 1] < every[above] - radius, every[above - 1], every[above])
    form = ".4f" if row.method == "smoothadv" and row.dataset == "imagenet" else ".3"
    assert [float(f"{r:{form}}") for r in nearest] == radius.tolist()


FIELD = LOGS / "field"


@pytest.mark.skipif(not FIELD.is_dir(), reason="the logs of the field do not lie beside this checkout (../shared)")
def test_where_the_randomized_smoothing_rows_on_cifar10_are_from() -> None:
    """Salman et al.'s repository, byte for byte. Cohen et al.'s own logs are of every 20th image, most at α = 0.01."""
    catalogue = pd.read_csv(FIELD / "catalogue.tsv", sep="\t", dtype=str, keep_default_na=False)
    entries = [
        Entry(**tomllib.loads(file.read_text())) for file in PUBLISHED.glob("cifar10/randomized-smoothing*.toml")
    ]
    sources = catalogue[catalogue["sha256"].isin([entry.sha256 for entry in entries])]
    assert len(sources) == len(entries) == 4
    assert set(sources["repository"]) == {"Hadisalman/smoothing-adversarial"}
    assert all(entry.citation.startswith("Hadi Salman") and "Cohen" in entry.note for entry in entries)
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
    assert sources == {"cifar10": {"published": 9, "run": 12}, "imagenet": {"published": 6}}
    assert board_results("cifar10", tmp_path, published=None) == []
    assert board_results("paper", tmp_path) == board_results(str(PUBLISHED / "cifar10"), tmp_path) == []
    titled = {title: group["method"].tolist() for title, group in groups(table("imagenet", tmp_path))}
    assert titled["ImageNet: σ = 0.25, top-1, 427 images, every 100th, n = 100000, α = 0.01"] == [
        "randomized-smoothing"
    ]
    assert titled["ImageNet: σ = 0.25, top-1, 500 images, every 100th, n = 100000, α = 0.001"] == ["smoothadv"]
    assert [len(group) for _, group in groups(table("cifar10", tmp_path))] == [2, 3, 2, 2, 6, 6]


def test_a_fresh_clone_has_the_studys_rows(tmp_path: Path) -> None:
    """Every method of the paper at both σ, through every protocol, on 500 images with at most 10,000 draws."""
    own = [row for row in board_results("cifar10", tmp_path) if row.source == "run"]
    assert {(row.method, row.sigma) for row in own} == {(m, s) for m in COMPARED for s in (0.1, 0.25)}
    for row in own:
        assert (row.data, row.images, row.n, row.sampling) == ("CIFAR-10 (JPEG)", 500, 10_000, EARLIER)
        assert set(row.protocols) == {"accuracy", "certify", "lbound", "attack", "timing", "agreement", "audit"}
        records = read_records(PUBLISHED / KEPT / row.run_id / "certify.jsonl")
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


def test_published_rows_have_curves(tmp_path: Path) -> None:
    frame = table("cifar10", tmp_path)
    row = frame.iloc[0]
    assert len(row_records(row, tmp_path)) == 10_000
    curve = row_curve(row, tmp_path)
    below = curve[curve["radius"] < 0.25].iloc[-1]
    assert below["accuracy"] >= row["r=0.25"]
    assert curve["accuracy"].is_monotonic_decreasing


def test_every_entry_cites_a_whole_reference() -> None:
    entries = [Entry(**tomllib.loads(file.read_text())) for board in ("cifar10", "imagenet")
               for file in PUBLISHED.glob(f"{board}/*.toml")]  # fmt: skip
    assert len(entries) == len(ROWS) == 15
    assert all(entry.citation.endswith(f"{entry.date}.") and entry.citation.count(".") >= 3 for entry in entries)
    assert {entry.alpha for entry in entries if entry.data == "CIFAR-10" or entry.method == "smoothadv"} == {0.001}
    assert {entry.images for entry in entries} == {10_000, 500, 427}
    logs = (file for board in ("cifar10", "imagenet") for file in PUBLISHED.glob(f"{board}/*"))
    assert sum(file.stat().st_size for file in logs) < 2**20


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
