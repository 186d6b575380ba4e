"""Boards as files: what is in them, read back by the tools of each format, with names that are anything but names."""

from __future__ import annotations

import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.first import first_rows
from helpers.pages import DOCS
from helpers.rows import MARGINS, RECORDS, margin, result, store
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt

from leaderboards import table
from leaderboards.estimates import CURVES
from leaderboards.published.kept import records_file
from leaderboards.render import export
from leaderboards.render.page import to_html
from leaderboards.render.schema import VERSION, schema

HOSTILE = "<script>alert(1)</script> a|b_c*d* & $x$ #1 {e} ~ ^ \\n [l](javascript:x) `q`\nnext https://x.test a@b.test"
SCHEMA = schema()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds of one recipe, one with all protocols' figures, and a run called anything."""
    attack = {"best": {"median": 0.4}, "pgd": {"median": 0.7}, "ddn": {"median": 0.5}}
    audit = {"certify": {"attacked": 3, "violations": 1}, "lbound": {"attacked": 2, "violations": 0}}
    audit["probit"] = {"attacked": 2, "violations": 2}
    measured = {"attack": attack, "audit": audit, "averaging": {"distance": 0.25, "low": 0.2, "high": 0.3}}
    measured["lbound"] = {"median": 0.125, "probit": {"median": 0.375}, "soft": {"median": None}}
    timing = {"timing": {"deployed": 0.001, "device": "cpu"}}
    store(tmp_path, result() | measured | timing, result(seed=1) | {"acr": 0.2}, hostile())
    for run in tmp_path.iterdir():
        RECORDS.to_json(records_file(run, "certify"), orient="records", lines=True)
    pd.DataFrame({"idx": [0, 1], "correct": [1, 1], "pgd": [0.7, 0.9], "ddn": [0.5, None]}).to_json(
        tmp_path / result()["run_id"] / "attack.jsonl", orient="records", lines=True
    )
    return tmp_path


def hostile() -> dict[str, Any]:
    row = result("baseline") | {"method": HOSTILE, "arch": HOSTILE, "claim": HOSTILE, "command": HOSTILE}
    return row | {"image_radii": [None] * 5}  # abstained on all


@pytest.mark.parametrize("dataset", ["digits", "cifar10", "cifar100", "imagenet"])
def test_json_is_as_its_schema_says(runs: Path, dataset: str) -> None:
    Draft202012Validator.check_schema(SCHEMA)
    read = json.loads(export.to_json(export.document(dataset, runs)))
    assert list(Draft202012Validator(SCHEMA).iter_errors(read)) == []


def test_json_ranks_rows_in_the_convention_that_is_asked_for(runs: Path) -> None:
    ranks = {}
    for convention in CURVES:
        content = export.document("imagenet", runs, convention=convention, sort="0.5")
        assert content["board"]["convention"] == convention
        found = table("imagenet", runs, convention, sort="0.5").set_index("run_id")["rank"].dropna()
        ranks[convention] = {row["run_id"]: [place["rank"] for place in row["ranks"]] for row in content["rows"]}
        assert {run: own for run, own in ranks[convention].items() if run in found} == {
            run: [rank] for run, rank in found.items()
        }
    assert ranks["paper"] != ranks["standard"]


def test_json_has_every_figure(runs: Path) -> None:
    text = export.to_json(export.document("digits", runs))
    assert "NaN" not in text
    content = json.loads(text)
    assert content["schema"] == VERSION
    assert f"`schema` is {VERSION}:" in (DOCS / "reference" / "results.md").read_text()
    assert content["board"]["radii"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    row, bad = content["rows"]
    assert (row["method"], row["arch"], row["seeds"], row["source"]) == ("randomized-smoothing", "cnn", [0, 1], "run")
    assert row["acr"] == pytest.approx(0.18)
    assert row["spread"]["acr"] == pytest.approx(0.04 / 2**0.5)
    assert (row["certified_accuracy"]["0.1"], row["certified_accuracy_paper"]["0.1"]) == (3 / 5, 2 / 4)
    assert (row["adversarial_distance"], row["pgd"], row["ddn"]) == (0.4, 0.7, 0.5)
    assert (row["seconds_per_image"], row["averaging_error"]) == (0.001, 0.25)
    assert row["intervals"]["averaging_error"] == [0.2, 0.3]
    assert row["audit"] == {"attacked": 3, "violations": 1}
    assert row["lbound_audit"] == {"attacked": 2, "violations": 0}
    assert row["probit_audit"] == {"attacked": 2, "violations": 2}
    assert (row["lbound_radius"], row["probit_radius"], row["soft_radius"]) == (0.125, 0.375, None)
    place = {"table": row["group"], "best": 1, "worst": 2}  # five images decide nothing
    assert [row["ranks"], bad["ranks"]] == [[{**place, "rank": 1}], [{**place, "rank": 2}]]
    assert bad["method"] == HOSTILE
    assert set(bad["certified_accuracy_paper"].values()) == {None}
    assert bad["audit"] is None
    root = first_rows(runs.parent)
    [only] = export.document("cifar10", runs, root, methods=["smoothadv"], sigmas=[1.0])["rows"]
    assert (only["method"], only["sigma"]) == ("smoothadv", 1.0)
    plotted = [row for row in export.document("cifar10", runs, root)["rows"] if row["source"] == "paper, plot"]
    assert len(plotted) == 4
    assert all(row["certified_accuracy"]["0.25"] is None for row in plotted)
    assert plotted[0]["certified_accuracy_paper"]["0.25"] > 0


def test_csv_is_read_back(runs: Path) -> None:
    frame = table("digits", runs)
    read = pd.read_csv(io.StringIO(export.to_csv(frame)))
    assert read["method"].tolist() == frame["method"].tolist()
    for column in ("clean_accuracy", "r=0.1", "acr", "pgd"):
        pd.testing.assert_series_equal(read[column], frame[column])
    assert [read.loc[0, "r=0.1_low"], read.loc[0, "r=0.1_high"]] == frame.loc[0, "intervals"]["r=0.1"]
    assert read.loc[0, "acr_spread"] == pytest.approx(0.04 / 2**0.5)
    assert read.loc[0, "seeds"] == "0 1"
    assert pd.isna(read.loc[1, "acr_spread"])


def test_markdown_shows_names_as_they_are(runs: Path) -> None:
    shown = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    page = shown.render(export.to_markdown(table("digits", runs), paper_convention=False))
    assert "<script" not in page
    assert "<a " not in page
    assert "<em>" not in page
    [rows] = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in rows.split("</tr>")[:2]]
    assert html.unescape(cells[1][1]) == HOSTILE.replace("\n", " ")
    assert cells[0][:7] == ["1–2", "randomized-smoothing", "cnn", "vote", "vote", "yes", "0,1"]
    assert cells[1][3:6] == ["vote", "pass", "no"]
    assert cells[0][8] == "60.0"
    assert len(cells[0]) == len(cells[1])


def test_latex_escapes_what_has_a_meaning(runs: Path) -> None:
    text = export.to_latex(table("digits", runs), paper_convention=False)
    [body] = re.findall(r"\\midrule\n(.*?)\n\\bottomrule", text, re.DOTALL)
    first, second = body.split("\n")
    assert first.startswith("1--2 & randomized-smoothing & cnn & vote & vote & yes & 0,1 & 80.0 & 60.0 & ")
    columns = re.findall(r"\\begin{tabular}{([lr]+)}", text)[0]
    for line in (first, second):
        assert len(re.findall(r"(?<!\\)&", line)) == len(columns) - 1
        assert line.endswith(r" \\")
    assert r"\textless{}script\textgreater{}" in second
    assert r"a\textbar{}b\_c*d* \& \$x\$ \#1 \{e\} \textasciitilde{} \textasciicircum{} \textbackslash{}n" in second
    plain = re.sub(r"\\text\w+\{\}|\\[{}$&#%_]|\$\\?[\w^{}]+\$|\$\\pm\$", "", second)
    assert not re.search(r"[{}$#%_~^<>|]", plain)


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A vote that is deployed, one whose row deploys a pass, and a margin."""
    made = {"vote": result(), "pass": result("baseline"), "margin": margin(arch="lipschitz-small")}
    store(tmp_path, *made.values())
    for name, row in made.items():
        records = MARGINS if name == "margin" else RECORDS
        records.to_json(records_file(tmp_path / row["run_id"], "certify"), orient="records", lines=True)
    return tmp_path


def test_both_kinds_are_marked_in_every_format(both: Path) -> None:
    frame = table("digits", both, published=None)
    text = export.to_markdown(frame, paper_convention=False)
    assert text.count("###") == 1
    assert "α = 0.001; margins have no noise" in text
    assert "| 1–3 | lipschitz | lipschitz-small | margin | pass | yes |" in text
    assert "| randomized-smoothing | cnn | vote | vote | yes |" in text
    assert "| baseline | cnn | vote | pass | no |" in text
    assert "- holds: whether the certificates are of what the row deploys" in text
    assert "1--3 & lipschitz & lipschitz-small & margin & pass & yes &" in export.to_latex(
        frame, paper_convention=False
    )
    read = pd.read_csv(io.StringIO(export.to_csv(frame))).set_index("method")
    assert read[["kind", "deployed", "holds"]].loc["lipschitz"].tolist() == ["margin", "pass", True]
    assert read.loc["baseline", "holds"] == False  # noqa: E712
    assert read["sigma"].isna().to_dict() == {"randomized-smoothing": False, "baseline": False, "lipschitz": True}
    assert read["rank"].to_dict() == {"lipschitz": 1, "randomized-smoothing": 2, "baseline": 3}  # as in the one table
    assert "places" not in read
    page = Page(to_html(frame, "digits", both))
    assert page.cells.count("margin") == 1
    [plots] = [json.loads(text) for text in page.script if text.startswith("{")]
    lines = {line["name"]: line for line in plots["group0"][0]["lines"]}
    drawn = lines["1–3 lipschitz, lipschitz-small"]
    assert (drawn["x"][-1], drawn["accuracy"][0], len(drawn["x"])) == (pytest.approx(1.02 * 0.9), 80, 101)
    assert len(lines) == 3


def test_json_of_a_margin_is_as_its_schema_says(both: Path) -> None:
    content = json.loads(export.to_json(export.document("digits", both, published=None)))
    assert list(Draft202012Validator(SCHEMA).iter_errors(content)) == []
    rows = {row["method"]: row for row in content["rows"]}
    own = rows["lipschitz"]
    assert (own["kind"], own["deployed"], own["holds"], own["alpha"]) == ("margin", "pass", True, 0)
    assert [own[name] for name in ("sigma", "n0", "n", "sampling", "noise", "precision", "decided")] == [None] * 7
    assert own["group"] == "Digits: top-1, 5 images, no noise"
    assert list(own["certified_accuracy"].values()) == [3 / 5, 2 / 5, 1 / 5, 1 / 5, 1 / 5, 1 / 5]  # at 0.1 to 0.6
    assert (rows["baseline"]["holds"], rows["randomized-smoothing"]["holds"]) == (False, True)
    plotted = [row for row in export.document("cifar10", both)["rows"] if row["source"] == "paper, plot"]
    assert {(row["kind"], row["deployed"], row["holds"]) for row in plotted} == {("vote", None, None)}
    kept = export.document("digits", both, published=None, sigmas=[0.5])["rows"]
    assert [row["method"] for row in kept] == ["lipschitz"]  # it belongs to every σ
    for name in ("kind", "deployed", "holds"):
        assert SCHEMA["properties"]["rows"]["items"]["properties"][name]["description"]


def test_what_is_not_known_is_a_dash(tmp_path: Path) -> None:
    text = export.to_markdown(table("imagenet", tmp_path).query("source == 'paper, table'"), paper_convention=False)
    assert "| vote | – | – |" in text


class Page(HTMLParser):
    """The tags of a page and the text of its table cells."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.script: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "td":
            self.cells[-1] += data
        if self.lasttag == "script":
            self.script.append(data)


def test_the_page_is_whole_and_its_text_is_text(runs: Path) -> None:
    page = Page(to_html(table("digits", runs), "digits", runs))
    assert HOSTILE in page.cells
    assert "randomized-smoothing" in page.cells
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert scripts == [{}, {"type": "application/json", "id": "plots"}, {}]
    linked = [attributes for _, attributes in page.tags if {"src", "href"} & set(attributes)]
    assert linked == []  # it needs no network and no other file
    [plots] = [json.loads(text) for text in page.script if text.startswith("{")]
    certified, attacked = plots["group0"]
    assert len(certified["lines"]) == 2
    assert [line["name"].rpartition(" ")[2] for line in attacked["lines"]] == ["PGD", "DDN"]
    assert not any("<" in line["name"] for line in certified["lines"])
    file = runs / result()["run_id"] / "attack.jsonl"
    pd.read_json(file, lines=True).assign(best=[0.25, 0.5]).to_json(file, orient="records", lines=True)
    page = Page(to_html(table("digits", runs), "digits", runs))
    [plots] = [json.loads(text) for text in page.script if text.startswith("{")]
    [attacked] = plots["group0"][1]["lines"]  # the nearest found stands for all
    assert attacked["name"].endswith(": the nearest found")
    assert (attacked["accuracy"][-1], max(attacked["x"])) == (100, pytest.approx(1.02 * 0.9))  # PGD's largest
    line = certified["lines"][0]
    assert line["accuracy"][0] == 60  # of both seeds: images 0, 1 and 4 of 5
    assert len(line["x"]) == len(line["low"]) == len(line["high"]) == 101
    places = {attributes["id"] for tag, attributes in page.tags if attributes.get("class") == "plot"}
    assert places == {"group0-0", "group0-1"}


def test_a_groups_title_is_text(tmp_path: Path) -> None:
    """It begins with what the data are called, as somebody's result says."""
    store(tmp_path, hostile() | {"data": HOSTILE})
    text = to_html(table("digits", tmp_path, published=None), "digits", tmp_path)
    assert [tag for tag, _ in Page(text).tags if tag == "script"] == ["script"] * 3
    [heading] = re.findall(r"<h2>(.*?)</h2>", text, re.DOTALL)
    assert html.unescape(heading).startswith(f"{HOSTILE}: σ = 0.25")


def test_published_rows_have_pages_too(tmp_path: Path) -> None:
    root = first_rows(tmp_path)
    frame = table("cifar10", tmp_path, "paper", root).query("source != 'run'")
    page = Page(to_html(frame, "cifar10", tmp_path, "paper", root))
    assert sum(cell == "smoothadv" for cell in page.cells) == 6
    [plots] = [json.loads(text) for text in page.script if text.startswith("{")]
    heat = plots["group4"][0]["lines"][0]
    assert heat["x"] == [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    assert heat["accuracy"] == [90.7, 86.7, 82, 77.7, 71.2, 65.4, 59]
