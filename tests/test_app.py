"""The pages on stores of real runs, whole, odd and absent, without a browser; and what they are made of."""

from __future__ import annotations

import hashlib
import html
import json
import os
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from helpers.cli import TINY
from helpers.first import first_rows
from helpers.rows import margin, result, store
from markdown_it import MarkdownIt

from app.common import plain
from leaderboards import groups, table
from leaderboards.board import over_sigma, select_rows
from leaderboards.curves import curve
from leaderboards.published.kept import records_file
from leaderboards.render.labels import labels, shorten
from leaderboards.render.plots import (
    attack_plot,
    certified_accuracy_plot,
    paper_plot,
    style,
    training_plot,
    votes_plot,
)
from leaderboards.render.wide import HELP, count_line, wide_table
from suite import RunSpec, run
from suite.cli import main as cli
from suite.pipeline import Machine

PAGE = Path(__file__).parents[1] / "app" / "main.py"
VIEWS = ("leaderboard", "compare", "run", "paper", "studies")
HOSTILE = (
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    r"$\frac{1}{2}$",
    "![a](b)",
    "a_b_ **c** `d` ~~e~~",
    "# x",
)


def test_a_curve_is_the_share_of_correct_radii() -> None:
    records = pd.DataFrame({"radius": [0.4, 0.2, 0.3, 0.0], "correct": [1, 1, 0, 0], "predict": [1, 2, 3, -1]})
    drawn = curve(records.assign(idx=range(4)), points=5)  # at 0, 0.102, 0.204, 0.306, 0.408
    figure = certified_accuracy_plot({"mine": drawn}, {"mine": {0.25: 0.25}})
    [band, line, marks] = figure.data
    assert list(line.y) == [50, 50, 25, 25, 25, 0]  # 0.25 is among them
    assert (list(marks.x), list(marks.y)) == ([0.25], [25])
    assert len(band.x) == 2 * 5


def test_figures_show_their_numbers_and_names_as_text() -> None:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25], "lr": [0.1, 0.0]})
    assert [list(trace.y) for trace in training_plot(history).data] == [[0.5, 0.25], [0.1, 0.0]]
    [bars] = votes_plot({2: 10, 0: 90}, ("cat", "dog", "<b>"), label=0).data
    assert (list(bars.x), list(bars.y)) == ([10, 90], ["&lt;b&gt;", "cat"])
    distance = pd.DataFrame({"distance": [0.0, 1.0], "pgd": [0.0, 0.5], "ddn": [0.25, 1.0]})
    [line] = attack_plot({"<script>": distance}, "ddn").data
    assert (list(line.y), line.name) == ([25, 100], "&lt;script&gt;")
    given = pd.DataFrame({"method": ["heat"], "at": [0.1], "percent": [82.0], "uncertainty": [1.0]})
    own = {"mine": ("heat", pd.DataFrame({"at": [0.0], "percent": [90.0]}))}
    line, points = paper_plot(given, own, "r", "%").data
    assert (points.error_y.array[0], points.marker.color) == (1.0, line.line.color)


def test_forty_lines_are_told_apart() -> None:
    assert len({(style(i)["color"], style(i)["dash"]) for i in range(42)}) == 42


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_is_no_markdown(text: str) -> None:
    """By another Markdown parser: what comes out is a paragraph of that very text."""
    assert MarkdownIt().render(plain(text)) == f"<p>{html.escape(text)}</p>\n"
    assert "$" not in plain(text).replace(r"\$", "")


def test_rows_are_called_apart() -> None:
    row: dict[str, Any] = {
        "method": "heat",
        "arch": "cnn",
        "kind": "vote",
        "source": "run",
        "seeds": [0],
        "variant": "",
    }
    others = [
        row | {"run_id": "heat-1"},
        row | {"run_id": "heat-2"},
        row | {"run_id": "a", "seeds": [0, 1]},
        row | {"run_id": "b", "source": "published", "variant": "", "seeds": []},
    ]
    called = ["heat, cnn, seed 0 (1)", "heat, cnn, seed 0 (2)", "heat, cnn, 2 seeds", "heat, cnn, as published"]
    assert list(labels(SimpleNamespace(**other) for other in others).values()) == called
    alike = [row | {"run_id": f"heat-digits-cnn-seed0-{model}-0d1e2f3a"} for model in ("aaaaaaaaaa", "bbbbbbbbbb")]
    called = [f"heat, cnn, seed 0 ({model}-0d1e2f3a)" for model in ("aaaaaaaaaa", "bbbbbbbbbb")]  # of two models
    assert list(labels(SimpleNamespace(**other) for other in alike).values()) == called
    full = row | {"run_id": "c", "data": "Digits", "sigma": 0.25, "n": 100, "images": 30}
    named = labels([SimpleNamespace(**full)], full=True)
    assert named == {"c": "heat, cnn, Digits, σ = 0.25, n = 100, 30 images, seed 0"}
    named = labels([SimpleNamespace(**full | {"kind": "margin", "sigma": None, "n": None})], full=True)
    assert named == {"c": "heat, cnn, Digits, margin, 30 images, seed 0"}


def test_a_legend_leaves_out_what_all_names_say() -> None:
    names = ["heat, cnn, n = 100, seed 0", "baseline, cnn, n = 100, seed 1"]
    assert shorten(names) == ("cnn, n = 100", {names[0]: "heat, seed 0", names[1]: "baseline, seed 1"})
    assert shorten(names[:1]) == ("", {names[0]: names[0]})


def test_the_published_board_as_a_reader_sees_it(tmp_path: Path) -> None:
    """Cohen et al.'s figures, from their own log."""
    frame = table("cifar10", tmp_path, published=first_rows(tmp_path))
    cohen = select_rows(frame, method=["randomized-smoothing"], sigma=[0.5], source=["published"])
    shown = wide_table(cohen).iloc[0]
    assert (round(shown["r 0.25"], 2), round(shown["r 0.5"], 2)) == (54.91, 42.79)
    assert select_rows(frame, method=[]).equals(frame)
    assert count_line(cohen.iloc[0]) == ""
    audited = {"method": "m", "arch": "a", "source": "run", "seeds": [0], "lbound_audit.attacked": 0}
    counted = pd.Series(audited | {"audit.attacked": 7, "audit.violations": 1})
    assert count_line(counted) == "m, a, seed 0: audit: 1 violations of 7 attacked"


def test_a_row_shows_its_audit_and_the_command_that_makes_it_again(tmp_path: Path) -> None:
    """Of the rows that come with the suite; a published one has no audit."""
    frame = table("cifar10", tmp_path)
    own = wide_table(select_rows(frame, method=["heat"], sigma=[0.1], source=["run"])).iloc[0]
    assert own["audit"] == "19/80"
    assert own["command"].startswith("suite run --method heat --dataset cifar10 --profile quick")
    assert "audit" not in wide_table(select_rows(frame, source=["published"]))


def test_the_table_says_what_is_certified_and_what_is_deployed(tmp_path: Path) -> None:
    store(tmp_path, result(), result("baseline"), margin())
    [(_, group)] = groups(table("digits", tmp_path, published=None))
    shown = wide_table(group).set_index("method")[["kind", "deployed", "holds"]]
    assert shown.loc["lipschitz"].tolist() == ["margin", "pass", "yes"]
    assert shown.loc["randomized-smoothing"].tolist() == ["vote", "vote of 100 passes", "yes"]
    assert shown.loc["baseline"].tolist() == ["vote", "pass", "no"]
    assert HELP["holds"].endswith("a vote's radius is not guaranteed of a single pass")
    plotted = wide_table(table("cifar10", tmp_path, "paper").query("read == 'plot'"))
    assert set(plotted).isdisjoint({"deployed", "holds"})


def test_the_envelope_takes_one_row_at_each_sigma(tmp_path: Path) -> None:
    found = over_sigma(table("cifar10", tmp_path, published=first_rows(tmp_path)).query("source == 'published'"))
    [cohen] = [by_sigma for name, by_sigma in found.items() if name.startswith("randomized-smoothing")]
    assert list(cohen) == [0.12, 0.25, 0.5, 1.0]
    assert [round(row["r=0.25"], 4) for row in cohen.values()] == [0.5977, 0.6116, 0.5491, 0.4094]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with an attack, and one that has not finished."""
    path = tmp_path_factory.mktemp("runs")
    machine = Machine(runs=path, track=False)
    run(RunSpec(**TINY, **{"protocols": "accuracy,certify,attack", "attack.images": 10}), machine)
    half = run(RunSpec(method="baseline", dataset="digits", epochs=0.2, n=100, images=30), machine).path
    (half / "result.json").unlink()
    lines = (file := records_file(half, "certify")).read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:7]))
    return path


class Pages:
    """The app on a store, page by page; no page may end in an exception."""

    def __init__(self, store: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("sys.argv", [str(PAGE), str(store)])

    def __call__(self, view: str, **query: str) -> Any:
        from streamlit.testing.v1 import AppTest

        app = AppTest.from_file(str(PAGE), default_timeout=120)
        if view != "leaderboard":  # the page that opens; any other is known after a first run
            app.run().switch_page(f"views/{view}.py")
        app.query_params = query
        app.run()
        assert not app.exception, app.exception[0].value
        return app


def said(app: Any) -> str:
    return " ".join(element.value for element in (*app.info, *app.warning, *app.error)).replace("\\", "")


def selected(app: Any, label: str) -> Any:
    return next(box.value for box in app.selectbox if box.label == label)


@pytest.mark.slow
def test_the_board_of_a_store(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Pages(runs, monkeypatch)("leaderboard")
    assert selected(app, "Board") == "digits"  # the one with a run
    assert app.dataframe[0].value["method"].tolist() == ["heat"]
    result = json.loads(next(runs.glob("heat-*/result.json")).read_text())
    assert app.dataframe[0].value["ACR"].tolist() == [result["acr"]]
    assert app.dataframe[0].value["PGD"].tolist() == [result["attack"]["pgd"]["median"]]
    assert "not guaranteed of the single pass" in " ".join(caption.value for caption in app.caption)
    cifar = Pages(runs, monkeypatch)("leaderboard", board="cifar10", method="randomized-smoothing", sigma="0.5")
    assert set(cifar.dataframe[0].value["method"]) == {"randomized-smoothing"}
    assert "Cohen" in " ".join(text.value for text in cifar.text)


def test_a_run_and_its_image(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(runs.glob("heat-*")).name
    app = Pages(runs, monkeypatch)("run", run=name, protocol="attack", images="true", image="3")
    assert selected(app, "Run") == name
    assert len(app.dataframe[1].value) == 10
    texts = " ".join(text.value for text in app.text)
    record = json.loads(records_file(runs / name, "accuracy").read_text().splitlines()[3])
    assert f"clean: {record['label']}; one pass says {record['predict']}" in texts
    assert "Certificate: " in texts


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
    app = Pages(store, monkeypatch)("run", run=folder.name, images="true")
    assert "no checkpoint at" in said(app)
    assert app.dataframe[0].value["metric"].str.contains("acr").any()
    records_file(folder, "certify").unlink()
    (folder / "environment.json").write_text("{")
    app = Pages(store, monkeypatch)("run", run=folder.name)
    assert "environment.json" in said(app)
    board = Pages(store, monkeypatch)("leaderboard", board="digits")
    assert "certify records" in said(board)
    assert board.dataframe[0].value["method"].tolist() == ["heat"]
    app = Pages(store, monkeypatch)("run", run="deleted-run")
    assert "no run deleted-run" in said(app)


def test_two_rows_on_their_images(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = tmp_path / "store"
    shutil.copytree(runs, store)
    folder = next(store.glob("heat-*"))
    shutil.copytree(folder, other := store / "other-run")
    lines = [json.loads(line) for line in records_file(other, "certify").read_text().splitlines()]
    changed = [line | {"radius": 0.0, "predict": -1, "correct": 0} for line in lines[:4]] + lines[4:]
    records_file(other, "certify").write_text("".join(json.dumps(line) + "\n" for line in changed))
    app = Pages(store, monkeypatch)("compare", **{"rows-of": "digits", "a": folder.name, "b": "other-run", "r": "0.01"})
    counts = dict(zip(app.dataframe[0].value["certified by"], app.dataframe[0].value["images"], strict=True))
    right = [line["correct"] and line["radius"] >= 0.01 for line in lines]
    known = {"both": sum(right[4:]), "only A": sum(right[:4]), "only B": 0, "neither": len(right) - sum(right)}
    assert counts == known
    assert app.dataframe[1].value["idx"].tolist() == [line["idx"] for line, had in zip(lines[:4], right[:4], strict=True) if had]  # noqa: E501  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Votes at two σ and a margin on the same images of the digits; the vote at 0.1 is deployed as a vote."""
    path = tmp_path_factory.mktemp("both")
    small: dict[str, Any] = {"dataset": "digits", "epochs": 0.2, "n": 50, "images": 12, "attack.max_norm": 0.5}
    machine = Machine(runs=path, track=False)
    for own in ({"sigma": 0.25}, {"sigma": 0.1, "deployed": "vote", "n0": 10}):
        run(RunSpec(method="baseline", **small, **own), machine)
    run(RunSpec(method="lipschitz", arch="lipschitz-small-w8", **small), machine)
    return path


def test_margins_and_votes_on_the_pages(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = Pages(both, monkeypatch)
    titles = [
        "Digits: σ = 0.25, top-1, 12 images, n = 50, α = 0.001",
        "Digits: σ = 0.1, top-1, 12 images, n = 50, α = 0.001",
    ]
    marks = {
        f"curves-{hashlib.sha256(f'{title}; margins have no noise'.encode()).hexdigest()[:4]}": "true"
        for title in titles
    }
    app = pages("leaderboard", board="digits", **marks, envelope="true")
    tables = [table.value.set_index("method") for table in app.dataframe]
    assert [sorted(shown.index) for shown in tables] == [["baseline", "lipschitz"]] * 2
    assert [shown.loc["lipschitz", "holds"] for shown in tables] == ["yes"] * 2
    assert [shown.loc["baseline", "holds"] for shown in tables] == ["no", "yes"]
    drawn = [chart for chart in app.get("plotly_chart") if "lipschitz" in chart.proto.spec]
    assert len(drawn) == 2  # and none of the envelope
    app = pages("leaderboard", board="digits", kind="margin")
    [shown] = app.dataframe
    assert shown.value["kind"].tolist() == ["margin"]
    assert [heading.value for heading in app.subheader] == [plain("Digits: top-1, 12 images, no noise")]
    app = pages("leaderboard", board="digits", sigma="0.1")
    [shown] = app.dataframe
    assert sorted(shown.value["method"]) == ["baseline", "lipschitz"]


def test_a_margin_is_compared_with_a_vote(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (next(both.glob(name)).name for name in ("lipschitz-*", "baseline-*0.25*"))
    app = Pages(both, monkeypatch)("compare", **{"rows-of": "digits", "a": a, "b": b, "r": "0.01"})
    assert not said(app)
    captions = " ".join(caption.value for caption in app.caption).replace("\\", "")
    assert "They differ in kind: margin and vote." in captions
    assert "They differ in sigma: – and 0.25." in captions
    assert app.dataframe[0].value["images"].sum() == 12


def test_an_image_of_a_run_without_noise(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(both.glob("lipschitz-*")).name
    app = Pages(both, monkeypatch)("run", run=name, images="true", image="3")
    assert not said(app)
    texts = " ".join(text.value for text in app.text)
    assert "one pass says" in texts
    assert "σ =" not in texts
    assert "This run has no noise" in " ".join(caption.value for caption in app.caption)


@pytest.mark.slow
def test_the_papers_items(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = Pages(runs, monkeypatch)("paper", item="Figure 1a")
    shown = app.dataframe[0].value
    assert shown[shown["source"].str.startswith("the paper")].set_index("row").loc["heat", "0.1"] == 82.0
    own = shown[shown["source"] == "measured"].set_index("row")
    assert len(own) == 4  # runs that come with the suite
    assert 0 < own.loc["heat", "0.1"] < 100
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
    assert app.dataframe[1].value["lr"].between(1e-3, 1e-1).all()
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
    if view in ("run", "paper"):  # what comes with the suite
        assert not said(app)
        assert app.dataframe
    elif view == "studies":
        assert "suite tune --method heat" in said(app)
    else:
        assert selected(app, "Board") == "cifar10"  # published rows are there from the start
    assert not os.path.exists(tmp_path / "nothing")


@pytest.mark.slow
def test_a_store_that_is_no_folder_and_a_damaged_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (file := tmp_path / "file").touch()
    for view in VIEWS:
        assert "takes the folder" in said(Pages(file, monkeypatch)(view))
    (tmp_path / "store" / "broken").mkdir(parents=True)
    (tmp_path / "store" / "broken" / "result.json").write_text("{")
    app = Pages(tmp_path / "store", monkeypatch)("leaderboard")
    assert "broken" in said(app)
