"""Many logs from a catalogue: their rows, what is refused, and the logs themselves from a server."""

from __future__ import annotations

import hashlib
import json
import lzma
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.cli import call, succeed
from helpers.logs import HEADER
from pydantic import ValidationError

from leaderboards.board import table
from leaderboards.curves import row_curve, row_records
from leaderboards.published import published_rows, read_entry
from leaderboards.published.entry import Entry
from leaderboards.published.fetch import fetch_log, find_row, kept_log, published_records
from leaderboards.published.manifest import import_manifest
from leaderboards.published.names import catalogued_name
from suite.errors import UserError
from suite.statistics.bounds import certified_radius

PAPERS = """
[one]
citation = "A. One. A Title. A Venue, 2019."
arxiv = "1901.00001"
code = "one/code"
[two]
citation = "B. Two. Another Title. A Venue, 2021."
arxiv = "2101.00002"
code = "two/code"
"""
COUNTS = np.arange(99_000, 99_060)


def text(counts: Any, sigma: float, alpha: float = 0.001) -> str:
    """A log of right answers, image k of class k % 10; the first abstains."""
    radii = certified_radius(counts, 100_000, alpha, sigma)
    lines = [f"{k}\t{k % 10}\t{k % 10}\t{r:.6f}\t1\t0:00:02" for k, r in enumerate(radii)]
    lines[0] = "0\t0\t-1\t0.0\t0\t0:00:02"
    return HEADER + "".join(f"{line}\n" for line in lines)


class Catalogue:
    """Logs, and what is said of them: `logs` by repository, path and σ, `change` for one line's fields."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.lines = folder, folder / "catalogue.tsv", list[dict[str, str]]()
        folder.mkdir()
        (folder / "papers.toml").write_text(PAPERS)

    def add(self, repository: str, method: str, path: str, sigma: float, content: str, /, **more: str) -> None:
        packed = f"{repository.replace('/', '-')}--{path.replace('/', '--')}.xz"
        (self.folder / packed).write_bytes(lzma.compress(content.encode()))
        line = {"file": packed, "repository": repository, "commit": "c0ffee", "path": path, "licence": "MIT"}
        line |= {"dataset": "cifar10", "method": method, "variant": "", "arch": "cnn", "sigma": str(sigma)}
        line |= {"trained_sigma": str(sigma), "seed": "", "n": "100000", "alpha": "0.001", "images": "60", "acr": ""}
        line |= {"r0": "98.3", "r0.25": "98.3", "sha256": hashlib.sha256(content.encode()).hexdigest()}
        self.lines.append(line | more)

    def write(self) -> Path:
        frame = pd.DataFrame(self.lines)
        frame.to_csv(self.file, sep="\t", index=False)
        return self.file


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    """Three logs, two of them with one name, and one of another paper's method."""
    made = Catalogue(tmp_path / "logs")
    made.add("one/code", "one", "noise_0.25", 0.25, text(COUNTS, 0.25))
    made.add("two/code", "two", "noise_0.25", 0.25, text(COUNTS + 60, 0.25), seed="7")
    made.add("two/code", "one", "noise_0.5", 0.5, text(COUNTS, 0.5), variant="again")
    return made


@pytest.fixture
def server(catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serves a folder with the logs as their repositories have them; a cache of its own."""
    root = tmp_path / "served"
    for line in catalogue.lines:
        place = root / line["repository"] / line["commit"] / line["path"]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(lzma.decompress((catalogue.folder / line["file"]).read_bytes()))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *said: Any) -> None:
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    monkeypatch.setenv("SUITE_LOGS_URL", f"http://127.0.0.1:{served.server_port}/")
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    yield root
    served.shutdown()
    served.server_close()


def test_one_command_makes_every_row(catalogue: Catalogue, tmp_path: Path) -> None:
    root = ["--board-root", tmp_path / "boards"]
    done = json.loads(succeed("import", "--manifest", catalogue.write(), *root, "--format", "json"))
    assert [(row["images"], row["new"], row["dataset"], row["figures"]) for row in done] == [
        (60, True, "cifar10", 3)
    ] * 3
    rows = {row.run_id.rpartition("-")[0]: row for row in published_rows("cifar10", tmp_path / "boards")}
    assert list(rows) == ["cifar10/one-cnn-sigma0.25", "cifar10/one-cnn-sigma0.5", "cifar10/two-cnn-sigma0.25-seed7"]
    again, own = rows["cifar10/one-cnn-sigma0.5"], rows["cifar10/one-cnn-sigma0.25"]
    assert again.citation.startswith("B. Two")  # whose repository it lies in
    assert again.note.endswith("method: A. One. A Title. A Venue, 2019.")
    assert (again.url, again.method_url) == ("https://arxiv.org/abs/2101.00002", "https://arxiv.org/abs/1901.00001")
    assert (own.citation[:6], own.date, own.licence) == ("A. One", "2019", "MIT")
    assert own.command == f"suite published fetch {own.run_id}"
    assert own.seconds_per_certificate == 2
    said = succeed("import", "--manifest", catalogue.write(), *root)
    assert said.count("60 images, there already") == 3
    assert "3 logs, 0 rows new; 9 printed figures came out of them" in said
    assert f"next: suite leaderboard cifar10 --board-root {tmp_path / 'boards'}" in said
    refused = call("import", "--manifest", catalogue.file, "--method", "one", *root)
    assert (refused.code, "leave out files" in refused.err) == (2, True)


def replaced(content: str, line: int, old: str, new: str) -> str:
    lines = content.splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    return "".join(lines)


PLAIN = text(COUNTS, 0.25)
FIFTH = f"{certified_radius(99_004, 100_000, 0.001, 0.25):.6f}"


@pytest.mark.parametrize(
    ("content", "changed", "said"),
    [
        (replaced(PLAIN, 6, FIFTH, f"{float(FIFTH) + 0.00003:.6f}"), {}, "xz, line 6: radius 0.5"),  # by hand
        (text(COUNTS, 0.25, alpha=0.01), {}, r"xz, line 3: radius .* alpha = 0.01 fits every radius"),
        (text(COUNTS, 0.3), {}, r"xz, line 3: radius .* check n, sigma and alpha"),
        (replaced(PLAIN, 6, "4\t4\t4\t", "3\t4\t4\t"), {}, "xz, line 6: image 3 is there twice"),
        (replaced(PLAIN, 7, "5\t5\t5\t", "5\t6\t6\t"), {}, "line 7: label 6 of image 5, which has the label 5"),
        (PLAIN, {"sha256": "ab" * 32}, "is not the log in .*catalogue.tsv, line 5: its SHA-256 is"),
        (PLAIN, {"images": "61"}, "line 5: images is printed as 61, and .* gives 60"),
        (PLAIN, {"r0.25": "98.4"}, "line 5: certified accuracy at 0.25 is printed as 98.4, and .* gives 98.333"),
        (PLAIN, {"acr": "0.1"}, "line 5: acr is printed as 0.1"),
        (PLAIN, {"acr": "much"}, "line 5: 'much' is not a figure"),
        (PLAIN, {"dataset": "cifar11"}, "unknown board 'cifar11'"),
        (PLAIN, {"method": "three"}, "line 5: papers.toml beside the catalogue has no citation of three"),
        (PLAIN, {"seed": "x"}, "line 5: invalid literal"),
        (PLAIN, {"file": "none.xz"}, "none.xz is no log to be read"),
        (PLAIN, {"arch": ""}, "line 5: no arch"),
    ],
)  # fmt: skip
def test_what_does_not_hold_is_refused_and_nothing_is_written(
    catalogue: Catalogue, tmp_path: Path, content: str, changed: dict[str, str], said: str
) -> None:
    catalogue.add("one/code", "one", "other", 0.25, content, variant="other", **changed)
    with pytest.raises(UserError, match=said) as error:
        import_manifest(catalogue.write(), tmp_path / "boards")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "boards").exists()


def test_the_first_of_several_is_named_and_the_others_counted(catalogue: Catalogue, tmp_path: Path) -> None:
    for line in catalogue.lines[1:]:
        line["images"] = "1"
    with pytest.raises(UserError, match=r"line 3: images is printed as 1, .* \(and 1 more are refused\)"):
        import_manifest(catalogue.write(), tmp_path / "boards")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("file\tdataset\n", "is no catalogue of logs: it has no column method, arch, sha256"),
        ("file\tdataset\tmethod\tarch\tsha256\n", "lists no logs"),
        ("file\tdataset\tmethod\tarch\tsha256\na\tb\n", "line 2: not as many fields as columns"),
        ("file\tdataset\tmethod\tarch\tsha256\na\tb\tc\td\te\tf\n", "line 2: not as many fields as columns"),
    ],
)
def test_what_is_no_catalogue(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "c.tsv").write_text(content)
    with pytest.raises(UserError, match=said):
        import_manifest(tmp_path / "c.tsv", tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        import_manifest(tmp_path / "none.tsv", tmp_path)


def test_margins_and_other_noise_in_a_catalogue(catalogue: Catalogue, tmp_path: Path) -> None:
    margins = HEADER + "".join(f"{k}\t{k % 10}\t{k % 10}\t{k / 60}\t1\t1\n" for k in range(60))
    more = {"sigma": "", "trained_sigma": "", "n": "", "alpha": "", "citation": "C. Three. A Title. A Venue, 2022."}
    catalogue.add("one/code", "three", "margins.csv", 0, margins, **more, **{"r0": "100.0", "r0.25": "75.0"})
    catalogue.add("one/code", "one", "shifted", 0.5, text(COUNTS + 120, 0.5), trained_sigma="0.25")
    import_manifest(catalogue.write(), tmp_path)
    margin = read_entry(find_row("three", tmp_path), tmp_path)
    assert (margin.kind, margin.sigma, margin.share(0.25), margin.clean_accuracy) == ("margin", None, 0.75, 1.0)
    assert find_row("one-cnn-noise0.25-sigma0.5", tmp_path).startswith("cifar10/one-cnn-noise0.25-sigma0.5-")


def test_a_log_is_fetched_and_its_images_are_compared(catalogue: Catalogue, server: Path, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    import_manifest(catalogue.write(), boards)
    name = find_row("two", boards)
    with pytest.raises(UserError, match=rf"{name} is published as figures.*suite published fetch {name}$"):
        published_records(name, boards)
    root = ["--board-root", boards]
    said = succeed("published", "fetch", "two", *root)
    assert f"{name}: 60 images, every figure of the row is the log's; {tmp_path / 'cache' / 'logs'}" in said
    assert "there already" in succeed("published", "fetch", name, *root)
    records = published_records(name, boards)
    assert records["radius"].tolist()[1:] == [
        float(f"{r:.6f}") for r in certified_radius(COUNTS[1:] + 60, 100_000, 0.001, 0.25)
    ]
    frame = table("cifar10", tmp_path, published=boards)
    [row] = [line for _, line in frame.iterrows() if line["run_id"] == name]
    assert len(row_records(row, tmp_path, boards)) == 60
    assert row_curve(row, tmp_path, "standard", boards)["accuracy"].iloc[0] == 59 / 60
    done = json.loads(succeed("published", "fetch", "cifar10/one-cnn-sigma0.5", *root, "--format", "json"))
    assert [(line["new"], line["images"]) for line in done] == [(True, 60)]


def test_another_file_than_the_rows_is_never_kept(catalogue: Catalogue, server: Path, tmp_path: Path) -> None:
    boards = tmp_path / "boards"
    import_manifest(catalogue.write(), boards)
    name = find_row("two", boards)
    place = kept_log(read_entry(name, boards).sha256)
    (server / "two" / "code" / "c0ffee" / "noise_0.25").write_text("something else")
    for arguments, said in (
        ((), "is not the log of the row: its SHA-256 is"),
        (("--from", catalogue.folder / catalogue.lines[0]["file"]), "is not the log of the row: its SHA-256 is"),
        (("--from", tmp_path / "none"), "none cannot be read"),
    ):
        refused = call("published", "fetch", name, "--board-root", boards, *arguments)
        assert (refused.code, said in refused.err, refused.err.count("\n")) == (2, True, 1)
    (server / "two" / "code" / "c0ffee" / "noise_0.25").unlink()
    refused = call("published", "fetch", name, "--board-root", boards)
    assert (refused.code, "cannot be fetched (HTTP Error 404" in refused.err) == (2, True)
    assert not place.exists()
    succeed("published", "fetch", name, "--board-root", boards, "--from", catalogue.folder / catalogue.lines[1]["file"])
    assert place.exists()
    place.write_bytes(lzma.compress(b"damaged"))
    with pytest.raises(UserError, match="line 1: the header is not"):
        published_records(name, boards)


def test_figures_that_are_not_the_logs_are_found(catalogue: Catalogue, server: Path, tmp_path: Path) -> None:
    import_manifest(catalogue.write(), tmp_path)
    name = find_row("two", tmp_path)
    file = tmp_path / f"{name}.toml"
    before = tomllib.loads(file.read_text())["median_radius"]
    file.write_text(file.read_text().replace(f"median_radius = {before}", "median_radius = 0.5"))
    with pytest.raises(UserError, match=f"median_radius of {name} are not those of its log"):
        fetch_log(name, tmp_path)
    place = kept_log(read_entry(name, tmp_path).sha256)
    assert not place.exists()
    changed = file.read_text()
    file.write_text(changed.replace("median_radius = 0.5", f"median_radius = {before}"))
    fetch_log(name, tmp_path)
    file.write_text(changed)
    with pytest.raises(UserError, match="are not those of its log"):
        fetch_log(name, tmp_path)
    assert place.exists()  # it is the log: what is wrong is the row


@pytest.mark.parametrize(
    ("field", "value"),
    [("sha256", "../../victim/precious"), ("repository", "../elsewhere"), ("repository", "a/b/c"), ("commit", "../x"),
     ("path", "a\x7fb"), ("licence", "\u202e")],
)  # fmt: skip
def test_a_row_whose_file_names_a_place_elsewhere_is_damaged(
    catalogue: Catalogue, tmp_path: Path, field: str, value: str
) -> None:
    import_manifest(catalogue.write(), tmp_path)
    name = find_row("two", tmp_path)
    content = read_entry(name, tmp_path).model_dump() | {field: value}
    with pytest.raises(ValidationError, match=field):
        Entry.model_validate(content)


def test_a_name_is_one_file_whatever_the_architecture_is_called() -> None:
    name = catalogued_name("some", "timm/../deit", 0.5, 0.5, None, "c0ffee00")
    assert name == "some-timm-..-deit-sigma0.5-c0ffee00"


def test_rows_are_found_by_how_they_begin(catalogue: Catalogue, tmp_path: Path) -> None:
    import_manifest(catalogue.write(), tmp_path)
    assert find_row("cifar10/two", tmp_path) == find_row("two-cnn", tmp_path)
    with pytest.raises(UserError, match=r"'one' is how 2 published rows begin: cifar10/one-cnn-sigma0\.25"):
        find_row("one", tmp_path)
    with pytest.raises(UserError, match="no published row 'three'"):
        find_row("three", tmp_path)
    with pytest.raises(UserError, match="no published row cifar10/three in"):
        read_entry("cifar10/three", tmp_path)
