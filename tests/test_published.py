"""Published logs: figures that their authors printed, what is refused and how, and rows beside those of runs."""

from __future__ import annotations

import csv
import hashlib
import json
import lzma
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.shared import SHARED

from leaderboards import board_results, groups, load_board, table
from leaderboards.curves import row_curve, row_records
from leaderboards.paper.report import COMPARED
from leaderboards.published import PUBLISHED, Entry, paper_values, published_records, published_rows
from leaderboards.published.kept import KEPT
from leaderboards.published.log import Log, evidence, fits, read_log, rounding
from leaderboards.published.store import import_logs
from suite.cli.boards import probability
from suite.errors import UserError
from suite.protocols import certify
from suite.spec.run_spec import make_spec
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
ROOT = Path(__file__).parents[1]
ROWS = sorted(PUBLISHED.glob("*/*.tsv.xz"))
HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"
GIVEN: dict[str, Any] = {
    "method": "mine", "citation": "A. Author. A Title. A Venue, 2021.", "arch": "cnn", "sigma": 0.25,
    "trained_sigma": None, "n0": 100, "n": 1_000, "alpha": 0.001, "top": 1, "note": None, "few": True,
}  # fmt: skip


def log(path: Path, *lines: str) -> Path:
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    return path


def counted(path: Path, counts: list[int], n: int = 1_000, alpha: float = 0.001, sigma: float = 0.25) -> Path:
    """A log as Cohen et al.'s code prints it, of these counts of votes."""
    radii = certified_radius(counts, n, alpha, sigma)
    return log(path, *(f"{i}\t3\t3\t{r:.3}\t1\t0:00:01.5" for i, r in enumerate(radii)))


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
    kept = lzma.decompress((PUBLISHED / f"{row.run_id}.tsv.xz").read_bytes()).decode().splitlines()[1:]
    assert kept == ["\t".join(list(line.values())[:5]) for line in lines]
    hashed = hashlib.sha256(source.read_bytes()).hexdigest()
    assert hashed in (PUBLISHED / f"{row.run_id}.toml").read_text()
    seconds = [pd.Timedelta(line["time"]).total_seconds() for line in lines]
    assert row.seconds_per_certificate == pytest.approx(np.mean(seconds), abs=1e-3)


@pytest.mark.parametrize("file", ROWS, ids=lambda path: path.name)
def test_each_kept_radius_is_that_of_a_count_as_printed(file: Path) -> None:
    [row] = [row for row in published_rows(file.parent.name) if f"{row.run_id}.tsv.xz".endswith(file.name)]
    printed = pd.read_csv(file, sep="\t", dtype=str)["radius"].drop_duplicates().tolist()
    radius = np.array(printed, float)
    level = row.n, row.alpha, row.sigma
    assert fits(radius, rounding(printed), *level).all()
    every = certified_radius(np.arange(row.n // 2, row.n + 1), *level)
    above = np.searchsorted(every, radius).clip(1, len(every) - 1)
    nearest = np.where(radius - every[above - 1] < every[above] - radius, every[above - 1], every[above])
    form = ".4f" if row.method == "smoothadv" and row.dataset == "imagenet" else ".3"
    assert [float(f"{r:{form}}") for r in nearest] == radius.tolist()


def chance(*printed: str, n: int) -> float:
    return evidence(Log(Path(), pd.DataFrame({"radius": printed}), "", ""), n, 0.001, 0.25)


@pytest.mark.parametrize("middle", [0.2, 0.4, 0.5, 0.6, 0.7, 0.8])
def test_the_chance_of_a_radius_is_the_share_of_the_numbers_there_that_a_count_gives(middle: float) -> None:
    """All 200 numbers of four digits around it are tried one after another, and so is each count's radius."""
    every = certified_radius(np.arange(5_000, 10_001), 10_000, 0.001, 0.25)
    given = {f"{r:.4f}" for r in every}
    share = np.mean([f"{middle + i / 10_000:.4f}" in given for i in range(-100, 100)])
    assert 10 ** chance(f"{middle + 0.0001:.4f}", n=10_000) == pytest.approx(share, abs=1.5 / 200)


def test_arbitrary_radii_are_taken_as_often_as_is_said() -> None:
    """Four radii of each of 10,000 logs, drawn near their places between radii of counts."""
    n = 10_000
    places = certified_radius([9_000, 9_500, 9_600, 9_700], n, 0.001, 0.25)
    drawn = places + np.random.default_rng(0).uniform(-0.005, 0.005, (10_000, 4))
    texts = [f"{r:.4f}" for r in drawn.ravel()]
    taken = fits(np.array(texts, float), rounding(texts), n, 0.001, 0.25).reshape(drawn.shape).all(axis=1)
    said = chance(*(f"{r:.4f}" for r in places), n=n)
    assert said < -1
    assert np.log10(taken.mean()) == pytest.approx(said, abs=0.08)


def test_what_is_said_of_the_radii_that_come_with_the_suite() -> None:
    """In the documentation: 88 % of arbitrary radii fit; all of a log's at once hardly ever; 3.92σ needs α = 0.01."""
    arbitrary = np.random.default_rng(0).uniform(0.02 * 0.25, largest_radius(100_000, 0.001, 0.25), 20_000)
    texts = [f"{r:.3}" for r in arbitrary]
    fitting = fits(np.array(texts, float), rounding(texts), 100_000, 0.001, 0.25).mean()
    chances = {}
    for file in (file for board in ("cifar10", "imagenet") for file in PUBLISHED.glob(f"{board}/*.toml")):
        entry = Entry(**tomllib.loads(file.read_text()))
        records = pd.read_csv(file.with_suffix(".tsv.xz"), sep="\t", dtype={"radius": str})
        found = evidence(Log(file, records, "", ""), entry.n, entry.alpha, entry.sigma)
        chances[file.parent.name, entry.method, entry.sigma, entry.variant] = found
        assert ("arbitrary ones fit" in entry.note) == (found > -3)
    weakest = ("imagenet", "randomized-smoothing", 0.5, "")
    assert max(chances, key=lambda name: chances[name]) == weakest
    largest = published_records("imagenet/randomized-smoothing-resnet50_noise_0.50_sigma_0.50")["radius"].max()
    pages = ("docs/findings/findings.md", "docs/how-to/adding-a-board.md")
    findings, boards = (" ".join((ROOT / name).read_text().split()) for name in pages)
    for text in (findings, boards):
        assert f"{100 * fitting:.0f} % " in text
        assert f"{10 ** chances[weakest]:.4f}" in text
    assert f"below {probability(min(chances.values())).removeprefix('< ')}" in boards
    assert max(chance for name, chance in chances.items() if name[0] == "cifar10") < -11
    assert f"its largest radius, {largest / 0.5:.2f}σ, where {largest_radius(100_000, 0.001, 1):.2f}σ is" in findings


def test_repeated_radii_and_abstentions_are_no_evidence() -> None:
    one = chance("0.953", n=100_000)
    assert chance("0.953", "0.900", n=100_000) < one < -0.5
    assert chance("0.953", "0.953", "0.0", "0.953", n=100_000) == one
    assert chance("0.0", "0.0", n=100_000) == 0
    assert chance("0.100", "0.0", n=100_000) == 0  # every number of three digits is some count's there
    assert chance("0.1000000000000000", n=100_000) < -1  # and few of sixteen


def test_a_log_whose_radii_are_no_check_says_so(tmp_path: Path) -> None:
    given = GIVEN | {"n": 100_000}
    coarse = counted(tmp_path / "coarse.tsv", [60_000, 80_000, 90_000], n=100_000)
    [row] = import_logs([coarse], "cifar10", tmp_path, **given)
    assert row["chance"] > -3
    assert row["note"].endswith("radii too coarse to check n, α and σ: arbitrary ones fit with probability 1")
    fine = counted(tmp_path / "fine.tsv", list(range(99_900, 99_999)), n=100_000)
    [row] = import_logs([fine], "cifar10", tmp_path, **given)
    assert row["chance"] < -10
    assert "coarse" not in row["note"]


def test_a_log_of_few_images_needs_a_word(tmp_path: Path) -> None:
    few = counted(tmp_path / "few.tsv", list(range(900, 949)))
    with pytest.raises(UserError, match=r"few\.tsv has 49 images.*--few"):
        import_logs([few], "cifar10", tmp_path, **GIVEN | {"few": False})
    [row] = import_logs([few], "cifar10", tmp_path, **GIVEN)
    assert row["new"]
    assert published_rows("cifar10", tmp_path)[0].command.count("--few") == 1
    enough = counted(tmp_path / "enough.tsv", list(range(900, 950)))
    assert import_logs([enough], "cifar10", tmp_path / "b", **GIVEN | {"few": False})[0]["new"]
    assert "--few" not in published_rows("cifar10", tmp_path / "b")[0].command


def test_labels_are_those_of_the_test_set(tmp_path: Path) -> None:
    path = counted(tmp_path / "log.tsv", [1_000, 990, 980, 970])  # all of label 3
    numbered = [3, 3, 3, 3, 5, 1]
    assert import_logs([path], "cifar10", tmp_path, labels=(numbered, "there"), **GIVEN)[0]["new"]
    shifted = [3, 3, 5, 3, 3, 1]
    with pytest.raises(UserError, match=r"log\.tsv, line 4: label 3 of image 2, whose label is 5 in there"):
        import_logs([path], "cifar10", tmp_path / "b", labels=(shifted, "there"), **GIVEN)
    by_class = [4, 3, 5, 3, 3, 3]  # ImageNet's are numbered by file name, or class after class
    assert import_logs([path], "cifar10", tmp_path / "c", labels=(by_class, "there"), **GIVEN)[0]["new"]
    part = [3, 3]  # of the images that are there
    assert import_logs([path], "cifar10", tmp_path / "d", labels=(part, "there"), **GIVEN)[0]["new"]


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
    spec = make_spec(method="randomized-smoothing", dataset="cifar10", profile="quick", sigma=0.25, n=1_000, alpha=0.01)
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


@pytest.mark.parametrize(
    ("lines", "number", "said"),
    [
        (["0\t3\t3\t0.1\t1"], 2, "5 fields, not 6"),
        (["0\t3\tthree\t0.1\t1\t1.5"], 2, "predict 'three' is not a whole number"),
        (["0\t3\t3\tnan\t1\t1.5"], 2, "radius 'nan' is not a number"),
        (["0\t3\t3\t0,1\t1\t1.5"], 2, "radius '0,1' is not a number"),
        (["0\t3\t3\t-0.1\t1\t1.5"], 2, "radius -0.1 is negative"),
        (["0\t3\t-1\t0.1\t0\t1.5"], 2, "radius 0.1 where predict -1 abstains"),
        (["0\t3\t-1\t0.0\t1\t1.5"], 2, "correct 1 contradicts label 3 and predict -1"),
        (["0\t3\t3\t0.1\t0\t1.5"], 2, "correct 0 contradicts label 3 and predict 3"),
        (["0\t3\t4\t0.1\t1\t1.5"], 2, "correct 1 contradicts label 3 and predict 4"),
        (["0\t3\t3\t0.1\t2\t1.5"], 2, "correct 2 is neither 0 nor 1"),
        (["0\t3\t3\t0.1\tTrue\t1.5"], 2, "correct 'True' is not a whole number"),
        (["0\t10\t3\t0.1\t0\t1.5"], 2, "label 10 is not one of CIFAR-10's"),
        (["10000\t3\t3\t0.1\t1\t1.5"], 2, "idx 10000 is not one of CIFAR-10's"),
        (["0\t3\t3\t0.1\t1\t0:61:00"], 2, "time '0:61:00' is neither seconds nor h:mm:ss"),
        (["0\t3\t3\t0.1\t1\t-1"], 2, "time '-1' is neither"),
        (["0\t3\t3\t0.1\t1\t1"] * 2, 3, "image 0 is there twice"),
        (["5\t3\t3\t0.1\t1\t1", "4\t3\t3\t0.1\t1\t1"], 3, "idx 4 comes after 5"),
        (["0\t3\t3\t0.1\t1\t1", "", "1\t3\t3\t0.1\t1\t1"], 3, "1 fields, not 6"),
    ],
)
def test_a_line_that_cannot_be_is_named(tmp_path: Path, lines: list[str], number: int, said: str) -> None:
    path = log(tmp_path / "log.tsv", *lines)
    with pytest.raises(UserError) as error:
        import_logs([path], "cifar10", tmp_path, **GIVEN)
    assert str(error.value).startswith(f"{path}, line {number}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "cifar10").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "line 1: the header is not"),
        (b"idx,label,predict,radius,correct,time\n", "line 1: the header is not"),
        (HEADER.encode(), "has a header and no images"),
        (b"\xff\xfe", "is no log to be read"),
    ],
)
def test_files_that_are_no_logs(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "log.tsv").write_bytes(content)
    with pytest.raises(UserError, match=said):
        import_logs([tmp_path / "log.tsv"], "cifar10", tmp_path, **GIVEN)
    with pytest.raises(UserError, match="is no log to be read"):
        import_logs([tmp_path / "absent.tsv"], "cifar10", tmp_path, **GIVEN)


@pytest.mark.parametrize(("claimed", "true"), [(0.001, 0.01), (0.01, 0.001), (0.001, 0.05)])
def test_a_wrong_level_is_refused_and_the_right_one_named(tmp_path: Path, claimed: float, true: float) -> None:
    path = counted(tmp_path / "log.tsv", [1_000, 999, 998, 900], alpha=true)
    with pytest.raises(UserError) as error:
        import_logs([path], "cifar10", tmp_path, **GIVEN | {"alpha": claimed})
    assert f"line 2: radius {largest_radius(1_000, true, 0.25):.3} is" in str(error.value)
    assert ("above" in str(error.value)) == (claimed < true)
    assert f"alpha = {true:g} fits every radius" in str(error.value)
    assert import_logs([path], "cifar10", tmp_path, **GIVEN | {"alpha": true})[0]["new"]


def test_a_wrong_sigma_or_n_is_refused(tmp_path: Path) -> None:
    path = counted(tmp_path / "log.tsv", [1_000, 999, 998, 900])
    for wrong in ({"sigma": 0.12}, {"n": 500}, {"sigma": 0.3}):
        with pytest.raises(UserError, match="check n, sigma and alpha"):
            import_logs([path], "cifar10", tmp_path, **GIVEN | wrong)


@pytest.mark.parametrize(
    ("board", "changed", "said"),
    [
        ("cifar11", {}, "unknown board 'cifar11': did you mean 'cifar10"),
        ("cifar10", {"arch": None}, "give --arch"),
        ("cifar10", {"sigma": None}, "give --sigma"),
        ("cifar10", {"sigma": float("nan")}, "sigma"),
        ("cifar10", {"sigma": 63.75}, "give 0.25"),
        ("cifar10", {"trained_sigma": float("inf")}, "trained-sigma"),
        ("cifar10", {"n": 10**30}, "n: "),
        ("cifar10", {"citation": "Somebody"}, "no year"),
        ("cifar10", {"method": "../mine"}, "method '../mine'"),
        ("cifar10", {"alpha": 0.0}, "0 < alpha < 1"),
        ("cifar10", {"n": 5}, "n = 5 draws can certify nothing"),
    ],
)
def test_mistaken_settings(tmp_path: Path, board: str, changed: dict[str, Any], said: str) -> None:
    path = counted(tmp_path / "log.tsv", [1_000, 900])
    with pytest.raises(UserError) as error:
        import_logs([path], board, tmp_path, **GIVEN | changed)
    assert said in str(error.value)


def test_times_line_ends_and_unfinished_lines(tmp_path: Path) -> None:
    board, path = load_board("cifar10"), tmp_path / "log.tsv"
    lines = [HEADER, "0\t3\t3\t0.1\t1\t12.5\n", "20\t3\t-1\t0.0\t0\t1:02:03.25\n", "40\t3\t4\t0.2\t0\t0:00:01\n"]
    path.write_bytes("".join(lines).replace("\n", "\r\n").encode())
    whole = read_log(path, board)
    assert whole.records["time"].tolist() == [12.5, 3723.25, 1.0]
    assert whole.note == "every 20th test image; the log stops at image 40 of 10000, with 3 of 500 images"
    path.write_text("".join(lines) + "60\t3\t4\t0.")
    cut = read_log(path, board)
    assert cut.records["idx"].tolist() == [0, 20, 40]
    assert cut.note == f"{whole.note}; the unfinished last line is left out"
    path.write_text("".join(lines).rstrip())
    assert len(read_log(path, board).records) == 3
    path.write_text("".join([*lines[:3], "60\t3\t4\t0.2\t0\t1\n", "80\t3\t4\t0.2\t0\t1\n"]))
    assert "1 images are missing" in read_log(path, board).note


def test_a_top_5_log_may_be_correct_in_another_class(tmp_path: Path) -> None:
    path = log(tmp_path / "log.tsv", "0\t3\t4\t0.0\t1\t1", "1\t3\t4\t0.0\t0\t1")
    assert len(read_log(path, load_board("cifar10"), top=5).records) == 2
    with pytest.raises(UserError, match="line 2: correct 1 contradicts"):
        read_log(path, load_board("cifar10"), top=1)


def test_radii_may_be_rounded_in_any_of_the_usual_ways() -> None:
    radius = certified_radius([1_000, 999, 990, 900, 700, 560], 1_000, 0.001, 1.0)
    for printed in ([f"{r:.3}" for r in radius], [f"{r:.4f}" for r in radius], [str(round(r, 4)) for r in radius]):
        assert fits(np.array(printed, float), rounding(printed), 1_000, 0.001, 1.0).all()
        assert (rounding(printed) >= np.abs(np.array(printed, float) - radius)).all()
    assert fits(radius, rounding([repr(float(r)) for r in radius]), 1_000, 0.001, 1.0).all()
    assert not fits(radius[:2] * 1.001, rounding([repr(float(r)) for r in radius[:2]]), 1_000, 0.001, 1.0).any()


def test_importing_again_changes_nothing_and_other_content_needs_a_word(tmp_path: Path) -> None:
    path = counted(tmp_path / "resnet110_PGD_2steps_noise_0.12_sigma_0.25.tsv", [1_000, 900, 800])
    given = GIVEN | {"arch": None, "sigma": None}
    contents = []
    for root in (tmp_path / "a", tmp_path / "b"):
        assert import_logs([path], "cifar10", root, **given)[0]["new"]
        contents.append({file.name: file.read_bytes() for file in sorted((root / "cifar10").iterdir())})
    assert contents[0] == contents[1]
    assert not import_logs([path], "cifar10", tmp_path / "a", **given)[0]["new"]
    [row] = published_rows("cifar10", tmp_path / "a")
    assert (row.arch, row.variant, row.sigma, row.trained_sigma) == ("resnet110", "PGD 2steps", 0.25, 0.12)
    assert (row.date, row.seconds_per_certificate, row.images) == ("2021", 1.5, 3)
    counted(path, [1_000, 900, 850])
    with pytest.raises(UserError, match="--replace"):
        import_logs([path], "cifar10", tmp_path / "a", **given)
    assert published_rows("cifar10", tmp_path / "a") == [row]
    assert import_logs([path], "cifar10", tmp_path / "a", replace=True, **given)[0]["new"]
    assert published_rows("cifar10", tmp_path / "a")[0].acr > row.acr


def test_of_several_logs_all_are_taken_or_none(tmp_path: Path) -> None:
    good = counted(tmp_path / "good.tsv", [1_000, 900])
    bad = log(tmp_path / "bad.tsv", "0\t3\t3\t0.1\t0\t1")
    with pytest.raises(UserError, match=r"bad\.tsv, line 2"):
        import_logs([good, bad], "cifar10", tmp_path, **GIVEN)
    assert published_rows("cifar10", tmp_path) == []
    with pytest.raises(UserError, match="same name"):
        import_logs([good, good], "cifar10", tmp_path, **GIVEN)


def test_a_damaged_row_is_named(tmp_path: Path) -> None:
    import_logs([counted(tmp_path / "log.tsv", [1_000])], "cifar10", tmp_path, **GIVEN)
    (tmp_path / "cifar10" / "mine-log.tsv.xz").write_bytes(b"\xfd7zXZ")
    with pytest.raises(UserError, match=r"mine-log\.toml or its log is damaged"):
        published_rows("cifar10", tmp_path)


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
