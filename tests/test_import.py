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
from helpers.logs import GIVEN, HEADER, counted, log
from jsonschema import Draft202012Validator

from leaderboards import load_board
from leaderboards.published import published_rows
from leaderboards.published.log import fits, read_log, rounding
from leaderboards.published.store import import_logs
from leaderboards.render.schema import schema
from suite.errors import UserError
from suite.statistics.bounds import (
    certified_radius,
)


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
