"""`suite import`: which logs are taken, what is said of them, and what is refused."""

from __future__ import annotations

import io
import json
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.cli import call, succeed
from helpers.logs import HEADER, counted, log
from jsonschema import Draft202012Validator

from leaderboards import load_board
from leaderboards.published import entries, published_rows
from leaderboards.published.log import Log, evidence, fits, read_log, rounding
from leaderboards.published.store import import_logs
from leaderboards.render.schema import schema
from suite.cli.boards import probability
from suite.errors import UserError
from suite.statistics.bounds import (
    certified_radius,
    largest_radius,
)

ROOT = Path(__file__).parents[1]
BOARDS = ("cifar10", "cifar100", "fashion-mnist", "imagenet", "mnist")


GIVEN: dict[str, Any] = {
    "method": "mine", "citation": "A. Author. A Title. A Venue, 2021.", "arch": "cnn", "sigma": 0.25,
    "trained_sigma": None, "n0": 100, "n": 1_000, "alpha": 0.001, "top": 1, "note": None, "few": True,
}  # fmt: skip


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
    known = [entry for board in BOARDS for entry in entries(board).values()]
    assert all(("arbitrary ones fit" in entry.note) == (entry.chance > -3) for entry in known)
    where = ("locuslab/smoothing", "ImageNet", 0.5, 0.5)
    [cohen] = [own for own in known if (own.repository, own.data, own.sigma, own.trained_sigma) == where]
    pages = ("docs/findings/findings.md", "docs/how-to/adding-a-board.md")
    findings, boards = (" ".join((ROOT / name).read_text().split()) for name in pages)
    weak = sum(entry.chance > -3 for entry in known)
    for text in (findings, boards):
        assert f"{100 * fitting:.0f} % " in text
        assert f"{weak} of the {len(known)}" in text
    assert f"{10**cohen.chance:.4f} for Cohen et al.'s ImageNet log at σ = 0.5" in findings
    assert f"below {probability(min(entry.chance for entry in known)).removeprefix('< ')}" in boards
    whole = [entry.chance for entry in known if entry.data == "CIFAR-10" and entry.images == 10_000]
    assert max(whole) < -6
    assert "below 1e-6 for each CIFAR-10 log of 10,000 images" in findings
    largest = largest_radius(100_000, 0.001, 1)
    assert f"its largest radius, {cohen.largest / 0.5:.2f}σ, where {largest:.2f}σ is" in findings


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
        (["0\t3\t3\t0.1\t1\t1", "1", "2\t3\t3\t0.1\t1\t1"], 3, "1 fields, not 6"),
        (["0\t3\t3\t0.1\t1\t1", "", "1\t3\t3\t0.1\t1"], 4, "5 fields, not 6"),
        (["0\t3\t3\t401\t1\t1"], 2, "radius 401 is larger than two images"),
        (["0\t3\t3\t1e999\t1\t1"], 2, "radius 1e999 is larger than two images"),
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
        (b"idx,label,predict,time\n", "line 1: the header is not .*; it lacks radius, correct"),
        (b"idx,label,predict,radius,correct,time\n", "has a header and no images"),
        (b"idx\tlabel\tpredict\tradius\tcorrect\tidx\n", "names a column twice"),
        (HEADER.encode(), "has a header and no images"),
        (b"\xff\xfa", "is no log to be read"),
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
    file = tmp_path / "cifar10" / "mine-log.toml"
    whole = file.read_text()
    damages = {
        "acr = 0.616": ("acr = 0.5", "acr: 0.5 is not that of its counts"),
        "images = 1": ("images = 0", "images: Input should be greater than 0"),
        "abstained = 0": ("abstained = 1", "certified: counts that no images have"),
        "ties = '''\n0": ("ties = '''\n2", "certified: counts that no images have"),
        "certified = '''\n1": ("certified = '''\nmany", "invalid literal"),
        "p_wrong = '''\n0": ("p_wrong = '''\n1", "p_right, p_wrong: counts that are not those of its images"),
        "alpha = 0.001": ('alpha = "a"', "alpha: Input should be a valid number"),
    }
    for right, (wrong, said) in damages.items():
        assert right in whole
        file.write_text(whole.replace(right, wrong))
        with pytest.raises(UserError, match=rf"mine-log\.toml is damaged \({said}"):
            published_rows("cifar10", tmp_path)


MARGINS: dict[str, Any] = {name: GIVEN[name] for name in ("method", "citation", "arch", "top", "few")} | {
    "kind": "margin"
}


def margins(path: Path) -> Path:
    """A log of a deterministic network, with radii that no number of votes gives: right, right, wrong, right."""
    lines = ["0\t3\t3\t0.5\t1\t0.1", "1\t8\t8\t7.25\t1\t0.1", "2\t8\t1\t0.3\t0\t0.1", "3\t0\t0\t0.0\t1\t0.1"]
    return log(path, *lines)


def test_a_log_of_margins_needs_no_noise(tmp_path: Path) -> None:
    """Radii of 0.5, 7.25 and 0 where right: certified at 0.25 are 2 of 4, and ACR = 7.75 / 4."""
    path = margins(tmp_path / "liresnet.tsv")
    with pytest.raises(UserError, match=r"line 3: radius 7\.25 is above"):
        import_logs([path], "cifar10", tmp_path, **GIVEN)
    [said] = import_logs([path], "cifar10", tmp_path, **MARGINS)
    assert (said["new"], said["chance"], said["images"]) == (True, None, 4)
    [row] = published_rows("cifar10", tmp_path)
    assert (row.kind, row.deployed, row.holds, row.alpha) == ("margin", "pass", True, 0.0)
    assert {getattr(row, name) for name in ("sigma", "n0", "n", "sampling", "noise", "precision", "draws")} == {None}
    assert row.claim == (
        "the single pass keeps its answer within the radius, for the Lipschitz constant that its authors prove"
    )
    assert (row.acr, row.clean_accuracy, row.certified_accuracy["0.25"]) == (7.75 / 4, 3 / 4, 2 / 4)
    entry = (tmp_path / "cifar10" / "mine-liresnet.toml").read_text()
    assert 'kind = "margin"' in entry
    assert not {"sigma", "n0", "n", "alpha"} & tomllib.loads(entry).keys()
    assert not import_logs([path], "cifar10", tmp_path, **MARGINS)[0]["new"]
    assert row.command == (
        "suite import liresnet.tsv --board cifar10 --method mine --arch cnn --kind margin --top 1 --few "
        "--citation 'A. Author. A Title. A Venue, 2021.'"
    )


def test_a_log_of_margins_where_the_network_may_abstain_has_no_clean_accuracy(tmp_path: Path) -> None:
    path = log(tmp_path / "gloro.tsv", "0\t3\t3\t0.5\t1\t0.1", "1\t8\t-1\t0.0\t0\t0.1")
    import_logs([path], "cifar10", tmp_path, **MARGINS)
    [row] = published_rows("cifar10", tmp_path)
    assert (row.clean_accuracy, row.abstained) == (None, 1 / 2)


@pytest.mark.parametrize("noise", ["sigma", "n0", "n", "alpha"])
def test_noise_of_a_log_of_margins_is_refused(tmp_path: Path, noise: str) -> None:
    path = margins(tmp_path / "resnet20_noise_0.25_sigma_0.25.tsv")  # what its name says is not asked for
    with pytest.raises(UserError, match=f"a margin has no {noise}: leave that out"):
        import_logs([path], "cifar10", tmp_path, **MARGINS | {noise: GIVEN[noise]})
    import_logs([path], "cifar10", tmp_path, **{name: v for name, v in MARGINS.items() if name != "arch"})
    [row] = published_rows("cifar10", tmp_path)
    assert (row.arch, row.sigma, row.trained_sigma) == ("resnet20", None, None)


def test_an_unknown_kind_and_an_entry_between_both_are_named(tmp_path: Path) -> None:
    path = margins(tmp_path / "log.tsv")
    with pytest.raises(UserError, match="kind 'promise': a certificate is a vote or a margin"):
        import_logs([path], "cifar10", tmp_path, **MARGINS | {"kind": "promise"})
    import_logs([path], "cifar10", tmp_path, **MARGINS)
    file = tmp_path / "cifar10" / "mine-log.toml"
    file.write_text(file.read_text() + "sigma = 0.25\n")
    with pytest.raises(UserError, match=r"mine-log\.toml is damaged \(a log of kind margin"):
        published_rows("cifar10", tmp_path)


def test_imported_margins_stand_in_every_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line, beside a log of votes on the same images: in its table, in each format, as JSON's schema."""
    monkeypatch.setattr("leaderboards.published.PUBLISHED", tmp_path / "none")
    board = ["--board", "cifar10", "--board-root", str(tmp_path / "boards"), "--few", "--citation", GIVEN["citation"]]
    line = ["import", str(margins(tmp_path / "liresnet.tsv")), "--method", "liresnet", "--arch", "liresnet"]
    said = call(*line, *board, "--kind", "margin", "--sigma", "0.25")
    assert (said.code, said.out, "a margin has no sigma" in said.err) == (2, "", True)
    said = call(*line, *board, "--kind", "margin", "--n", "10")
    assert (said.code, "a margin has no n" in said.err) == (2, True)
    assert "radii not checked: they rest on the Lipschitz constant" in succeed(*line, *board, "--kind", "margin")
    votes = counted(tmp_path / "cnn_noise_0.25_sigma_0.25.tsv", [1_000, 999, 990, 900])
    succeed("import", str(votes), "--method", "voted", *board, "--n", "1000")
    place = ["leaderboard", "cifar10", "--board-root", str(tmp_path / "boards"), "--runs", str(tmp_path / "none")]
    shown = succeed(*place)
    assert shown.count("margins have no noise") == 1
    assert "[1]" in shown
    assert "liresnet: the single pass keeps its answer within the radius, for the Lipschitz constant" in shown
    csv = pd.read_csv(io.StringIO(succeed(*place, "--format", "csv"))).set_index("method")
    assert csv.loc["liresnet", ["rank", "kind", "deployed", "holds"]].tolist() == [1, "margin", "pass", True]
    assert csv.loc["voted", ["rank", "kind", "deployed", "holds"]].tolist() == [2, "vote", "vote", True]
    content = json.loads(succeed(*place, "--format", "json"))
    assert list(Draft202012Validator(schema()).iter_errors(content)) == []
    own = {row["method"]: row for row in content["rows"]}["liresnet"]
    assert (own["kind"], own["sigma"], own["source"], own["certified_accuracy"]["1.0"]) == (
        "margin", None, "published", 1 / 4,
    )  # fmt: skip
    assert ">margin<" in succeed(*place, "--format", "html")
