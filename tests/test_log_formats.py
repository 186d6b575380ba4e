"""The forms in which per-image logs are found: what is read, what it becomes, and what is refused."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.cli import call, succeed
from helpers.logs import HEADER

from leaderboards import groups, load_board, table
from leaderboards.published import published_rows, read_entry
from leaderboards.published.log import read_log
from leaderboards.published.names import catalogued_name, row_names, said_of
from leaderboards.published.store import import_logs
from suite.errors import UserError
from suite.statistics.bounds import certified_radius

GIVEN: dict[str, Any] = {"method": "mine", "citation": "A. Author. A Title. A Venue, 2021.", "top": 1, "few": True}
ROWS = [  # idx, label, predict, radius, correct, time
    ("0", "3", "3", "0.512", "1", "12.5"),
    ("20", "7", "-1", "0.0", "0", "0:00:12.500000"),
    ("40", "1", "2", "0.25", "0", "1:02:03"),
    ("60", "4", "4", "0.0838", "1", "1 day, 0:00:01"),
]
LINES = "".join("\t".join(row) + "\n" for row in ROWS)
KNOWN = [(int(i), int(y), int(p), r, int(c)) for i, y, p, r, c, _ in ROWS]


def found(path: Path, content: str | bytes) -> Any:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_log(path, load_board("cifar10"))


def joined(separator: str) -> str:
    rows = [HEADER.split(), *((*row[:5], "1.5") for row in ROWS)]
    return "\n".join(separator.join(row) for row in rows)


FORMS: dict[str, tuple[str, bytes]] = {
    "tabs": ("a.tsv", (HEADER + LINES).encode()),
    "no suffix": ("noise_0.25", (HEADER + LINES).encode()),
    "CRLF": ("a.tsv", (HEADER + LINES).replace("\n", "\r\n").encode()),
    "mark": ("a.tsv", (HEADER + LINES).encode("utf-8-sig")),
    "UTF-16": ("a.tsv", (HEADER + LINES).encode("utf-16")),
    "packed": ("a.tsv.xz", lzma.compress((HEADER + LINES).encode())),
    "commas": ("a.csv", joined(",").encode()),
    "quotes": ("a.csv", joined(",").replace("12", "12").replace("0.512", '"0.512"').encode()),
    "semicolons": ("a.csv", joined(";").encode()),
    "spaces": ("a.txt", joined("   ").encode()),
    "capitals": ("a.tsv", (HEADER.title() + LINES).encode()),
    "blanks": ("a.tsv", ("\n" + HEADER + "\n" + LINES.replace("\n", "\n\n") + " \n\n").encode()),
    "no end": ("a.tsv", (HEADER + LINES).rstrip().encode()),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_records(tmp_path: Path, form: str) -> None:
    name, content = FORMS[form]
    log = found(tmp_path / name, content)
    columns = ["idx", "label", "predict", "radius", "correct"]
    assert list(log.records[columns].itertuples(index=False, name=None)) == KNOWN
    assert log.note == "every 20th test image; the log stops at image 60 of 10000, with 4 of 500 images"
    if name == "a.tsv":
        assert log.records["time"].tolist() == [12.5, 12.5, 3723.0, 86401.0]


def test_columns_in_any_order_and_no_time(tmp_path: Path) -> None:
    lines = ["radius\tcorrect\tidx\tlabel\tpredict\tsource", "0.512\t1\t0\t3\t3\ta", "0.0\t0\t20\t7\t-1\tb"]
    log = found(tmp_path / "a.tsv", "\n".join(lines))
    assert log.records["idx"].tolist() == [0, 20]
    assert log.records["time"].isna().all()
    assert (log.others, log.clean) == (("source",), None)


ACES = "idx\tlabel\tpredict\tradius\tcorrect\tunperturbed predict\tunperturbed correct\ttime\n"


def test_the_clean_answers_of_aces_are_its_clean_accuracy(tmp_path: Path) -> None:
    """At α = 0.001/2, three of four answers right, one of them where the certificate abstains."""
    radii = [f"{r:.3}" for r in certified_radius([100_000, 90_000, 70_000], 100_000, 0.0005, 0.25)]
    lines = [
        f"0\t3\t3\t{radii[0]}\t1\t3\t1\t0:01:18",
        f"20\t8\t8\t{radii[1]}\t1\t-1\t0\t0:01:18",
        f"40\t5\t5\t{radii[2]}\t1\t5\t1\t0:01:18",
        "60\t5\t-1\t0.0\t0\t5\t1\t0:01:18",
    ]
    path = tmp_path / "cifar10_certification"
    path.write_text(ACES + "\n".join(lines) + "\n")
    given = GIVEN | {"arch": "resnet110", "sigma": 0.25}
    with pytest.raises(UserError, match=r"line 2: radius 0\.947 is that of no count"):
        import_logs([path], "cifar10", tmp_path, **given)
    import_logs([path], "cifar10", tmp_path, **given, alpha=0.0005)
    [row] = published_rows("cifar10", tmp_path)
    assert (row.clean_accuracy, row.certified_accuracy["0.05"], row.abstained) == (3 / 4, 3 / 4, 1 / 4)
    entry = read_entry("cifar10/mine-cifar10_certification", tmp_path)
    assert (entry.clean, entry.columns) == (3, ["unperturbed predict", "unperturbed correct"])
    path.write_text(ACES + lines[0].replace("\t3\t1\t0:", "\t4\t1\t0:"))
    with pytest.raises(UserError, match="line 2: unperturbed correct 1 contradicts label 3 and unperturbed predict 4"):
        import_logs([path], "cifar10", tmp_path, **given, alpha=0.0005)


def test_a_header_that_is_repeated_is_skipped_where_indices_go_on(tmp_path: Path) -> None:
    two = LINES.splitlines(keepends=True)
    log = found(tmp_path / "a.tsv", "".join([HEADER, *two[:2], HEADER, *two[2:]]))
    assert log.records["idx"].tolist() == [0, 20, 40, 60]
    assert log.records.index.tolist() == [2, 3, 5, 6]  # lines of the file
    assert log.note.endswith("the header is repeated in line 4: the log was written in parts")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            HEADER + LINES + HEADER + LINES,
            "line 7: image 0 is there twice; a second run begins at the header in line 6",
        ),
        (HEADER + LINES + LINES, "line 6: image 0 is there twice: a second run begins here; keep one of the two"),
        (HEADER + LINES + "10\t3\t3\t0.1\t1\t1\n", "line 6: idx 10 comes after 60; they have to rise"),
        (HEADER + LINES + LINES[-30:], "line 6: "),
        (HEADER + "1\t3\t3\t0.1\t1\n", "line 2: 5 fields, not 6"),
        (HEADER + "1\t3\t3\t0.1\t1\t1 day 2:00:00\n", "line 2: time '1 day 2:00:00' is neither"),
        (HEADER + "1" * 30 + "\t3\t3\t0.1\t1\t1\n", "line 2: idx '1111"),
    ],
)
def test_what_is_no_log_is_refused_with_its_line(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        found(tmp_path / "a.tsv", content)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def corrupted(path: Path, broken: int = 0) -> Path:
    """Every 1,000th image of five severities; the labels are those of 10,000 images, five times."""
    radii = certified_radius(np.arange(99_000, 99_050), 100_000, 0.001, 0.25)
    labels = [(idx % 10_000 // 1_000 + (idx < broken)) % 10 for idx in range(0, 50_000, 1_000)]
    lines = (f"{1_000 * k}\t{y}\t{y}\t{r:.6f}\t1\t1" for k, (y, r) in enumerate(zip(labels, radii, strict=True)))
    path.write_text(HEADER + "\n".join(lines) + "\n")
    return path


def test_a_corruptions_rows_share_no_table_with_anothers(tmp_path: Path) -> None:
    labels = (np.tile(np.arange(10_000) // 1_000, 5), "there")
    given = GIVEN | {"arch": "cnn", "sigma": 0.25, "few": False, "labels": labels}
    for name in ("fog", "frost"):
        import_logs([corrupted(tmp_path / name)], "cifar10-c", tmp_path, **given, corruption=name)
    with pytest.raises(UserError, match="line 2: label 1 of image 0, whose label is 0 in there"):
        import_logs([corrupted(tmp_path / "snow", 1)], "cifar10-c", tmp_path, **given, corruption="snow")
    with pytest.raises(UserError, match="idx 10000 is not one of CIFAR-10's"):
        import_logs([corrupted(tmp_path / "fog")], "cifar10", tmp_path, **given)
    titles = [title for title, _ in groups(table("cifar10-c", tmp_path, published=tmp_path))]
    rest = "σ = 0.25, top-1, 50 images, every 1000th, n = 100000, α = 0.001"
    assert titles == [f"CIFAR-10-C: fog: {rest}", f"CIFAR-10-C: frost: {rest}"]
    assert "severities 1, 2, 3, 4, 5, 10000 images each" in published_rows("cifar10-c", tmp_path)[0].note


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("noise_0.25", {"trained_sigma": "0.25", "sigma": "0.25"}),
        ("noise_0.50_7483.tsv", {"trained_sigma": "0.50", "sigma": "0.50", "seed": "7483"}),
        ("noist_0.25.tsv.xz", {"trained_sigma": "0.25", "sigma": "0.25"}),
        ("cohen/noise_0.12/test/sigma_0.50", {"trained_sigma": "0.12", "sigma": "0.50"}),
        (
            "resnet50_PGD_1step_noise_1.00_sigma_0.50",
            {"arch": "resnet50", "variant": "PGD_1step", "trained_sigma": "1.00", "sigma": "0.50"},
        ),
        ("log.tsv", {}),
    ],
)
def test_names_say_noise_and_seed(path: str, said: dict[str, str]) -> None:
    assert said_of(Path(path)) == said


def test_no_two_logs_have_one_name() -> None:
    same = [Path("a/noise_0.25/test/sigma_0.25"), Path("b/noise_0.25/test/sigma_0.25")]
    assert row_names(same[:1], "m") == ["m-sigma_0.25"]
    assert row_names(same, "m") == [f"m-{name}-noise_0.25-test-sigma_0.25" for name in "ab"]
    assert row_names([Path("noise_0.25"), Path("noise_0.50")], "m") == ["m-noise_0.25", "m-noise_0.50"]
    assert catalogued_name("m", "resnet110", 0.25, 0.25, None, "abcdef0123") == "m-resnet110-sigma0.25-abcdef01"
    assert catalogued_name("m", "cnn", 0.5, 0.12, 7, "abcdef0123") == "m-cnn-noise0.12-sigma0.5-seed7-abcdef01"
    assert catalogued_name("m", "cnn", None, None, None, "abcdef0123") == "m-cnn-margin-abcdef01"


def test_several_noises_and_seeds_in_one_go(tmp_path: Path) -> None:
    files = []
    for noise in (0.25, 0.5):
        for seed in (1, 2):
            file = tmp_path / f"noise_{noise}_{seed}"
            radii = certified_radius([990, 980 + seed], 1_000, 0.001, noise)
            file.write_text(HEADER + "".join(f"{i}\t3\t3\t{r:.3}\t1\t1\n" for i, r in enumerate(radii)))
            files.append(str(file))
    about = ["--board", "cifar10", "--method", "mine", "--citation", GIVEN["citation"], "--arch", "cnn", "--n", "1000"]
    said = succeed("import", *files, *about, "--few", "--board-root", tmp_path)
    assert said.count("2 images; ") == 4
    rows = published_rows("cifar10", tmp_path)
    assert [(row.sigma, row.trained_sigma, row.seed) for row in rows] == [
        (0.25, 0.25, 1), (0.25, 0.25, 2), (0.5, 0.5, 1), (0.5, 0.5, 2),
    ]  # fmt: skip
    refused = call("import", *files, *about, "--few", "--board-root", tmp_path, "--row", "one")
    assert (refused.code, "--row one" in refused.err) == (2, True)
    refused = call("import", files[0], "--board", "cifar10", "--board-root", tmp_path)
    assert (refused.code, "import needs --method, --citation, or a --manifest" in refused.err) == (2, True)


def test_a_name_that_is_taken_can_be_another(tmp_path: Path) -> None:
    texts: list[Callable[[], str]] = [lambda: LINES, lambda: LINES.replace("0.512", "0.513")]
    given = {"kind": "margin", "arch": "cnn", **GIVEN}
    for number, text in enumerate(texts):
        (tmp_path / "log.tsv").write_text(HEADER + text())
        if number:
            with pytest.raises(UserError, match="--replace puts this log in its place, --row gives it another name"):
                import_logs([tmp_path / "log.tsv"], "cifar10", tmp_path, **given)
        import_logs([tmp_path / "log.tsv"], "cifar10", tmp_path, row=f"mine-{number}" if number else None, **given)
    assert [row.run_id for row in published_rows("cifar10", tmp_path)] == ["cifar10/mine-1", "cifar10/mine-log"]
    assert "--row mine-1 --kind margin" in published_rows("cifar10", tmp_path)[0].command
