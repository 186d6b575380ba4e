"""The pages on stores of real runs, whole, odd and absent, without a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from helpers.hostile import HOSTILE
from helpers.pages_of_app import PAGE, Pages, having, make_both_kinds, make_runs, said, selected, text_of
from helpers.studying import GIVEN

from leaderboards import table
from leaderboards.board import select_rows
from leaderboards.published import PUBLISHED
from leaderboards.published.kept import KEPT, records_file
from leaderboards.render.site_page import slug
from suite.cli import main as cli
from suite.store.read import read_spec, runs_of_model
from suite.tuning.definition import begin
from suite.tuning.storage import Storage

VIEWS = ("leaderboard", "compare", "run", "paper", "studies", "submit", "about")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_both_kinds(tmp_path_factory.mktemp("both"))


@pytest.mark.slow
def test_the_board_of_a_store(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(runs, monkeypatch)
    assert selected(pages("leaderboard"), "Board") == "cifar10"  # whatever is in the store
    app = pages("leaderboard", board="digits", columns="all")
    shown = having(app, "ACR")
    assert shown["method"].tolist() == ["heat"]
    result = json.loads(next(runs.glob("heat-*/result.json")).read_text())
    assert shown["ACR"].tolist() == [result["acr"]]
    assert shown["PGD"].tolist() == [result["attack"]["pgd"]["median"]]
    assert shown["source"].tolist() == ["yours"]
    assert "Best at σ = 0.25: heat, the only row of its table; its certificates do not hold" in text_of(app)
    cifar = pages("leaderboard", board="cifar10", method="randomized-smoothing", sigma="0.5")
    assert set(having(cifar, "ACR")["method"]) == {"randomized-smoothing"}
    [box] = [box for box in cifar.expander if box.label.startswith("Filters (2): ")]
    hidden, total = map(int, re.findall(r"\d+", box.label)[1:])
    frame = table("cifar10", runs)
    assert (total, hidden) == (
        len(frame),
        len(frame) - len(select_rows(frame, method=["randomized-smoothing"], sigma=[0.5])),
    )
    assert box.proto.expanded


def test_a_ticked_row_is_drawn_with_its_band_compared_and_opened(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(runs, monkeypatch)
    name = next(runs.glob("heat-*")).name
    plain_plot = json.loads(pages("leaderboard", board="digits").get("plotly_chart")[0].proto.spec)
    ticked = pages("leaderboard", board="digits", rows=name)
    plot = json.loads(ticked.get("plotly_chart")[0].proto.spec)
    bands = [[trace for trace in drawn["data"] if trace.get("fill") == "toself"] for drawn in (plain_plot, plot)]
    assert [len(own) for own in bands] == [0, 1]
    assert any(button.label == "Open heat, cnn".replace(",", "\\,") for button in ticked.button)
    assert len([shape for shape in plot["layout"]["shapes"] if shape["type"] == "line"]) == 1  # the limit of n and α
    opened = pages("leaderboard", board="digits", row=name)
    result = json.loads((runs / name / "result.json").read_text())
    assert result["command"] in [code.value for code in opened.code]
    assert f"The certificate: {result['claim']}" in text_of(opened)
    lines = {line[0]: line[1] for shown in opened.table for line in shown.value.to_numpy().tolist()}
    lines = {name.replace("\\", ""): text.replace("\\", "") for name, text in lines.items()}  # Markdown's
    assert lines["ACR"] == f"{result['acr']:.4f}"
    assert lines["run_id"] == name
    assert "The link asks for the row gone" in said(pages("leaderboard", board="digits", row="gone"))


def test_what_a_link_asks_for_and_is_not_here_is_said(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(runs, monkeypatch)
    asked = {"board": "nosuch", "rows": "gone", "method": "nope", "table": "x"}
    warned = said(pages("leaderboard", **asked))
    for part in ("board nosuch", "the row gone", "method nope"):
        assert f"The link asks for {part}" in warned
    assert "asks for a table that is not here" in said(pages("leaderboard", table="x"))
    assert "asks for the row zzz" in said(pages("compare", a="zzz"))
    assert "asks for zzz" in said(pages("paper", item="zzz"))
    assert "asks for the run zzz" in said(pages("paper", item="Figure 1a", beside="zzz"))
    name = next(runs.glob("heat-*")).name
    assert "asks for the image abc" in said(pages("run", run=name, images="on", image="abc"))


def test_a_ticked_row_is_marked_at_the_radii_of_its_table(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(both.glob("baseline-*0.25*")).name
    marked = []
    for asked in ({}, {"rows": name}):
        app = Pages(both, monkeypatch)("leaderboard", board="digits", sigma="0.25", **asked)
        plot = json.loads(app.get("plotly_chart")[0].proto.spec)
        marked.append({tuple(trace["x"]) for trace in plot["data"] if trace.get("mode") == "markers"})
    assert marked[1] <= marked[0]
    assert marked[1]


def test_the_best_row_is_of_what_the_filters_leave(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(both, monkeypatch)
    [rank] = having(app := pages("leaderboard", board="digits", method="baseline", sigma="0.1"), "#")["#"]
    assert f"Best of the rows shown: baseline, rank {rank} in its whole table" in text_of(app)
    assert "Best: no row is shown." in text_of(pages("leaderboard", board="digits", method="nope"))


def test_a_run_and_its_image(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(runs.glob("heat-*")).name
    app = Pages(runs, monkeypatch)("run", run=name, protocol="attack", images="on", image="3")
    assert selected(app, "Run") == name
    assert len(having(app, "idx")) == 10
    numbers = {metric.label: metric.value for metric in app.metric}
    result = json.loads((runs / name / "result.json").read_text())
    assert numbers["ACR"] == f"{result['acr']:.4f}"
    assert numbers["certificate"] == "✗ pass"
    record = json.loads(records_file(runs / name, "accuracy").read_text().splitlines()[3])
    assert f"clean: {record['label']}; one pass says {record['predict']}" in text_of(app)
    assert "Certificate: " in text_of(app)
    start = json.loads((runs / name / "spec.json").read_text())["start"]  # what heat was trained from
    assert f"baseline, cnn, {start['training']['epochs']:g} epochs, seed 0" in text_of(app)


def test_images_keep_the_test_split_alone(runs: Path) -> None:
    from app.images import without_training
    from suite.data import load

    data = load("digits")
    kept = without_training(data)
    assert (len(kept.train), len(kept.test)) == (0, len(data.test))
    assert len(data.train)


def test_an_unfinished_run_shows_what_is_there(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(runs.glob("baseline-*")).name
    app = Pages(runs, monkeypatch)("run", run=name, protocol="certify")
    assert "has not finished" in said(app)
    assert len(app.dataframe[0].value) == 7


@pytest.mark.slow
def test_without_checkpoint_or_records_a_page_says_so_and_shows_the_rest(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(runs, store)
    folder = next(store.glob("heat-*"))
    (folder / "model.safetensors").unlink()
    app = Pages(store, monkeypatch)("run", run=folder.name, images="on")
    assert "the run's weights are not" in text_of(app)
    assert str(store) not in text_of(app) + said(app)
    assert app.metric
    records_file(folder, "certify").unlink()
    (folder / "environment.json").write_text("{")
    app = Pages(store, monkeypatch)("run", run=folder.name)
    assert "environment.json" in said(app)
    assert "certify records" in said(app)
    board = Pages(store, monkeypatch)("leaderboard", board="digits")
    assert "certify records" in said(board)
    assert having(board, "ACR")["method"].tolist() == ["heat"]
    app = Pages(store, monkeypatch)("run", run="deleted-run")
    assert "asks for deleted-run, which is not here" in said(app)


def test_margins_and_votes_on_the_pages(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(both, monkeypatch)
    titles = [
        "Digits: σ = 0.25, top-1, 12 images, n = 50, α = 0.001",
        "Digits: σ = 0.1, top-1, 12 images, n = 50, α = 0.001",
    ]
    for title, held in zip(titles, (["✗ pass"], ["✓ vote"]), strict=True):
        app = pages("leaderboard", board="digits", table=slug(f"{title}; margins have no noise"))
        shown = having(app, "#").set_index("method")
        assert sorted(shown.index) == ["baseline", "lipschitz"]
        assert shown.loc["lipschitz", "holds"] == ["✓ pass"]
        assert shown.loc["baseline", "holds"] == held
        assert any("lipschitz" in chart.proto.spec for chart in app.get("plotly_chart"))
        assert not said(app)
    app = pages("leaderboard", board="digits", kind="margin")
    assert having(app, "#")["kind"].tolist() == ["margin"]
    [box] = [box for box in app.selectbox if box.label == "Table, one of 1"]
    assert box.options == ["Digits: top-1, 12 images, no noise (1 rows)"]
    app = pages("leaderboard", board="digits", sigma="0.1")
    assert sorted(having(app, "#")["method"]) == ["baseline", "lipschitz"]


def test_an_image_of_a_run_without_noise(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(both.glob("lipschitz-*")).name
    app = Pages(both, monkeypatch)("run", run=name, images="on", image="3")
    assert not said(app)
    texts = text_of(app)
    assert "one pass says" in texts
    assert "σ =" not in texts
    assert "This run has no noise" in texts


@pytest.mark.slow
def test_the_papers_items(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Pages(runs, monkeypatch)("paper", item="Figure 1a")
    verdicts = having(app, "verdict").set_index("the paper states")
    assert verdicts.loc["certified accuracy at 0.1, heat above smoothadv", "verdict"] == "borne out"
    shown = having(app, "source")
    assert shown[shown["source"].str.startswith("the paper")].set_index("row").loc["heat", "0.1"] == 82.0
    own = shown[shown["source"] == "measured"].set_index("row")
    assert len(own) == 6  # runs that come with the suite, of two methods two seeds
    assert 0 < own.loc["heat, seed 0", "0.1"] < 100
    kept = (PUBLISHED / KEPT).glob("*-cifar10-airbench-w32-sigma0.1-*")
    several = [folder.name for folder in kept if folder.name.startswith(("heat-", "smoothadv-"))]
    for asked, said_so in ({}, False), ({"beside": several}, True):
        app = Pages(runs, monkeypatch)("paper", item="Figure 1a", **asked)
        assert any("about the one whose command changes the fewest" in text.value for text in app.text) == said_so
    assert "suite run --method heat --dataset imagenet --sigma 0.25" in said(
        Pages(runs, monkeypatch)("paper", item="Table 4")
    )
    assert not Pages(runs, monkeypatch)("paper", item="Figure 5").warning


@pytest.mark.slow
def test_studies_locked_ones_and_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "tune --method heat --dataset digits --trials 2 --n 100 --images 20 --search lr=1e-3:1e-1:log --no-track"
    fixed = [
        "--set",
        "epochs=0.2",
        "--set",
        "start.training.epochs=0.5",
        "--study",
        HOSTILE[0],
        "--runs",
        str(tmp_path),
    ]
    monkeypatch.setattr("sys.argv", ["suite", *command.split(), *fixed])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    pages = Pages(tmp_path, monkeypatch)
    app = pages("studies")
    assert selected(app, "Study") == HOSTILE[0]
    assert app.dataframe[0].value["finished"].tolist() == [2]
    trials = app.dataframe[1].value
    assert trials["lr"].between(1e-3, 1e-1).all()
    asked = dict(parse_qsl(urlsplit(trials["run"].iloc[0]).query))
    assert asked["board"] == "digits"
    opened = pages("run", run=asked["run"])
    assert selected(opened, "Run") == asked["run"]
    assert not said(opened)
    assert "suite run --method heat" in app.code[0].value
    with sqlite3.connect(tmp_path / "studies.db") as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert "locked" in said(pages("studies"))
        writer.rollback()
    (tmp_path / "studies.db").write_text("nothing of the kind")
    assert "cannot use the storage" in said(pages("studies"))


@pytest.mark.slow
@pytest.mark.parametrize("view", VIEWS)
def test_an_empty_store_says_what_to_do(view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Pages(tmp_path / "nothing", monkeypatch)(view)
    if view == "studies":
        assert "suite tune --method heat" in said(app)
    else:
        assert not said(app)
        assert app.dataframe or app.table or "suite run --method heat" in text_of(app)  # what comes with the suite
    assert not os.path.exists(tmp_path / "nothing")


@pytest.mark.slow
def test_the_model_that_a_run_began_from_links_to_the_runs_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those are the runs whose spec, read in full, has the model of the same digest."""
    kept = {file.parent.name: read_spec(file.parent) for file in sorted((PUBLISHED / KEPT).glob("*/spec.json"))}
    for run, spec in kept.items():
        if spec.start:
            stored = json.loads((PUBLISHED / KEPT / run / "spec.json").read_text())["start"]
            found = runs_of_model(stored, {name: PUBLISHED / KEPT / name for name in kept})
            assert found == [name for name, other in kept.items() if other.model.name == spec.start.name]
    name, begun = next((name, spec.start) for name, spec in kept.items() if spec.start)
    app = Pages(tmp_path, monkeypatch)("run", run=name)
    assert f"{begun.method}, {begun.arch}, {begun.training.epochs:g} epochs, seed {begun.seed}" in text_of(app)
    links = {dict(parse_qsl(link.proto.query_string)).get("run") for link in app.get("page_link")}
    assert {name for name, spec in kept.items() if spec.model.name == begun.name} <= links
    damaged = tmp_path / name
    shutil.copytree(PUBLISHED / KEPT / name, damaged)
    for start in ("baseline", ["baseline"], {"method": "baseline"}, {"method": 1, "arch": 2, "seed": 3, "training": 4},
                  {"method": 1, "arch": 2, "seed": 3, "training": {"epochs": 10**400}}):  # fmt: skip
        spec = json.loads((PUBLISHED / KEPT / name / "spec.json").read_text()) | {"start": start}
        (damaged / "spec.json").write_text(json.dumps(spec))
        assert "damaged in what it says of the model" in said(Pages(tmp_path, monkeypatch)("run", run=name))


@pytest.mark.slow
def test_no_page_loads_torch_before_it_is_asked_for_images(tmp_path: Path) -> None:
    """It takes half a gigabyte, which a server of many readers has better uses for."""
    begin(GIVEN, "s", Storage(f"sqlite:///{tmp_path}/studies.db"))
    program = f"""
import sys
from streamlit.testing.v1 import AppTest
sys.argv = ["app", {str(tmp_path)!r}]
app = AppTest.from_file({str(PAGE)!r}, default_timeout=120).run()
for view in {VIEWS[1:]}:
    app.switch_page(f"views/{{view}}.py").run()
    assert not app.exception and "torch" not in sys.modules, view
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.slow
def test_a_store_that_is_no_folder_and_a_damaged_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "file").touch()
    for view in VIEWS:
        assert "takes the folder" in said(Pages(file, monkeypatch)(view))
    (tmp_path / "store" / "broken").mkdir(parents=True)
    (tmp_path / "store" / "broken" / "result.json").write_text("{")
    app = Pages(tmp_path / "store", monkeypatch)("leaderboard")
    assert "broken" in said(app)
