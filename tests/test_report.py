"""The report: its figures are those of the records, its text is text, the committed one is the kept rows'."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from helpers.cli import TINY, options

from leaderboards import board_results
from leaderboards.board import rows
from leaderboards.paper.report import name_recipes, report
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT, records_file
from leaderboards.render.document import Section, to_html, to_markdown
from suite.cli import main as cli
from suite.errors import UserError
from suite.statistics.bounds import certified_accuracy
from suite.store.records import read_records
from suite.store.result import upgrade

DOCS = Path(__file__).parents[1] / "docs" / "findings"
STUDY = """
title = "two of them"
sigmas = [0.25]
seeds = [0, 1]

[settings]
profile = "demo"
protocols = "accuracy,certify,attack"
"training.epochs" = 0.3
"certify.n" = 100
"certify.images" = 40
"attack.images" = 20

[methods.baseline]

[methods.heat]
"start.training.epochs" = 2
"""


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["suite", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def cells(text: str, heading: str) -> list[list[str]]:
    """The rows of the table below a heading of a Markdown page."""
    below = text.split(f"## {heading}", 1)[1].split("\n\n#", 1)[0]
    lines = [line for line in below.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two methods and two seeds, and the report that it ended with."""
    place = tmp_path_factory.mktemp("study")
    (place / "two.toml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        arguments = ["experiment", place / "two.toml", "--dataset", "digits", "--runs", place / "runs", "--no-track"]
        assert call(patch, *arguments) == 0
    return place / "runs"


@pytest.mark.slow
def test_a_study_ends_with_a_report_of_its_records(store: Path) -> None:
    text = (store / "report-two-digits.md").read_text()
    header, _, baseline, heat = cells(text, "Figure 1a. Certified accuracy against ℓ2 radius")
    for line, method in ((baseline, "baseline"), (heat, "heat")):
        own = dict(zip(header, line, strict=True))
        assert (own["row"], own["source"]) == (method, "measured")
        seeds = [read_records(records_file(folder, "certify")) for folder in store.glob(f"{method}-digits-*")]
        assert len(seeds) == 2
        for r in (0.1, 0.2, 0.3):
            shares = [
                certified_accuracy(s["radius"], s["correct"], s["predict"] == -1, r, "paper") for s in seeds
            ]  # fmt: skip
            assert own[f"{r:g}"] == f"{100 * sum(shares) / 2:.1f}"
    header, _, *lines = cells(text, "How the rows were made")
    for own in (dict(zip(header, line, strict=True)) for line in lines):
        assert (own["kind"], own["deployed"], own["holds"], own["seeds"]) == ("vote", "pass", "no", "0, 1")
    assert own["epochs"] == "2 + 0.3"  # of heat: the baseline that it starts from, and its own
    page = (store / "report-two-digits.html").read_text()
    assert page.count('class="plotly-graph-div"') == 3  # Figures 1a, 6a and 6b
    assert "report-two-digits" not in page


@pytest.mark.slow
def test_a_report_is_a_command_too(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["report", "digits", "--runs", store, "--board-root", tmp_path, "--out", tmp_path / "report.md"]
    assert call(monkeypatch, *arguments) == 0
    assert (tmp_path / "report.md").read_text() == (store / "report-two-digits.md").read_text()


@pytest.mark.slow
def test_nothing_to_compare_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "run", *options(TINY), "--no-track", "--runs", tmp_path) == 0
    with pytest.raises(UserError, match="two methods at one σ"):
        report(tmp_path, "digits", tmp_path)
    capsys.readouterr()
    assert call(monkeypatch, "report", "digits", "--runs", tmp_path, "--board-root", tmp_path) == 2
    assert capsys.readouterr().err.count("\n") == 1


class Text(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_other_peoples_text_is_shown_as_it_is() -> None:
    hostile = "<img src=x onerror=alert(1)> a | b"
    section = Section(hostile, 1, (hostile,), pd.DataFrame({"row": [hostile]}))
    page = Text(re.sub(r"<script>.*?</script>", "", to_html([section]), flags=re.DOTALL))
    assert "img" not in page.tags
    assert page.text.count(hostile) == 4  # the title, the heading, the paragraph and the cell
    text = to_markdown([section])
    assert "<img" not in text
    assert r"a \| b" in text


@pytest.mark.slow
def test_the_committed_report_is_that_of_the_rows_that_come_with_the_suite(tmp_path: Path) -> None:
    assert (DOCS / "experiment-cifar10.md").read_text() == to_markdown(report(tmp_path / "none", "cifar10"))


def own_recipe(method: str, arch: str = "airbench-w32") -> str:
    """The first kept run at σ = 0.1 by the method's own recipe, on one network."""
    return seeds_of_own_recipe(method, arch)[0]


def seeds_of_own_recipe(method: str, arch: str) -> tuple[str, ...]:
    kept = [row for row in rows("cifar10", Path("none")) if (row.method, row.sigma, row.arch) == (method, 0.1, arch)]
    [own] = [row.runs for row in kept if row.source == "run" and not row.variant]
    return own


def redeploy(runs: Path, method: str, deployed: str, **changed: object) -> str:
    """A copy of a kept run of σ = 0.1 that deploys something else; its id."""
    kept = PUBLISHED / KEPT / own_recipe(method)
    folder = runs / f"{kept.name}-as-{deployed}"
    shutil.copytree(kept, folder)
    content = upgrade(json.loads((folder / "result.json").read_text()))
    content |= {"run_id": folder.name, "deployed": deployed, "recipe": deployed} | changed
    (folder / "result.json").write_text(json.dumps(content))
    return folder.name


def test_rows_that_deploy_something_else_are_left_out_and_named(tmp_path: Path) -> None:
    """A vote of heat's and a pass of randomized smoothing's change nothing but a note, whatever their numbers."""
    smoothing, heat = redeploy(tmp_path, "randomized-smoothing", "pass"), redeploy(tmp_path, "heat", "vote", acr=9.0)
    found = to_markdown(report(tmp_path, "cifar10"))
    note = (
        f"Left out, because the paper deploys these methods otherwise: heat as a vote ({heat}), "
        f"randomized-smoothing as a pass ({smoothing})."
    )
    committed = (DOCS / "experiment-cifar10.md").read_text()
    added = [line for line in found.splitlines() if line not in committed.splitlines()]
    assert [line.replace("\\", "") for line in added] == [note]
    assert found.replace(f"{added[0]}\n\n", "") == committed
    with pytest.raises(UserError, match=r"two methods at one σ\. Left out, .*heat as a vote"):
        report(tmp_path, "cifar10", only=[smoothing, heat])


def test_of_several_recipes_the_one_nearest_to_the_methods_own_is_first() -> None:
    [own] = [row for row in board_results("cifar10", Path("none")) if row.run_id == own_recipe("heat")]
    short = re.sub(r" --set (audit|agreement)\S+| --protocols \S+", "", own.command)
    assert len(short) < len(own.command)
    changed = {"recipe": "other", "run_id": f"{own.run_id}0", "command": f"{short} --kappa 2"}
    other = own.model_copy(update=changed)
    for found in ([own, other], [other, own]):
        assert name_recipes(found) == {"heat": [own], "heat kappa=2": [other]}
    alike = own.model_copy(update=changed | {"command": own.command})
    assert set(name_recipes([own, alike])) == {f"heat ({own.run_id[-19:]})", f"heat ({own.run_id[-19:]}0)"}


@pytest.mark.parametrize(("arch", "rows_here"), [("airbench-w32", 6), ("resnet34", 1)])
def test_the_report_of_the_study_says_what_its_records_say(arch: str, rows_here: int) -> None:
    """The audit's counts, which the findings are about, from the records themselves."""
    text = (DOCS / "experiment-cifar10.md").read_text()
    [part] = [
        part
        for part in text.split("\n# ")
        if "σ = 0.1," in part.partition("\n")[0] and f"| {arch} | resnet34 |" in part
    ]
    header, _, *lines = cells(part, "Beyond the paper: the certificates, attacked")
    assert len(lines) == rows_here
    for line in lines:
        own = dict(zip(header, line, strict=True))
        seeds = [PUBLISHED / KEPT / run for run in seeds_of_own_recipe(own["row"], arch)]
        records = pd.concat([read_records(records_file(seed, "audit")) for seed in seeds])
        certified = records[records["radius"] > 0]
        hits = (pd.to_numeric(certified["distance"]) < certified["radius"]).sum()
        assert own["Certify: violated"].startswith(f"{hits} of {len(certified)} ")
        assert all(json.loads((seed / "spec.json").read_text())["certify"]["n"] == 10_000 for seed in seeds)
