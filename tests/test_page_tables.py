"""What pages are made of: plots, tables, names and texts, without a page."""

from __future__ import annotations

import html
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from helpers.first import first_rows
from helpers.hostile import HOSTILE
from helpers.rows import margin, result, store
from markdown_it import MarkdownIt

from leaderboards import groups, table
from leaderboards.board import select_rows
from leaderboards.curves import curve
from leaderboards.envelope import envelope, envelope_groups
from leaderboards.render.cells import blocks
from leaderboards.render.foreign import plain
from leaderboards.render.interactive import NAMES, interactive_table
from leaderboards.render.labels import labels, shorten
from leaderboards.render.plots import (
    attack_plot,
    certified_accuracy_plot,
    line_styles,
    paper_plot,
    plot_csv,
    training_plot,
    votes_plot,
)
from leaderboards.render.presets import PRESETS
from leaderboards.render.row import metric_lines, setting_lines
from leaderboards.whose import tell_whose
from methods import METHODS


def test_a_curve_is_the_share_of_correct_radii() -> None:
    records = pd.DataFrame({"radius": [0.4, 0.2, 0.3, 0.0], "correct": [1, 1, 0, 0], "predict": [1, 2, 3, -1]})
    drawn = curve(records.assign(idx=range(4)), points=5)  # at 0, 0.102, 0.204, 0.306, 0.408
    figure = certified_accuracy_plot({"mine": drawn}, {"mine": {0.25: 0.25}})
    [band, line, marks] = figure.data
    assert list(line.y) == [50, 50, 25, 25, 25, 0]  # 0.25 is among them
    assert (list(marks.x), list(marks.y)) == ([0.25], [25])
    assert len(band.x) == 2 * 5
    [_, line, marks] = certified_accuracy_plot({"mine": drawn}, {"mine": {0.25: 0.25, 1.0: 0.0}}).data
    assert (max(line.x), max(marks.x)) == (pytest.approx(0.408), 0.25)  # 0 beyond the line's end goes without a mark


def test_figures_show_their_numbers_and_names_as_text() -> None:
    history = pd.DataFrame({"epoch": [1, 2], "loss": [0.5, 0.25], "lr": [0.1, 0.0]})
    assert [list(trace.y) for trace in training_plot(history).data] == [[0.5, 0.25], [0.1, 0.0]]
    assert plot_csv(training_plot(history)).to_numpy().tolist()[:2] == [["loss", 1, 0.5], ["loss", 2, 0.25]]
    [bars] = votes_plot({2: 10, 0: 90}, ("cat", "dog", "<b>"), label=0).data
    assert (list(bars.x), list(bars.y)) == ([10, 90], ["&lt;b&gt;", "cat"])
    distance = pd.DataFrame({"distance": [0.0, 1.0], "pgd": [0.0, 0.5], "ddn": [0.25, 1.0]})
    [line] = attack_plot({"<script>": distance}, "ddn").data
    assert (list(line.y), line.name) == ([25, 100], "&lt;script&gt;")
    given = pd.DataFrame({"method": ["heat"], "at": [0.1], "percent": [82.0], "uncertainty": [1.0]})
    own = {"mine": ("heat", pd.DataFrame({"at": [0.0], "percent": [90.0]}))}
    line, points = paper_plot(given, own, "r", "%").data
    assert (points.error_y.array[0], points.marker.color) == (1.0, line.line.color)


def test_lines_are_told_apart_and_a_method_keeps_its_colour() -> None:
    styles = line_styles(["heat", "madry", "heat", "smoothadv", "heat"])
    assert len({(style["color"], style["dash"]) for style in styles}) == 5
    assert {styles[i]["color"] for i in (0, 2, 4)} == {line_styles(["x", "heat"])[1]["color"]}
    trained = [method for method in METHODS.builtin if method != "checkpoint"]
    assert len({style["color"] for style in line_styles(trained)}) == len(trained) == 12  # they have one each


def test_a_hover_has_the_interval_and_what_holds_of_all() -> None:
    drawn = pd.DataFrame({"radius": [0.0, 0.5], "accuracy": [0.5, 0.25], "low": [0.4, 0.2], "high": [0.6, 0.3]})
    figure = certified_accuracy_plot(
        {"heat, <b>": drawn.assign(sigma=[0.12, 0.5])}, banded=[], said={"heat, <b>": "n = 100"}, limits={"limit": 0.7}
    )
    [line] = figure.data
    assert line.hovertemplate == "%{customdata[0]}"
    assert [text for [text] in line.customdata] == [
        "50.0 % (40.0–60.0, σ = 0.12, n = 100)", "25.0 % (20.0–30.0, σ = 0.5, n = 100)"
    ]  # fmt: skip
    [limit], [said] = figure.layout.shapes, figure.layout.annotations
    assert (limit.x0, said.text) == (0.7, "limit")
    assert figure.layout.template.layout.hovermode == "x unified"
    assert plot_csv(figure).to_numpy().tolist() == [["heat, <b>", 0.0, 50.0], ["heat, <b>", 0.5, 25.0]]


def test_an_envelope_takes_the_best_sigma_at_each_radius_and_leaves_nothing_out(tmp_path: Path) -> None:
    small = pd.DataFrame({"idx": range(4), "label": 1, "radius": [0.2, 0.2, 0.2, 0.1], "correct": 1, "predict": 1})
    large = small.assign(radius=[0.8, 0.8, 0.0, 0.0], predict=[1, 1, -1, -1], correct=[1, 1, 0, 0])
    drawn = envelope({0.25: small, 1.0: large})
    at = drawn.set_index(drawn["radius"].round(3))
    assert at.loc[0.0, ["accuracy", "sigma"]].tolist() == [1.0, 0.25]
    assert at[at.index > 0.25].iloc[0][["accuracy", "sigma"]].tolist() == [0.5, 1.0]
    assert at.iloc[-1]["accuracy"] == 0
    assert pd.isna(at.iloc[-1]["sigma"])
    first = drawn.iloc[0]
    assert (first["low"], first["high"]) == pytest.approx(wilson_of(4, 4))
    frame = table("cifar10", tmp_path)
    found = envelope_groups(frame)
    votes = frame[(frame["read"] == "log") & (frame["kind"] == "vote")]
    for group in found:
        assert all(len(by_sigma) > 1 for by_sigma in group.by_sigma.values())
    [whole] = [group for group in found if "10000 images" in group.title]
    own = votes[(votes["images"] == 10_000) & (votes["data"] == "CIFAR-10")]
    names = own[["method", "arch", "variant"]].drop_duplicates()
    assert len(whole.by_sigma) + len(whole.single) == len(names)


def test_runs_that_are_tuned_for_their_sigma_are_one_envelope(tmp_path: Path) -> None:
    store(tmp_path, result(sigma=0.25, lr=0.2), result(sigma=0.5))
    frame = table("digits", tmp_path, published=None)
    assert set(frame["variant"]) == {"lr=0.2", ""}
    [found] = envelope_groups(frame)
    assert (list(found.by_sigma), found.single) == (["randomized-smoothing, cnn"], [])


def wilson_of(hits: int, total: int) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(hits, total, method="wilson")
    return float(low), float(high)


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
        "sigma": 0.25,
        "trained_sigma": 0.25,
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
    elsewhere = row | {"run_id": "d", "source": "published", "trained_sigma": 0.5}
    assert labels([SimpleNamespace(**elsewhere)]) == {"d": "heat, cnn, trained at σ = 0.5"}
    full = row | {"run_id": "c", "data": "Digits", "sigma": 0.25, "n": 100, "images": 30, "sampling": "fixed"}
    full |= {"precision": "fp32"}
    named = labels([SimpleNamespace(**full)], full=True)
    assert named == {"c": "heat, cnn, Digits, σ = 0.25, n = 100, 30 images, seed 0"}
    named = labels([SimpleNamespace(**full | {"sampling": "adaptive", "precision": "bf16"})], full=True)
    assert named == {"c": "heat, cnn, Digits, σ = 0.25, n ≤ 100, 30 images, bf16, seed 0"}
    named = labels([SimpleNamespace(**full | {"kind": "margin", "sigma": None, "n": None})], full=True)
    assert named == {"c": "heat, cnn, Digits, margin, 30 images, seed 0"}


def test_a_legend_leaves_out_what_all_names_say() -> None:
    names = ["heat, cnn, n = 100, seed 0", "baseline, cnn, n = 100, seed 1"]
    assert shorten(names) == ("cnn, n = 100", {names[0]: "heat, seed 0", names[1]: "baseline, seed 1"})
    assert shorten(names[:1]) == ("", {names[0]: names[0]})
    noise = "Digits, σ = 0.5, n = 100"
    both = [f"heat, cnn, {noise}", f"average, cnn, {noise}", "lipschitz, Digits, margin"]
    assert shorten(both)[0] == "Digits"
    said, short = shorten(both, votes=True)
    assert said == "Digits; votes: σ = 0.5, n = 100"
    assert list(short.values()) == ["heat, cnn", "average, cnn", "lipschitz, margin"]


def test_the_published_board_as_a_reader_sees_it(tmp_path: Path) -> None:
    """Cohen et al.'s figures, from their own log."""
    frame = table("cifar10", tmp_path, published=first_rows(tmp_path))
    cohen = select_rows(frame, method=["randomized-smoothing"], sigma=[0.5], source=["published"])
    shown = shown_rows(cohen).iloc[0]
    assert (round(shown["0.25"], 2), round(shown["0.5"], 2)) == (54.91, 42.79)
    assert select_rows(frame, method=[]).equals(frame)


def shown_rows(group: pd.DataFrame, preset: str = "all", **more: Any) -> pd.DataFrame:
    return interactive_table(tell_whose(group, Path("nowhere")), preset, **more)[0]


def test_certificates_come_first_and_every_column_has_its_help(tmp_path: Path) -> None:
    for _, group in groups(tell_whose(table("cifar10", tmp_path), tmp_path)):
        for preset in PRESETS:
            shown, headings = interactive_table(group, preset)
            names = [heading.name for heading in headings]
            assert list(shown) == names
            assert names[:4] == ["#", "method", "kind", "holds"]
            assert [heading.pinned for heading in headings[:4]] == [True, True, False, False]
            assert all(heading.help for heading in headings)
            if preset in ("certified", "all"):
                assert names[4][:1].isdigit()
                assert names.index("ACR") < names.index("arch")
                if "clean" in names:
                    assert names.index("clean") > names.index("ACR")
    assert {"audit", "s/image"}.isdisjoint(interactive_table(group, "certified")[0])
    assert "s/image" in interactive_table(group, "cost")[0]
    assert "audit" in interactive_table(group, "empirical")[0]


def test_headings_units_and_help_are_those_of_the_terminal(tmp_path: Path) -> None:
    frame = tell_whose(table("cifar10", tmp_path), tmp_path)
    for block, (_, group) in zip(blocks(frame), groups(frame), strict=True):
        shown, headings = interactive_table(group, "all")
        metrics = block.headings[block.names :]
        assert set(metrics) <= set(shown)
        by_name = {heading.name: heading for heading in headings}
        for place, name in enumerate(metrics, start=block.names):
            for own, line in zip(shown[name], block.lines, strict=True):
                printed = line[place][0].partition(" ±")[0]
                form = by_name[name].form
                assert (form % own if form and pd.notna(own) else own if isinstance(own, str) else "–") == printed
        said = interactive_table(group, "all", intervals=True)[0]
        place = block.headings.index("ACR")
        assert said["ACR"].tolist() == [f"{line[place][0]} ({line[place][1]})" if line[place][1] else line[place][0]
                                        for line in block.lines]  # fmt: skip


def test_a_row_shows_its_audit_and_the_command_that_makes_it_again(tmp_path: Path) -> None:
    """Of the rows that come with the suite; a published one has no audit."""
    frame = table("cifar10", tmp_path)
    heat = select_rows(frame, method=["heat"], arch=["airbench-w32"], sigma=[0.1], source=["run"], variant=[""])
    own = shown_rows(heat).iloc[0]
    assert own["audit"] == "10/94"
    assert own["holds"] == ["✗ pass", "broken 10 of 94"]
    assert heat.iloc[0]["command"].startswith("suite run --method heat --dataset cifar10 --profile quick")
    assert "audit" not in shown_rows(select_rows(frame, source=["published"]))
    lines = {name: (value, bounds) for name, value, bounds in metric_lines(heat.iloc[0])}
    assert lines["certified at r = 0.05"] == ("76.8 %", "73.2–80.1")
    assert lines["audit"] == ("10/94", "")
    settings = dict(setting_lines(heat.iloc[0]))
    assert (settings["deployed"], settings["σ"], settings["kind"]) == ("pass", "0.1", "vote")


def test_the_table_says_what_is_certified_and_what_is_deployed(tmp_path: Path) -> None:
    store(tmp_path, result(), result("baseline"), margin())
    [(_, group)] = groups(table("digits", tmp_path, published=None))
    shown = shown_rows(group).set_index("method")[["kind", "holds"]]
    assert shown.loc["lipschitz"].tolist() == ["margin", ["✓ pass"]]
    assert shown.loc["randomized-smoothing"].tolist() == ["vote", ["✓ vote"]]
    assert shown.loc["baseline"].tolist() == ["vote", ["✗ pass"]]
    assert "a vote's radius is not guaranteed of a single pass" in NAMES["holds"].help
    plotted = shown_rows(table("cifar10", tmp_path, "paper").query("read == 'plot'"), convention="paper")
    assert plotted["holds"].map(tuple).unique().tolist() == [("not known",)]
